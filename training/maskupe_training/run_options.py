"""How and where a recipe is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from maskupe.errors import InputError


@dataclass(frozen=True)
class RunOptions:
    """How and where a recipe is run; none of it changes the result on one kind of device.

    Attributes:
        data_root: the folder that the recipe's folders lie in.
        out: where checkpoints and logs go.
        resume: continue from ``out/last.pt``.
        max_minutes: stop after this time, with a checkpoint; ``None`` for no limit.
        threads: CPU threads per process.
        accelerator: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    """

    data_root: Path
    out: Path
    resume: bool = False
    max_minutes: float | None = None
    threads: int = 1
    accelerator: str = "auto"


def choose_accelerator(name: str) -> str:
    """Return ``cuda``, ``mps`` or ``cpu``; for ``auto`` the first of them that is there.

    Raises:
        InputError: for one that is not there.
    """
    found = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    usable = [device for device, there in found.items() if there]
    if name == "auto":
        return usable[0]
    if name not in usable:
        raise InputError(
            f"There is no accelerator {name!r} on this machine.",
            f"Use one of auto, {', '.join(usable)}.",
        )
    return name
