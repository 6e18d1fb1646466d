"""The transition as the eye sees it: even steps of light from A to C.

Light is seen in ratios. A weight that blends *values* evenly, I + w (Ŷ - I), spends most of the
ratio in the outer part of the band when the gain is large: with eight times the light, half of the
way in values is already three quarters of the way in stops, and the band's outer edge shows. So
the weight is bent such that the *logarithm* of the gain falls evenly, with short soft ends.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]

#: Share of the way at each end over which the ramp bends in and out; the steepest step of the
#: ramp is then 1 / (1 - share) of an ideal one's.
_SOFT_END = 0.1
# Below this log gain there is nothing to bend.
_LEAST_LOG_GAIN = 1e-3


_Real = TypeVar("_Real", np.float32, np.float64)


def inverse_smoothstep(weight: npt.NDArray[_Real]) -> npt.NDArray[_Real]:
    """The way that a smoothstep weight stands for: 0 at C, 1 at A (the inverse of 3x² - 2x³)."""
    way = 0.5 - np.sin(np.arcsin(np.clip(1.0 - 2.0 * weight, -1.0, 1.0)) / 3.0)
    result: npt.NDArray[_Real] = way.astype(weight.dtype)
    return result


def soft_ended_ramp(way: Float) -> Float:
    """A ramp from 0 to 1 that is straight but for its ends, where it is a parabola (C¹)."""
    mirrored = np.minimum(way, 1.0 - way)
    slope = 1.0 / (1.0 - _SOFT_END)
    half = np.where(
        mirrored < _SOFT_END,
        0.5 * slope / _SOFT_END * mirrored**2,
        slope * (mirrored - 0.5 * _SOFT_END),
    )
    ramp: Float = np.where(way <= 0.5, half, 1.0 - half)
    return ramp.astype(np.float32)


def log_gain_ramp(ramp: Float, log_gain: float) -> Float:
    """The weight of values that makes a ramp of the gain's logarithm.

    Args:
        ramp: float32, 0…1.
        log_gain: mean logarithm of the gain in A; negative and tiny ones blend values evenly.

    Returns:
        float32, 0 and 1 where ``ramp`` is, monotone in it.
    """
    if log_gain < _LEAST_LOG_GAIN:
        return ramp
    bent: Float = np.expm1(np.float32(log_gain) * ramp) / np.float32(np.expm1(log_gain))
    return bent.astype(np.float32)
