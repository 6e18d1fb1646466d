"""How pixels are stored: which channels are colour and alpha, what full range and luma are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

#: The types of pixels that are rendered, in the order in which the compiled code numbers them.
PIXEL_TYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))
#: Added to display-encoded values before the logarithm of a gain is taken: four levels of 8 bits,
#: below which quantisation would decide.
GAIN_DELTA = 4.0 / 255.0
#: Luma of display-encoded r, g, b (ITU-R BT.601).
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def scale_of(dtype: np.dtype[Any]) -> float:
    """Return what a full-range value of this dtype is divided by to become 1.0."""
    return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0


def colour_channels(image: npt.NDArray[Any]) -> int:
    """How many of the last axis' channels are colour: 1 (gray, gray+alpha) or 3 (RGB, RGBA)."""
    count = 1 if image.ndim == 2 else image.shape[2]
    return 3 if count >= 3 else 1


def alpha_of(image: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """Return the alpha plane (H, W) of a gray+alpha or RGBA image, else None."""
    if image.ndim == 3 and image.shape[2] in (2, 4):
        alpha: npt.NDArray[Any] = image[..., -1]
        return alpha
    return None


def has_whole_rows(array: npt.NDArray[Any]) -> bool:
    """Return whether the pixels of each row lie one after the other without gaps."""
    expected = array.itemsize
    for length, stride in zip(array.shape[:0:-1], array.strides[:0:-1], strict=True):
        if length > 1 and stride != expected:
            return False
        expected *= length
    return True
