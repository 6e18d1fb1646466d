"""sRGB's transfer function (IEC 61966-2-1) on arrays, for what works in linear light."""

from __future__ import annotations

import numpy as np

from maskupe_training.data.images import F32


def decode_srgb(encoded: F32) -> F32:
    """Linear light of display-encoded values in 0…1."""
    x = np.clip(encoded, 0.0, 1.0)
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear, np.float32)


def encode_srgb(linear: F32) -> F32:
    """Display-encoded values of linear light, clipped to 0…1."""
    x = np.clip(linear, 0.0, 1.0)
    encoded = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.power(x, 1 / 2.4) - 0.055)
    return np.asarray(encoded, np.float32)
