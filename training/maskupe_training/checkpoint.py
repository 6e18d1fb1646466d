"""Checkpoints that survive what happens: written aside, then renamed; read without pickle's risks.

A checkpoint holds only tensors, numbers, texts and containers of them, so it loads with
``weights_only=True``. Behind what PyTorch writes stands a SHA-256 of it, since PyTorch does not
notice a bit that has changed in a tensor.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from maskupe.errors import InputError, MaskUPEError
from maskupe.io.atomic import replace_file

FORMAT = 2
_MARK = b"\nsha256:"
_TRAILER = len(_MARK) + hashlib.sha256().digest_size


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically: a reader finds the old one or the new one, never a part.

    Raises:
        MaskUPEError: if it cannot be written (a full disk, say); the old one is then untouched.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT} | state, buffer)
    buffer.write(_MARK + hashlib.sha256(buffer.getbuffer()).digest())
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, buffer.getvalue())


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write a run's file into a sentence that says how to go on.

    Raises:
        MaskUPEError: for a full disk, a folder that may not be written to, and the like.
    """
    try:
        yield
    except (OSError, MaskUPEError) as error:
        cause = error.__cause__ or error
        reason = (isinstance(cause, OSError) and cause.strerror) or str(cause)
        good = path.parent / "last.pt"
        remedy = "Free some space, or give another --out."
        if good.exists():
            remedy = f"The last good {good.name} is kept. Free some space, then use --resume."
        raise MaskUPEError(f"{path} could not be written: {reason}.", remedy) from error


def read(path: Path) -> dict[str, Any]:
    """Return a checkpoint's contents, tensors on the CPU.

    Raises:
        InputError: if there is none, or it is damaged or of another format.
    """
    if not path.is_file():
        raise InputError(
            f"There is no checkpoint {path}.",
            "Check the path; a training that has none yet starts without --resume.",
        )
    damaged = InputError(
        f"The checkpoint {path} is damaged, or is no checkpoint.",
        "Put best.pt in its place and use --resume, or start again.",
    )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    body, checksum = content[:-_TRAILER], content[-_TRAILER:]
    if checksum != _MARK + hashlib.sha256(body).digest():
        raise damaged
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception as error:
        raise damaged from error
    if state["format"] != FORMAT:
        raise InputError(f"{path} is not a checkpoint of this version.", "Start a new run.")
    return state


def forget_after(log: Path, step: int) -> None:
    """Drop the lines that a killed run wrote beyond the checkpoint it resumes from."""
    if not log.is_file():
        return
    kept = []
    for line in log.read_text("utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError):
            continue  # the last line may have been cut off by the kill
    log.write_text("".join(kept) if step else "", "utf-8")
