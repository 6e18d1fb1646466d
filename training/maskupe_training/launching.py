"""Starts the processes of a training: one, several on this machine, or those of torchrun."""

from __future__ import annotations

import os
from typing import Any, cast

import torch
from lightning_fabric import Fabric

from maskupe.errors import InputError
from maskupe_training.recipe import TrainingRecipe


def start_fabric(training: TrainingRecipe, accelerator: str, devices: int) -> Fabric:
    """Fabric for one process, several on this machine, or what torchrun's variables say.

    Args:
        training: gives the batch, which the processes share, and the precision.
        accelerator: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        devices: how many processes on this machine, without torchrun.

    Raises:
        InputError: for an accelerator that is not there, or a batch that cannot be shared.
    """
    usable = {
        "auto": True,
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not usable.get(accelerator, False):
        raise InputError(
            f"There is no accelerator {accelerator!r} on this machine.",
            f"Use one of {', '.join(name for name, there in usable.items() if there)}.",
        )
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world if world > 1 else devices)))
    if training.batch % max(world, local):
        raise InputError(
            f"training.batch is {training.batch}, which {max(world, local)} processes "
            "cannot share evenly.",
            "Make it a multiple of their number.",
        )
    precision = training.precision
    if precision == "auto":
        on_cuda = accelerator in ("auto", "cuda") and torch.cuda.is_available()
        precision = "16-mixed" if on_cuda else "32-true"
    fabric = Fabric(
        accelerator=accelerator,
        devices=local,
        num_nodes=max(1, world // local),
        strategy="ddp" if max(world, local) > 1 else "auto",
        precision=cast(Any, precision),
    )
    fabric.launch()
    return fabric


def end_together(fabric: Fabric) -> None:
    """Waits for the other processes, then leaves their group; does nothing for a single one.

    The first process still validates when the others have nothing left to do. Leaving them to
    end on their own lets the interpreter tear the group's running threads down, which now and
    then aborts the process and so fails a training that had succeeded.
    """
    if fabric.world_size > 1:
        fabric.barrier()
        torch.distributed.destroy_process_group()
