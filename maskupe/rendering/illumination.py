"""The effect as a layer of light: by what the input has to be divided to give the result."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from maskupe.parallel import STRIP_PIXELS, rows_of
from maskupe.pixel_layout import colour_channels, scale_of

_LEAST_LIGHT = 1.0 / 255.0


def illumination(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """before / after per colour channel, float32 in 1/255…1, so that 8 bits never divide by 0.

    1 where nothing changed, and for black, which no division can change.
    """
    colours = slice(None) if before.ndim == 2 else slice(0, colour_channels(before))
    scale = np.float32(1.0 / scale_of(before.dtype))
    dark = before if before.ndim == 2 else before[..., colours]
    light = after if after.ndim == 2 else after[..., colours]
    result = np.ones(dark.shape, np.float32)
    step = rows_of(STRIP_PIXELS, before.shape[1])
    for first in range(0, before.shape[0], step):
        rows = slice(first, first + step)
        own, bright = (part[rows].astype(np.float32) * scale for part in (dark, light))
        np.divide(own, bright, out=result[rows], where=(own != bright) & (own > 0) & (bright > 0))
        np.clip(result[rows], _LEAST_LIGHT, 1.0, out=result[rows])
    return result
