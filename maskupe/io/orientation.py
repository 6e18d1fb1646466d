"""EXIF orientation: the eight ways in which a camera may have stored the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

#: EXIF 2.32, tag 0x0112: values from 5 on swap rows and columns.
FIRST_TRANSPOSED = 5


def upright(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Return the stored pixels as they are displayed, C-contiguous.

    Args:
        pixels: (H, W) or (H, W, C) as stored.
        orientation: 1…8; any other value counts as 1, as viewers do.
    """
    if orientation >= FIRST_TRANSPOSED and orientation <= 8:
        pixels = pixels.swapaxes(0, 1)
    # After the swap: which displayed axis runs backwards.
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
