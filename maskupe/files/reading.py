"""Reading photographs and masks, whatever their format, with an error that says what is wrong."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskupe.errors import InputError
from maskupe.files import jpeg, png, tiff
from maskupe.files.colour import transfer_of
from maskupe.files.limits import check_file_size
from maskupe.files.photo import Photo
from maskupe.layout import LUMA


def read_photo(path: Path | str) -> Photo:
    """Reads a PNG, JPEG or TIFF file; its content decides which, not its name.

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
        said = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {said}.") from error
    return _prepared(name, replace(photo, path=path))


def _decoded(name: str, path: Path) -> Photo:
    """The photo as its file has it."""
    with path.open("rb") as file:
        head = file.read(16)
        if head[:4] in tiff.SIGNATURES:
            return tiff.read(name, path)
        check_file_size(name, os.fstat(file.fileno()).st_size)
        if head.startswith(png.SIGNATURE):
            return png.read(name, head + file.read())
        if head.startswith(jpeg.SIGNATURE):
            return jpeg.read(name, head + file.read())
    if not head:
        raise InputError(f"{name} is empty.")
    raise InputError(f"{name} is not a PNG, JPEG or TIFF file.", "Export it as one of these.")


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


def read_mask(path: Path | str, size: tuple[int, int] | None = None) -> npt.NDArray[Any]:
    """Reads a mask: white (1) is selected, black (0) is not, gray in between.

    Colour counts by its luma, transparency as not selected.

    Args:
        path: a picture of any kind that :func:`read_photo` takes.
        size: (height, width) of the photo as displayed, if it is to be checked.

    Returns:
        (H, W), uint8, uint16 or float32 in 0…1.

    Raises:
        InputError: as :func:`read_photo`, or if the mask is of another size.
    """
    mask = read_photo(path)
    if size is not None and mask.size != size:
        raise InputError(
            f"The mask is {mask.size[1]} × {mask.size[0]} and the photo {size[1]} × {size[0]}.",
            "Save the mask at the photo's size, turned as the photo is displayed.",
        )
    pixels = mask.pixels
    if pixels.ndim == 2:
        return pixels
    scale = 1.0 if pixels.dtype == np.float32 else 1.0 / np.iinfo(pixels.dtype).max
    colour = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1]
    weights = (LUMA if colour.shape[2] == 3 else np.ones(1, np.float32)) * np.float32(scale)
    values: npt.NDArray[np.float32] = colour @ weights
    if mask.has_alpha:
        values *= pixels[..., -1] * np.float32(scale)
    # The luma weights' sum rounds to a hair above one.
    if pixels.dtype != np.float32:
        np.minimum(values, 1.0, out=values)
    return values
