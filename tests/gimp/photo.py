"""A real photograph, underexposed as a camera would: in linear light."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage import data

from maskupe.preprocess.srgb import decode_srgb, encode_srgb

BABL = {"uint8": "u8", "uint16": "u16", "float32": "float"}


@functools.cache
def _dark() -> npt.NDArray[np.float32]:
    """The public-domain portrait that scikit-image ships, three stops darker: (512, 512, 3)."""
    linear = decode_srgb(data.astronaut().astype(np.float64) / 255.0)
    dark = encode_srgb(0.125 * linear).astype(np.float32)
    dark.flags.writeable = False
    return dark


def dark_photo(
    dtype: Any = np.uint8, *, gray: bool = False, alpha: bool = False
) -> npt.NDArray[Any]:
    """The photograph, (512, 512, 1 to 4); alpha is a ramp with a transparent corner."""
    planes = _dark()
    if gray:
        planes = (planes @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    if alpha:
        ramp = np.linspace(0.2, 1.0, 512, dtype=np.float32)[None, :].repeat(512, 0).copy()
        ramp[:64, :64] = 0.0
        planes = np.concatenate([planes, ramp[..., None]], axis=2)
    if np.dtype(dtype) == np.float32:
        return np.array(planes, np.float32)  # the caller's own, to change as it likes
    return np.rint(planes * np.iinfo(dtype).max).astype(dtype)


def tiled_photo(height: int, width: int, dtype: Any = np.uint8, **kind: bool) -> npt.NDArray[Any]:
    """The photograph again and again, as large as asked for; the rest as in :func:`dark_photo`."""
    tile = dark_photo(dtype, **kind)
    times = (-(-height // tile.shape[0]), -(-width // tile.shape[1]), 1)
    return np.ascontiguousarray(np.tile(tile, times)[:height, :width])


def babl(image: npt.NDArray[Any], *, linear: bool = False) -> str:
    """The babl format that an array of pixels is in."""
    channels = image.shape[2]
    colour = "RGB" if channels >= 3 else "Y"
    if not linear:
        colour = "R'G'B'" if channels >= 3 else "Y'"
    return f"{colour}{'A' if channels in (2, 4) else ''} {BABL[image.dtype.name]}"
