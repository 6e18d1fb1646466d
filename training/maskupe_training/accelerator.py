"""Which device trains."""

from __future__ import annotations

import torch

from maskupe.errors import InputError


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
