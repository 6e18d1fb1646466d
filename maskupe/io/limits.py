"""Refusing a picture before anything is allocated for it."""

from __future__ import annotations

from maskupe.errors import InputError, MemoryLimitError
from maskupe.memory import free_bytes

#: Larger than any camera's frame or sane panorama; what claims more is damaged or a trap.
MAX_PIXELS = 500_000_000
# What a job holds at its peak, in sizes of the decoded picture: that, the result, and what decoding
# and encoding take. Measured at 12 and 48 megapixels: 4.0 for PNG, 5.2 for JPEG.
_COPIES = 5.5
# What model and runtime take beside it, loaded after the photo.
_PROGRAM = 100 * 2**20


def check_size(name: str, width: int, height: int, bytes_per_pixel: int) -> None:
    """Raise if a picture of that size should not be decoded.

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
    needed = width * height * bytes_per_pixel * _COPIES + _PROGRAM
    _check_free(
        f"{name} ({width} × {height})", needed, "Close other programs, or crop the picture."
    )


def check_file_size(name: str, size: int) -> None:
    """Raise MemoryLimitError if a file of so many bytes should not be read into memory."""
    _check_free(f"{name} (a file of {size / 2**20:.0f} MiB)", 2 * size, "Is it a photograph?")


def _check_free(what: str, needed: float, hint: str) -> None:
    free = free_bytes()
    if needed > free:
        raise MemoryLimitError(
            f"{what} needs about {needed / 2**30:.1f} GiB of memory and "
            f"{free / 2**30:.1f} GiB are free.",
            hint,
        )
