"""Starts the processes of a training: one, several on this machine, or those of torchrun."""

from __future__ import annotations

import os
import sys
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


def leave_group() -> None:
    """Ends this process, successfully and at once, if it is one of a group; else does nothing.

    The group's threads may still be dropping the last exchange's tensors. One that needs the
    interpreter while it is torn down aborts the process, and a training that had succeeded fails;
    destroying the group first makes that rarer, but does not prevent it.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
