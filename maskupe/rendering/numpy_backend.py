"""The fallback where the compiled kernel does not load: numpy and OpenCV on strips.

Every function here gives the difference enhanced - I of one strip, for one kind of map, with the
formulas of :mod:`maskupe.maps`. Luma axes are written as sums of hinges,
S = T_0 + Σ_k (T_{k+1} - T_k) · clip(z - k, 0, 1), the same function as linear interpolation
without looking anything up per pixel.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from maskupe.bands import FULL
from maskupe.layout import LUMA
from maskupe.maps import (
    ILLUMINATION_FLOOR,
    TONE_OFFSET,
    AffineGrid,
    CurveMaps,
    GainGrid,
    Guide,
    LookUpTable,
    Maps,
    ToneCurves,
)
from maskupe.rendering.job import Job
from maskupe.rendering.pixels import Floats, close_strip, open_strip
from maskupe.rendering.positions import Frame
from maskupe.strips import rows_of

#: Pixels of one strip: its temporaries, a few dozen planes at most, stay around ten megabytes.
STRIP_PIXELS = 1 << 16

#: Gives enhanced - I (rows, w, 3) for I (rows, w, 3), the first row's number, and where the guide
#: sees them the areas A and B as float32 (rows, w, 2).
Difference = Callable[[Floats, int, "Floats | None"], Floats]


def prepare(job: Job) -> tuple[Callable[[int, int], None], int]:
    """The function that renders a strip of rows, and how many rows to give it."""
    difference = difference_of(job.maps, job.strength, job.frame)
    if isinstance(job.maps, ToneCurves) and job.image.dtype == np.uint8 and job.image.shape[2] == 3:
        return _tone_strips(job, job.maps), rows_of(STRIP_PIXELS, job.width)

    def strip(first: int, last: int) -> None:
        image, out, coverage = (p[first:last] for p in (job.image, job.out, job.coverage))
        if not coverage.any():
            out[...] = image
            return
        opened = open_strip(image)
        seen = None
        if job.sees_areas:
            seen = np.stack(job.areas_of(first, last), axis=2).astype(np.float32)
        weight = job.fade.weights(coverage, opened.colour)
        close_strip(opened, difference(opened.colour, first, seen), weight, out)

    return strip, rows_of(STRIP_PIXELS, job.width)


def _tone_strips(job: Job, maps: ToneCurves) -> Callable[[int, int], None]:
    """Tone curves on 8-bit RGB: there are 256 levels only, so the curves are looked up whole."""
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    last = maps.table.shape[1] - 1
    places = np.sqrt(levels) * np.float32(last)
    gains = [np.interp(places, np.arange(last + 1), row) for row in maps.table]
    table = np.stack([(levels + np.float32(TONE_OFFSET)) * gain for gain in gains], axis=1)
    lifted = np.ascontiguousarray(table[None], np.float32)
    ceilings = [np.maximum(levels, ceiling) for ceiling in np.minimum(maps.ceiling, 1)]
    ceiling = np.ascontiguousarray(np.stack(ceilings, axis=1)[None], np.float32)
    capped = bool((maps.ceiling < 1).any())

    def strip(first: int, last: int) -> None:
        image, out, coverage = (p[first:last] for p in (job.image, job.out, job.coverage))
        if not coverage.any():
            out[...] = image
            return
        value = np.asarray(cv2.LUT(image, lifted), np.float32).reshape(image.shape)
        value *= upsample_pixels(maps.residual, job.frame, first, last - first)
        value -= np.float32(TONE_OFFSET)
        if capped:
            np.minimum(value, cv2.LUT(image, ceiling).reshape(image.shape), out=value)
        if coverage.min() == FULL:
            value *= np.float32(255)
            value += np.float32(0.5)
            np.clip(value, 0, 255, out=value)
            np.copyto(out, value, casting="unsafe")  # towards zero, which makes it rounding
            return
        np.clip(value, 0, 1, out=value)
        opened = open_strip(image)
        value -= opened.colour
        close_strip(opened, value, job.fade.weights(coverage, opened.colour), out)

    return strip


def difference_of(maps: Maps, strength: float, frame: Frame) -> Difference:
    """The function that applies one kind of map at one strength."""
    t = np.float32(strength)
    if isinstance(maps, ToneCurves):
        return lambda colour, first, _: _tone_curves(maps, frame, colour, first)
    if isinstance(maps, CurveMaps):
        return lambda colour, first, _: _curve_maps(maps, t, frame, colour, first)
    if isinstance(maps, GainGrid):
        return lambda colour, first, _: _gain_grid(maps, t, frame, colour, first)
    if isinstance(maps, AffineGrid):
        return lambda colour, first, areas: _affine_grid(maps, t, frame, colour, first, areas)
    return lambda colour, _first, _areas: _look_up_table(maps, t, colour)


def upsample_pixels(planes: Floats, frame: Frame, first: int, count: int) -> Floats:
    """The same as `upsample`, for planes (3, gh, gw), in the order of pixels: (count, w, 3)."""
    rows = frame.rows(first, first + count, planes.shape[1])
    columns = frame.columns(planes.shape[2])
    top = int(rows.low[0])
    touched = planes[:, top : int(rows.high[-1]) + 1].transpose(1, 2, 0)
    left = touched[:, columns.low]
    wide = left + (touched[:, columns.high] - left) * columns.fraction[:, None]
    mix = np.zeros((count, wide.shape[0]), np.float32)
    index = np.arange(count)
    mix[index, rows.low - top] = 1 - rows.fraction
    mix[index, rows.high - top] += rows.fraction
    result: Floats = (mix @ wide.reshape(wide.shape[0], -1)).reshape(count, -1, 3)
    return result


def upsample(planes: Floats, frame: Frame, first: int, count: int) -> Floats:
    """Bilinear values of planes (n, gh, gw) at the region's rows: float32 (n, count, w).

    Only the few rows of cells that these pixels touch are spread over the columns; a product with
    the rows' interpolation weights then makes all the pixel rows at once.
    """
    rows = frame.rows(first, first + count, planes.shape[1])
    columns = frame.columns(planes.shape[2])
    top = int(rows.low[0])
    touched = planes[:, top : int(rows.high[-1]) + 1]
    left = np.take(touched, columns.low, axis=2)
    wide = np.take(touched, columns.high, axis=2)
    wide -= left
    wide *= columns.fraction
    wide += left
    mix = np.zeros((count, touched.shape[1]), np.float32)
    index = np.arange(count)
    mix[index, rows.low - top] = 1 - rows.fraction
    mix[index, rows.high - top] += rows.fraction
    result: Floats = np.matmul(mix, wide)
    return result


def _tone_curves(maps: ToneCurves, frame: Frame, colour: Floats, first: int) -> Floats:
    residual = upsample(maps.residual, frame, first, colour.shape[0])
    last = maps.table.shape[1] - 1
    place = np.sqrt(colour)
    place *= np.float32(last)
    low = np.minimum(place.astype(np.int32), max(last - 1, 0))
    place -= low
    step = np.diff(maps.table, axis=1, append=maps.table[:, -1:])
    result = np.empty_like(colour)
    for c in range(3):
        gain = np.take(step[c], low[:, :, c])
        gain *= place[:, :, c]
        gain += np.take(maps.table[c], low[:, :, c])
        gain *= residual[c]
        own = colour[:, :, c]
        gain *= own + np.float32(TONE_OFFSET)
        gain -= np.float32(TONE_OFFSET)
        np.minimum(gain, np.maximum(own, maps.ceiling[c]), out=gain)
        np.clip(gain, 0, 1, out=gain)
        np.subtract(gain, own, out=result[:, :, c])
    return result


def _curve_maps(maps: CurveMaps, t: np.float32, frame: Frame, colour: Floats, first: int) -> Floats:
    x = colour.transpose(2, 0, 1).copy()
    curve = np.empty_like(x)
    for step in maps.maps:
        np.multiply(x, x, out=curve)
        curve -= x
        curve *= upsample(step * t, frame, first, colour.shape[0])
        x += curve
    np.clip(x, 0, 1, out=x)
    result: Floats = x.transpose(1, 2, 0) - colour
    return result


def _hinges(guide: Floats, bins: int) -> list[Floats]:
    """clip(z - k, 0, 1) for the bins before the last, at z = clip(g · bins - 0.5, 0, bins - 1)."""
    z = guide * np.float32(bins)
    z -= np.float32(0.5)
    np.clip(z, 0, bins - 1, out=z)
    return [np.clip(z - np.float32(k), 0, 1) for k in range(bins - 1)]


def _slice(planes: Floats, hinges: list[Floats], frame: Frame, first: int, count: int) -> Floats:
    """Values (count, w) of one bilateral grid (D, gh, gw) at the guide that made the hinges."""
    steps = np.concatenate([planes[:1], np.diff(planes, axis=0)])
    wide = upsample(steps, frame, first, count)
    result: Floats = wide[0]
    for hinge, step in zip(hinges, wide[1:], strict=True):
        step *= hinge
        result += step
    return result


def _brighten(illumination: Floats, colour: Floats, t: np.float32) -> Floats:
    """I / S^t - I with S bounded by 1, I and the floor; overwrites the illumination."""
    np.minimum(illumination, np.float32(1), out=illumination)
    np.maximum(illumination, colour, out=illumination)
    np.maximum(illumination, np.float32(ILLUMINATION_FLOOR), out=illumination)
    if t != 1:
        cv2.pow(illumination, float(t), illumination)
    np.divide(colour, illumination, out=illumination)
    illumination -= colour
    return illumination


def _gain_grid(maps: GainGrid, t: np.float32, frame: Frame, colour: Floats, first: int) -> Floats:
    hinges = _hinges(np.sqrt(colour @ LUMA), maps.grid.shape[1])
    count = colour.shape[0]
    illumination = np.stack(
        [_slice(planes, hinges, frame, first, count) for planes in maps.grid], axis=2
    )
    return _brighten(illumination, colour, t)


def guide_values(guide: Guide, colour: Floats, areas: Floats | None) -> Floats:
    """The guidance map (rows, w), 0…1, of colours (rows, w, 3) and areas (rows, w, 2)."""
    place = colour @ guide.matrix[:, :3].T
    if areas is not None:
        place += areas @ guide.matrix[:, 3:].T
    place += guide.bias
    value = np.full(colour.shape[:2], guide.mix_bias[0], np.float32)
    for c in range(3):
        axis = np.ascontiguousarray(place[:, :, c])
        for shift, slope in zip(guide.shifts[c], guide.slopes[c], strict=True):
            value += guide.mix[c] * slope * np.maximum(axis - shift, np.float32(0))
    return np.clip(value, 0, 1, out=value)


def _affine_grid(
    maps: AffineGrid, t: np.float32, frame: Frame, colour: Floats, first: int, areas: Floats | None
) -> Floats:
    hinges = _hinges(guide_values(maps.guide, colour, areas), maps.grid.shape[2])
    count = colour.shape[0]
    illumination = np.empty_like(colour)
    for c in range(3):
        total = _slice(maps.grid[c, 3], hinges, frame, first, count)
        for j in range(3):
            total += _slice(maps.grid[c, j], hinges, frame, first, count) * colour[:, :, j]
        illumination[:, :, c] = total
    return _brighten(illumination, colour, t)


def _look_up_table(maps: LookUpTable, t: np.float32, colour: Floats) -> Floats:
    nodes = maps.table.shape[-1]
    place = colour * np.float32(nodes - 1)
    low = np.minimum(place.astype(np.int32), max(nodes - 2, 0))
    place -= low
    nearest = (low[:, :, 2] * nodes + low[:, :, 1]) * nodes + low[:, :, 0]
    ahead = 1 if nodes > 1 else 0
    entries: npt.NDArray[np.float32] = np.ascontiguousarray(maps.table.reshape(3, -1).T)
    result = -colour
    for corner in range(8):
        share = np.ones(colour.shape[:2], np.float32)
        offset = 0
        for axis in range(3):
            upper = corner >> axis & 1
            share *= place[:, :, axis] if upper else 1 - place[:, :, axis]
            offset += upper * ahead * nodes**axis
        result += np.take(entries, nearest + offset, axis=0) * share[:, :, None]
    result *= t
    return result
