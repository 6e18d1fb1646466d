"""How much of the effect a pixel takes: from its coverage to the blend weight."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from maskupe.areas.rows import FULL
from maskupe.areas.transition import smoothstep
from maskupe.pixel_layout import LUMA

Float = npt.NDArray[np.float32]
#: Share of the way at each end over which the ramp bends in and out; the steepest step of the
#: ramp is then 1 / (1 - share) of an ideal one's.
_SOFT_END = 0.1
# Below this log gain there is nothing to bend.
_LEAST_LOG_GAIN = 1e-3
_Real = TypeVar("_Real", np.float32, np.float64)


#: The bound on added light is complete where the weight has fallen by this much below one.
ONSET = 0.05


@dataclass(frozen=True)
class LightLimit:
    """The most light that a pixel on an edge may be given, by its place.

    Attributes:
        plane: float32 (rows, columns), of luma 0…1, bilinear between cell centres.
        x: left side of the rectangle that it covers, in pixels of the layer.
        y: its top.
        width: its width.
        height: its height.
    """

    plane: Float
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class BlendCurve:
    """The way from coverage to weight.

    w = r · (1 - smoothstep((1 - r) / ONSET) · (1 - min(1, bound / change))), where r is the ramp at
    the coverage and ``change`` by how much the full effect would raise the pixel's luma.

    Attributes:
        ramp: float32 (65536,) in 0…1, r for each coverage; 0 at 0 and 1 at the last.
        bound: the most light on edges; None for no bound, so that w = r.
    """

    ramp: Float
    bound: LightLimit | None = None

    def weights(self, coverage: npt.NDArray[np.uint16]) -> Float:
        """Return r of coverage, uint16 (n, w): float32 (n, w), 1 in A, 0 in C."""
        if not coverage.any():
            return np.zeros(coverage.shape, np.float32)
        return np.take(self.ramp, coverage)


def limit_added_light(weight: Float, change: Float, bound: Float) -> Float:
    """Return the weights by which no more light is added on edges than the bound.

    Args:
        weight: float32 (n, w), r of :class:`BlendCurve`.
        change: float32 (n, w, 3), the full effect minus the colour, 0…1.
        bound: float32 (n, w).
    """
    added = np.maximum(change @ LUMA, np.float32(1e-6))
    excess = 1.0 - np.minimum(bound / added, 1.0)
    result: Float = weight * (1.0 - smoothstep((1.0 - weight) / np.float32(ONSET)) * excess)
    return result


@functools.cache
def linear() -> BlendCurve:
    """The weight is the coverage."""
    return BlendCurve(np.arange(FULL + 1, dtype=np.float32) * np.float32(1.0 / FULL))


def perceptual(log_gain: float) -> BlendCurve:
    """Return the fade that is even in stops, where the subject's mean gain has that logarithm."""
    table = np.ascontiguousarray(log_gain_ramp(_even_ramp(), log_gain), np.float32)
    table[0], table[FULL] = 0.0, 1.0
    return BlendCurve(table)


@functools.cache
def _even_ramp() -> Float:
    """Return the even ramp of every coverage, which the gain only bends."""
    return soft_ended_ramp(inverse_smoothstep(linear().ramp))


def inverse_smoothstep(weight: npt.NDArray[_Real]) -> npt.NDArray[_Real]:
    """The way that a smoothstep weight stands for: 0 at C, 1 at A (the inverse of 3x² - 2x³)."""
    way = 0.5 - np.sin(np.arcsin(np.clip(1.0 - 2.0 * weight, -1.0, 1.0)) / 3.0)
    result: npt.NDArray[_Real] = way.astype(weight.dtype)
    return result


def soft_ended_ramp(way: Float) -> Float:
    """Return a ramp from 0 to 1 that is straight but for its ends, where it is a parabola (C¹)."""
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
    """Return the weight of values that makes a ramp of the gain's logarithm.

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
