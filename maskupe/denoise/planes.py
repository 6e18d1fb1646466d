"""Y, Cr and Cb of stored pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from maskupe.pixel_layout import LUMA, colour_channels, scale_of

Float = npt.NDArray[np.float32]

# From r, g, b to Y, Cr, Cb, and back: JPEG's.
_TO = np.array(
    [LUMA, 0.713267 * (np.array([1, 0, 0]) - LUMA), 0.564334 * (np.array([0, 0, 1]) - LUMA)],
    np.float32,
)
BACK = np.array(
    [[1.0, 1.402, 0.0], [1.0, -0.714136, -0.344136], [1.0, 0.0, 1.772]],
    np.float32,
)


def opened(image: npt.NDArray[Any]) -> Float:
    """Return Y, Cr, Cb (3, h, w) in codes of 255 of pixels (h, w, c)."""
    colours = image[..., : colour_channels(image)].astype(np.float32)
    if image.dtype.kind == "f":
        colours = np.fmin(np.fmax(colours, np.float32(0.0)), np.float32(1.0))
    colours *= np.float32(255.0 / scale_of(image.dtype))
    if colours.shape[2] == 1:
        colours = np.repeat(colours, 3, axis=2)
    planes: Float = np.einsum("kc,hwc->khw", _TO, colours)
    return planes
