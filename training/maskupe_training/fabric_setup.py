"""Starts the processes of a training: one, several on this machine, or those of torchrun."""

from __future__ import annotations

import os
import sys
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision.amp import MixedPrecision

from maskupe.errors import InputError
from maskupe_training.recipe import TrainingRecipe
from maskupe_training.run_options import choose_accelerator


def start_fabric(training: TrainingRecipe, accelerator: str, devices: int) -> Fabric:
    """Return Fabric for one process, several on this machine, or what torchrun's variables say.

    Args:
        training: gives the batch, which the processes share, and the precision.
        accelerator: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        devices: how many processes on this machine, without torchrun.

    Raises:
        InputError: for an accelerator that is not there, or a batch that cannot be shared.
    """
    device = choose_accelerator(accelerator)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world if world > 1 else devices)))
    if training.batch % max(world, local):
        raise InputError(
            f"training.batch is {training.batch}, which {max(world, local)} processes "
            "cannot share evenly.",
            "Make it a multiple of their number.",
        )
    precision = training.precision if training.precision != "auto" else automatic_precision(device)
    how: dict[str, Any] = {"precision": precision}
    if precision != "32-true":
        how = {"plugins": [Mixed(cast(Any, precision), device)]}
    fabric = Fabric(
        accelerator=device,
        devices=local,
        num_nodes=max(1, world // local),
        strategy="ddp" if max(world, local) > 1 else "auto",
        **how,
    )
    fabric.launch()
    if device == "cuda":
        _allow_tf32()
    return fabric


def automatic_precision(device: str) -> str:
    """Return the precision that ``auto`` stands for on ``cuda``, ``mps`` or ``cpu``.

    Mixed on CUDA: with bfloat16 where the card computes in it, since that has the range of 32 bits
    and so needs no gradient scaler; else with float16.
    """
    if device != "cuda":
        return "32-true"
    # Older cards emulate bfloat16, slower than they compute in 32 bits.
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if native else "16-mixed"


def local_processes(fabric: Fabric) -> int:
    """Return how many of the training's processes run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", str(fabric.world_size)))


class Mixed(MixedPrecision):
    """Mixed precision in which only the network's layers compute in 16 bits.

    Fabric's own rounds the inputs as well: bfloat16 pictures have steps of one level of 8 bits in
    the light half, and what is asked of the network must be exacter than its answer.
    """

    def convert_input(self, data: Any) -> Any:
        """Leave the inputs of the network and of the loss as they are."""
        return data


def _allow_tf32() -> None:
    """Let the card multiply 32-bit numbers by 19 of their bits, and try its algorithms out."""
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    # Pictures are all of one size, so the fastest algorithm of the first step stays it.
    torch.backends.cudnn.benchmark = True


def leave_group() -> None:
    """End this process, successfully and at once, if it is one of a group; else does nothing.

    The group's threads may still be dropping the last exchange's tensors. One that needs the
    interpreter while it is torn down aborts the process, and a training that had succeeded fails;
    destroying the group first makes that rarer, but does not prevent it.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
