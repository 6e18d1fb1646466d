"""The fallback where the compiled kernel does not load: :mod:`maskupe.maps` in numpy.

As in the torch reference, each function is a formula with a look-up where the formula says
look-up. Colours and values have their channels last, so that one look-up fetches all of a pixel's
coefficients.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from maskupe.areas.rows import FULL
from maskupe.maps import (
    ILLUMINATION_FLOOR,
    TONE_OFFSET,
    AffineGrid,
    CurveMaps,
    GainGrid,
    Guide,
    Maps,
    ToneCurves,
)
from maskupe.parallel import STRIP_PIXELS, rows_of
from maskupe.pixel_layout import LUMA
from maskupe.rendering.job import Job
from maskupe.rendering.pixels import Floats, finish_difference, read_rows, write_rows
from maskupe.rendering.positions import Frame


def prepare(job: Job) -> tuple[Callable[[int, int], None], int]:
    """Return the function that renders some rows, and how many rows to give it."""

    def render_rows(first: int, last: int) -> None:
        image, out, coverage = (p[first:last] for p in (job.image, job.out, job.coverage))
        if not coverage.any():
            out[...] = image
            return
        opened = read_rows(image)
        clean = job.clean(first, last) if job.clean is not None else None
        colour = opened.colour if clean is None else clean[..., :3]
        difference = enhance(job.maps, job.strength, job.frame, first, colour) - colour
        finish_difference(job, opened, clean, difference)
        weight = None if coverage.min() == FULL else job.fade.weights(coverage)
        bound = None if weight is None else job.bound_rows(first, last)
        write_rows(opened, difference, weight, out, bound)

    return render_rows, rows_of(STRIP_PIXELS, job.width)


def enhance(maps: Maps, t: float, frame: Frame, first: int, colour: Floats) -> Floats:
    """Return the enhanced colours of some rows of a region.

    Args:
        maps: what the network proposes.
        t: the strength.
        frame: where the region lies.
        first: the region's row at which ``colour`` begins.
        colour: float32 (rows, w, 3) in 0…1.

    Returns:
        float32 (rows, w, 3).
    """
    count = colour.shape[0]
    if isinstance(maps, ToneCurves):
        residual = _sample(maps.residual.transpose(1, 2, 0), frame, first, count)
        lifted = (colour + np.float32(TONE_OFFSET)) * _gain(maps.table, colour) * residual
        brighter: Floats = np.clip(lifted - np.float32(TONE_OFFSET), 0, 1)
        return np.maximum(brighter, colour)
    if isinstance(maps, CurveMaps):
        x = colour
        for step in maps.maps:
            alpha = _sample(step.transpose(1, 2, 0), frame, first, count)
            x = x + np.float32(t) * alpha * (x * x - x)
        return np.asarray(np.clip(x, 0, 1), np.float32)
    if isinstance(maps, GainGrid):
        values = _slice(maps.grid.transpose(2, 3, 1, 0), np.sqrt(colour @ LUMA), frame, first)
        return _brighten(values, colour, t)
    if isinstance(maps, AffineGrid):
        cells = maps.grid.transpose(3, 4, 2, 0, 1).reshape(*maps.grid.shape[3:], -1, 12)
        values = _slice(cells, guide_values(maps.guide, colour), frame, first)
        affine = values.reshape(*values.shape[:2], 3, 4)
        illumination: Floats = np.einsum("hwij,hwj->hwi", affine[..., :3], colour)
        illumination += affine[..., 3]
        return _brighten(illumination, colour, t)
    return colour + np.float32(t) * (_trilinear(maps.table, colour) - colour)


def _between(low: Floats, high: Floats, share: Floats) -> Floats:
    """Return low + share · (high - low)."""
    value: Floats = low + share * (high - low)
    return value


def _cells(place: Floats, count: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
    """Return the cells before and after places 0…count - 1, and how far each lies between them."""
    low = np.minimum(place.astype(np.intp), max(count - 2, 0))
    return low, np.minimum(low + 1, count - 1), place - low.astype(np.float32)


def _sample(planes: Floats, frame: Frame, first: int, count: int) -> Floats:
    """Return bilinear values (count, w, n) of planes (gh, gw, n) at the region's pixels."""
    rows = frame.rows(first, first + count, planes.shape[0])
    columns = frame.columns(planes.shape[1])
    # Columns first: few rows of a map lie under many rows of pixels.
    top, bottom = int(rows.low[0]), int(rows.high[-1])
    touched = planes[top : bottom + 1]
    low, high = (np.take(touched, cells, axis=1) for cells in (columns.low, columns.high))
    lines = _between(low, high, columns.fraction[:, None])
    result = np.empty((count, *lines.shape[1:]), np.float32)
    for y in range(count):
        low, high = lines[rows.low[y] - top], lines[rows.high[y] - top]
        result[y] = _between(low, high, rows.fraction[y])
    return result


