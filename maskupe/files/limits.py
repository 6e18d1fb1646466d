"""Refusing a picture before anything is allocated for it."""

from __future__ import annotations

import psutil

from maskupe.errors import InputError, MemoryLimitError

#: Larger than any camera's frame or sane panorama; what claims more is damaged or a trap.
MAX_PIXELS = 500_000_000
# A job holds the picture, the result, and one working copy while a file is decoded or encoded.
_COPIES = 3


def check_size(name: str, width: int, height: int, bytes_per_pixel: int) -> None:
    """Raises if a picture of that size should not be decoded.

    Args:
        name: the file's name, for the sentence.
        width: in pixels, as the file's header claims.
        height: in pixels.
        bytes_per_pixel: of the decoded picture.

    Raises:
        InputError: for an empty picture, or more than ``MAX_PIXELS``.
        MemoryLimitError: if it would not fit into the memory that is free now.
    """
    if width < 1 or height < 1:
        raise InputError(f"{name} holds no picture: its size is {width} × {height}.")
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name} claims {width} × {height} pixels, more than the "
            f"{MAX_PIXELS // 1_000_000} megapixels that are accepted.",
            "Crop it or scale it down first.",
        )
    needed = width * height * bytes_per_pixel * _COPIES
    free = psutil.virtual_memory().available
    if needed > free:
        raise MemoryLimitError(
            f"{name} ({width} × {height}) needs about {needed / 2**30:.1f} GiB of memory and "
            f"{free / 2**30:.1f} GiB are free.",
            "Close other programs, or crop the picture.",
        )
