"""Checkpoints that survive what happens: written aside, then renamed; read without pickle's risks.

A checkpoint holds only tensors, numbers, texts and containers of them, so it loads with
``weights_only=True``.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from maskupe.errors import InputError, MaskUPEError, WeightsError
from maskupe.weightfile import replace_file

FORMAT = 1


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint atomically: a reader finds the old one or the new one, never a part.

    Raises:
        MaskUPEError: if it cannot be written (a full disk, say); the old one is then untouched.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT} | state, buffer)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, buffer.getvalue())
    except (OSError, WeightsError) as error:
        reason = str(error.__cause__ or error)
        kept = f"The last good {path.name} is kept. " if path.exists() else ""
        raise MaskUPEError(
            f"The checkpoint {path} could not be written: {reason}.",
            f"{kept}Free some space, then continue with --resume.",
        ) from error


def read(path: Path) -> dict[str, Any]:
    """A checkpoint's contents, tensors on the CPU.

    Raises:
        InputError: if there is none, or it is damaged or of another format.
    """
    if not path.is_file():
        raise InputError(
            f"There is no checkpoint {path} to continue from.", "Start without --resume."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            f"The checkpoint {path} is damaged, or is no checkpoint.",
            "Put best.pt in its place and use --resume, or start again.",
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise InputError(f"{path} is not a checkpoint of this version.", "Start a new run.")
    return state
