"""Reading photographs, whatever their format, with an error that says what is wrong."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from maskupe.errors import InputError
from maskupe.io import jpeg, jxl, modern, png, tiff
from maskupe.io.colour import transfer_of
from maskupe.io.limits import check_file_size
from maskupe.io.photo import Photo


def read_photo(path: Path | str) -> Photo:
    """Read a PNG, JPEG, TIFF, WebP, AVIF, JPEG XL or HEIC file; its content decides which.

    Raises:
        InputError: if there is no such file, or it cannot be used; says why.
        MemoryLimitError: if the picture would not fit into memory.
    """
    path = Path(path)
    name = path.name or str(path)
    try:
        if path.is_dir():
            raise InputError(f"{path} is a directory, not a picture.")
        photo = _decoded(name, path)
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {reason}.") from error
    return _prepared(name, replace(photo, path=path))


def _decoded(name: str, path: Path) -> Photo:
    """Return the photo as its file has it."""
    with path.open("rb") as file:
        head = file.read(modern.HEAD)
        if head[:4] in tiff.SIGNATURES:
            return tiff.read(name, path)
        check_file_size(name, os.fstat(file.fileno()).st_size)
        if head.startswith(png.SIGNATURE):
            return png.read(name, head + file.read())
        if head.startswith(jpeg.SIGNATURE):
            return jpeg.read(name, head + file.read())
        if head.startswith(jxl.SIGNATURES):
            return jxl.read(name, head + file.read())
        if file_format := modern.detect_format(head):
            return modern.read(name, head + file.read(), file_format)
    if not head:
        raise InputError(f"{name} is empty.")
    raise InputError(
        f"{name} is not a PNG, JPEG, TIFF, WebP, AVIF or JPEG XL file.",
        "Export it as one of these.",
    )


def _prepared(name: str, photo: Photo) -> Photo:
    """The photo with pixels that can be worked on: display-encoded, and all of them numbers."""
    stored, lost = photo.pixels, photo.metadata.lost
    pixels = stored
    if stored.dtype == np.float32 and not np.isfinite(stored).all():
        numbers = np.isfinite(stored)
        if not numbers.any():
            raise InputError(f"{name} has pixels that are not numbers (NaN or infinite).")
        pixels = np.where(numbers, stored, np.float32(0))
        flat = numbers if numbers.ndim == 2 else numbers.all(axis=2)
        count = flat.size - int(np.count_nonzero(flat))
        subject = "1 pixel of the photo is" if count == 1 else f"{count} pixels of the photo are"
        lost = (*lost, f"{subject} no number (NaN or infinite) and left so.")
    transfer = transfer_of(name, photo.metadata.profile)
    if transfer is not None:
        pixels = transfer.display(pixels, photo.has_alpha)
    if pixels is stored:
        return photo
    metadata = replace(photo.metadata, lost=lost)
    return replace(photo, pixels=pixels, metadata=metadata, kept=stored, transfer=transfer)