def _slice(cells: Floats, guide: Floats, frame: Frame, first: int) -> Floats:
    """Return trilinear values (rows, w, n) of cells (gh, gw, D, n) at a guide (rows, w), 0…1."""
    bins = cells.shape[2]
    rows = frame.rows(first, first + guide.shape[0], cells.shape[0])
    columns = frame.columns(cells.shape[1])
    lines = _between(cells[rows.low], cells[rows.high], rows.fraction[:, None, None, None])
    low, high, share = guide_cells(guide, bins)
    row = np.arange(guide.shape[0])[:, None]
    left, right = (
        _between(lines[row, column, low], lines[row, column, high], share[..., None])
        for column in (columns.low, columns.high)
    )
    return _between(left, right, columns.fraction[:, None])


def guide_cells(
    guide: Floats, bins: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
    """Return the bins before and after values of a guide, 0…1, and how far each lies between."""
    place = np.clip(guide * np.float32(bins) - np.float32(0.5), 0, np.float32(bins - 1))
    return _cells(place, bins)


def _gain(table: Floats, colour: Floats) -> Floats:
    """Return the values (rows, w, 3) of tables (3, T) over the square roots of colours."""
    entries = table.shape[1]
    low, high, share = _cells(np.sqrt(colour) * np.float32(entries - 1), entries)
    start = np.arange(3) * entries
    flat = np.ascontiguousarray(table).ravel()
    return _between(np.take(flat, low + start), np.take(flat, high + start), share)


def guide_values(guide: Guide, colour: Floats) -> Floats:
    """Return the guidance map (rows, w), 0…1, of colours (rows, w, 3)."""
    place = colour @ guide.matrix.T + guide.bias
    curves = np.zeros_like(place)
    for shift, slope in zip(guide.shifts.T, guide.slopes.T, strict=True):
        curves += slope * np.maximum(place - shift, 0)
    value: Floats = np.clip(curves @ guide.mix + guide.mix_bias, 0, 1)
    return value


def _brighten(illumination: Floats, colour: Floats, t: float) -> Floats:
    """Return I / S^t with S bounded by 1, I and the floor."""
    floor = np.float32(ILLUMINATION_FLOOR)
    bounded = np.maximum(np.maximum(np.minimum(illumination, np.float32(1)), colour), floor)
    return np.asarray(colour / bounded**t, np.float32)


def _trilinear(table: Floats, colour: Floats) -> Floats:
    """Return values (rows, w, 3) of a table (3, blue, green, red) at colours (rows, w, 3)."""
    nodes = np.ascontiguousarray(table.transpose(3, 2, 1, 0))
    low, high, share = _cells(colour * np.float32(nodes.shape[0] - 1), nodes.shape[0])
    reds, greens, blues = zip(np.moveaxis(low, 2, 0), np.moveaxis(high, 2, 0), strict=True)
    red, green, blue = np.moveaxis(share, 2, 0)[..., None]
    planes = []
    for b in blues:
        lines = [_between(nodes[reds[0], g, b], nodes[reds[1], g, b], red) for g in greens]
        planes.append(_between(lines[0], lines[1], green))
    return _between(planes[0], planes[1], blue)
