"""Saturation of what is brightened: its chroma scaled, its luma kept.

With D the colour before and E = D + change the colour with the full effect, luma Y of each, E
becomes Y_E + k · (E - Y_E). The factor is k = 1 + saturation · p, where p says how much the pixel
is brightened: (Y_E / Y_D - 1) / STOP, clipped to 0…1. What is not brightened keeps its colour, and
what is brightened by a stop or more has no colour at -1 and twice the chroma at +1. Near the
limits of 0…1 chroma grows less, so that no channel is clipped and the hue stays: with room r, the
most by which k may exceed 1, the excess a becomes a · r / √(a² + r²).

The luma that the effect adds does not change, and neither do gray pixels. ``native/saturate.h`` and
``rendering/cuda_kernels.py`` compute the same.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from maskupe.pixel_layout import LUMA

Floats = npt.NDArray[np.float32]

#: One stop (EV) more light adds about this share of a display-encoded value: 2^(1/2.2) - 1.
STOP = 0.37
# In place of zero where something is divided.
_LEAST = np.float32(1e-6)


def saturate(colour: Floats, change: Floats, saturation: float) -> None:
    """Change the chroma of what is brightened, in place.

    Args:
        colour: float32 (rows, w, 3) in 0…1, D.
        change: float32 (rows, w, 3), E - D; it is overwritten.
        saturation: -1…1; positive is more colour, 0 changes nothing.
    """
    if saturation == 0:
        return
    enhanced = colour + change
    before, added = colour @ LUMA, change @ LUMA
    luma = before + added
    chroma = enhanced - luma[..., None]
    share = np.clip(added / np.maximum(before * np.float32(STOP), _LEAST), 0, 1)
    amount = np.float32(saturation) * share
    if saturation > 0:
        above = chroma.max(axis=-1) / np.maximum(1 - luma, _LEAST)
        below = chroma.min(axis=-1) / np.maximum(luma, _LEAST)
        used = np.clip(np.maximum(above, -below), 0, 1)
        free = 1 - used
        amount *= free / np.sqrt(np.maximum(np.square(amount * used) + np.square(free), _LEAST))
    # Rounding must not take a colour beyond the limits that it was within.
    low, high = np.minimum(enhanced, 0), np.maximum(enhanced, 1)
    np.subtract(np.clip(enhanced + amount[..., None] * chroma, low, high), colour, out=change)
