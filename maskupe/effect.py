"""What a model does to the subject, found out on what the network saw, before any large pixel.

The blending needs two things of it: the mean gain in A, by which a fade that is even in stops is
bent, and how much light is added around each place. A pixel on the subject's outline is partly what
lies behind, and that may be far brighter: multiplied by the subject's gain it would outshine both,
as a bright rim. So the light that is added to a pixel on an edge is bounded by what the subject
beside it gets.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from maskupe.blending.weights import LightLimit
from maskupe.maps import Maps, Window
from maskupe.matting.matte import Matte
from maskupe.pixel_layout import GAIN_DELTA, LUMA
from maskupe.rendering import render_small

Float = npt.NDArray[np.float32]

#: Cells of the bound along each side.
BOUND_SIZE = 64
#: The bound is the mean of what the subject gets around a place, and this many deviations.
BOUND_DEVIATIONS = 2.0
# How much a cell of A, B and C tells of what the model does to tones.
_CELL_WEIGHTS = (1.0, 0.3, 1e-3)
_TONES = 256
# The weight of a cell from which it counts as subject.
_WHOLE = 0.85
# Neighbourhoods in cells of the bound; where the subject is farther away the next one counts.
_RADII = (1.5, 4.0, 10.0, 24.0)


@dataclass(frozen=True)
class EffectStats:
    """What a model does to the subject.

    Attributes:
        log_gain: mean over A of log((Ŷ + 4/255) / (I + 4/255)).
        curve: float32 (256,), the mean luma 0…1 that luma i / 255 gets.
        bound: the most light that is added on edges; None where areas are by distance alone.
    """

    log_gain: float
    curve: Float
    bound: LightLimit | None = None


def predict_effect(
    maps: Maps, context: Float, shares: Float, matte: Matte | None, layer: Window
) -> EffectStats:
    """Try the maps on what the networks saw.

    Args:
        maps: what the model predicted.
        context: float32 (n, n, 3), the layer as the network saw it, 0…1.
        shares: float32 (2, n, n), the shares of A and B in each cell.
        matte: of the selection, if edges are followed.
        layer: gives the layer's size.
    """
    size = context.shape[0]
    enhanced = render_small(maps, context, Window(0, 0, size, size))
    inside = shares[0] >= min(0.5, float(shares[0].max()))
    delta = np.float32(GAIN_DELTA)
    # A network may predict pixels, and some of them below black.
    gain = np.log((np.maximum(enhanced[inside], 0.0) + delta) / (context[inside] + delta))
    a, b = shares
    weights = _CELL_WEIGHTS[0] * a + _CELL_WEIGHTS[1] * b + _CELL_WEIGHTS[2]
    curve = _mean_curve((context @ LUMA).ravel(), (enhanced @ LUMA).ravel(), weights.ravel())
    bound = None if matte is None else _bound(maps, matte, layer)
    return EffectStats(float(gain.mean()), curve, bound)


def _bound(maps: Maps, matte: Matte, layer: Window) -> LightLimit:
    """Return the most light that is added around each place of the matte's frame."""
    size = matte.image.shape[0]
    frame = matte.frame
    # The maps cover the layer; the frame is a part of it, here of another resolution.
    across, down = size / frame.width, size / frame.height
    x, y = round(frame.x * across), round(frame.y * down)
    window = Window(
        x,
        y,
        max(round(layer.layer_width * across), x + size),
        max(round(layer.layer_height * down), y + size),
    )
    added = np.maximum((render_small(maps, matte.image, window) - matte.image) @ LUMA, 0.0)
    # Only what is all subject tells what the subject gets; cells on its outline are brighter.
    weight = np.square(np.clip((matte.weight - _WHOLE) / np.float32(0.98 - _WHOLE), 0.0, 1.0))
    weight += np.float32(1e-6) + np.float32(1e-3) * np.square(matte.weight)
    small = (BOUND_SIZE, BOUND_SIZE)
    parts = [weight, weight * added, weight * added * added]
    parts = [cv2.resize(part, small, interpolation=cv2.INTER_AREA) for part in parts]
    known = np.zeros(small, np.float32)
    plane = np.zeros(small, np.float32)
    for radius in _RADII:
        total, first, second = (cv2.GaussianBlur(part, (0, 0), radius) for part in parts)
        mean = first / total
        deviation = np.sqrt(np.maximum(second / total - mean * mean, 0.0))
        share = np.clip(total * 8.0, 0.0, 1.0) * (1.0 - known)
        plane += share * (mean + np.float32(BOUND_DEVIATIONS) * deviation)
        known += share
    plane += (1.0 - known) * (mean + np.float32(BOUND_DEVIATIONS) * deviation)
    return LightLimit(np.ascontiguousarray(plane, np.float32), *frame)


def _mean_curve(before: Float, after: Float, weights: Float) -> Float:
    """Return mean of ``after`` where ``before`` has each of 256 values.

    Gaps are filled linearly.
    """
    index = np.minimum((before * (_TONES - 1) + 0.5).astype(np.intp), _TONES - 1)
    total = np.bincount(index, weights, _TONES)
    mean = np.bincount(index, weights * after, _TONES)
    known = np.flatnonzero(total > 0)
    curve = np.interp(np.arange(_TONES), known, mean[known] / total[known])
    # White stays white: beyond the brightest tone met, the curve runs to the corner.
    brightest = int(known[-1])
    rest = np.arange(brightest, _TONES)
    if rest.size > 1:
        share = (rest - brightest) / (_TONES - 1 - brightest)
        curve[rest] = curve[brightest] + share * (1.0 - curve[brightest])
    kernel = np.array([0.25, 0.5, 0.25])
    smooth = np.convolve(np.pad(curve, 1, mode="edge"), kernel, mode="valid")
    result: Float = smooth.astype(np.float32)
    return result
