"""sRGB's transfer function (IEC 61966-2-1), for what has to be reckoned in linear light."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Floats = TypeVar("Floats", npt.NDArray[np.float32], npt.NDArray[np.float64])


def decode_srgb(encoded: Floats) -> Floats:
    """Return linear light, 0…1, of display-encoded values, which are clipped to 0…1.

    Keeps the dtype.
    """
    x = np.clip(encoded, 0.0, 1.0)
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear, encoded.dtype)


def encode_srgb(linear: Floats) -> Floats:
    """Return display-encoded values, 0…1, of linear light, which is clipped to 0…1.

    Keeps the dtype.
    """
    x = np.clip(linear, 0.0, 1.0)
    encoded = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.power(x, 1 / 2.4) - 0.055)
    return np.asarray(encoded, linear.dtype)
