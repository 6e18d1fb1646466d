"""The fallback where the compiled kernel does not load: numpy and OpenCV on strips.

Every function here gives the difference enhanced - I of one strip, for one kind of map, with the
formulas of :mod:`maskupe.maps`. Luma axes are written as sums of hinges,
S = T_0 + Σ_k (T_{k+1} - T_k) · clip(z - k, 0, 1), the same function as linear interpolation
without looking anything up per pixel, and as a product of matrices, which BLAS is good at.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import cv2
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
    LookUpTable,
    Maps,
    ToneCurves,
)
from maskupe.parallel import rows_of
from maskupe.pixel_layout import LUMA
from maskupe.rendering.job import Job
from maskupe.rendering.pixels import Floats, read_rows, write_rows
from maskupe.rendering.positions import Frame, Positions

#: Pixels of one strip: its temporaries, a few dozen planes at most, stay around twenty megabytes.
#: Smaller ones stay in a cache, but threads then spend their time taking turns at Python's lock.
STRIP_PIXELS = 1 << 17

#: Gives enhanced - I (rows, w, 3) for I (rows, w, 3) and the first row's number.
Difference = Callable[[Floats, int], Floats]


def prepare(job: Job) -> tuple[Callable[[int, int], None], int]:
    """Return the function that renders a strip of rows, and how many rows to give it."""
    difference = difference_of(job.maps, job.strength, job.frame)
    eight_bits = job.image.dtype == np.uint8 and job.image.shape[2] == 3
    if isinstance(job.maps, ToneCurves) and eight_bits and job.clean is None:
        return _tone_strips(job, job.maps), rows_of(STRIP_PIXELS, job.width)

    def strip(first: int, last: int) -> None:
        image, out, coverage = (p[first:last] for p in (job.image, job.out, job.coverage))
        if not coverage.any():
            out[...] = image
            return
        opened = read_rows(image)
        weight = None if coverage.min() == FULL else job.fade.weights(coverage)
        bound = None if weight is None else job.bound_rows(first, last)
        clean = job.clean(first, last) if job.clean is not None else None
        change = difference(
            opened.colour if clean is None else np.ascontiguousarray(clean[..., :3]), first
        )
        if clean is not None:
            change *= clean[..., 3:]
            change += clean[..., :3]
            change -= opened.colour
        write_rows(opened, change, weight, out, bound)

    return strip, rows_of(STRIP_PIXELS, job.width)


def _tone_strips(job: Job, maps: ToneCurves) -> Callable[[int, int], None]:
    """Tone curves on 8-bit RGB: there are 256 levels only, so the curves are looked up whole."""
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    last = maps.table.shape[1] - 1
    places = np.sqrt(levels) * np.float32(last)
    gains = [np.interp(places, np.arange(last + 1), row) for row in maps.table]
    table = np.stack([(levels + np.float32(TONE_OFFSET)) * gain for gain in gains], axis=1)
    lifted = np.ascontiguousarray(table[None], np.float32)

    def strip(first: int, last: int) -> None:
        image, out, coverage = (p[first:last] for p in (job.image, job.out, job.coverage))
        if not coverage.any():
            out[...] = image
            return
        value = np.asarray(cv2.LUT(image, lifted), np.float32).reshape(image.shape)
        residual = upsample(maps.residual, job.frame, first, last - first).reshape(image.shape)
        if coverage.min() == FULL:
            value = np.asarray(cv2.multiply(value, residual, value, 255.0))
            # Rounds and saturates; that it takes absolute values is below half a level.
            lit = cv2.convertScaleAbs(value, beta=-255.0 * TONE_OFFSET).reshape(image.shape)
            np.maximum(lit, image, out=out)
            return
        value *= residual
        value -= np.float32(TONE_OFFSET)
        np.clip(value, 0, 1, out=value)
        opened = read_rows(image)
        value -= opened.colour
        np.maximum(value, 0, out=value)
        bound = job.bound_rows(first, last)
        write_rows(opened, value, job.fade.weights(coverage), out, bound)

    return strip


def difference_of(maps: Maps, strength: float, frame: Frame) -> Difference:
    """Return the function that applies one kind of map at one strength."""
    t = np.float32(strength)
    if isinstance(maps, ToneCurves):
        return lambda colour, first: _tone_curves(maps, frame, colour, first)
    if isinstance(maps, CurveMaps):
        return lambda colour, first: _curve_maps(maps, t, frame, colour, first)
    if isinstance(maps, GainGrid):
        return lambda colour, first: _gain_grid(maps, t, frame, colour, first)
    if isinstance(maps, AffineGrid):
        return lambda colour, first: _affine_grid(maps, t, frame, colour, first)
    return lambda colour, _first: _look_up_table(maps, t, colour)


@functools.lru_cache(maxsize=4)
def _across(frame: Frame, cells: int) -> tuple[npt.NDArray[np.intp], ...]:
    """Of r, g, b, r, g, b, … of a row of pixels: the numbers before and after among those of the
    cells, and how far each lies between them."""
    columns = frame.columns(cells)
    channels = np.arange(3, dtype=np.intp)
    low, high = (
        (3 * cell.astype(np.intp)[:, None] + channels).ravel()
        for cell in (columns.low, columns.high)
    )
    return low, high, np.repeat(columns.fraction, 3)


def spread(planes: Floats, frame: Frame, rows: Positions) -> Floats:
    """The cells' rows that some pixel rows touch, of planes (n, 3, gh, gw), over all columns.

    Returns:
        float32 (n, touched, 3 w), in the order of pixels.
    """
    touched = planes[:, :, int(rows.low[0]) : int(rows.high[-1]) + 1].transpose(0, 2, 3, 1)
    cells = touched.reshape(*touched.shape[:2], -1)
    low, high, fraction = _across(frame, planes.shape[3])
    left = np.take(cells, low, axis=2)
    wide = np.take(cells, high, axis=2)
    wide -= left
    wide *= fraction
    wide += left
    return wide


def upsample(planes: Floats, frame: Frame, first: int, count: int) -> Floats:
    """Return bilinear values of planes (3, gh, gw) in the order of pixels: float32 (count, 3 w).

    Only the few rows of cells that these pixels touch are spread over the columns; pixel rows are
    then made between them.
    """
    rows = frame.rows(first, first + count, planes.shape[1])
    return _down(spread(planes[None], frame, rows)[0], rows)


def _down(lines: Floats, rows: Positions) -> Floats:
    """Rows of pixels (rows, n) between lines (touched, n), the first of which is the first low."""
    top = rows.low[0]
    result = np.empty((rows.low.size, lines.shape[1]), np.float32)
    starts = np.flatnonzero(np.diff(rows.low, prepend=-1))
    for start, end in zip(starts, [*starts[1:], rows.low.size], strict=True):
        base = lines[rows.low[start] - top]
        step = lines[rows.high[start] - top] - base
        part = result[start:end]
        np.multiply(step, rows.fraction[start:end, None], out=part)
        part += base
    return result


def _tone_curves(maps: ToneCurves, frame: Frame, colour: Floats, first: int) -> Floats:
    last = maps.table.shape[1] - 1
    step = np.diff(maps.table, axis=1, append=maps.table[:, -1:]).ravel()
    own = colour.reshape(colour.shape[0], -1)
    part, low = np.sqrt(own), np.empty(own.shape, np.intp)
    part *= np.float32(last)
    np.copyto(low, part, casting="unsafe")
    part -= low
    low += np.tile(np.arange(3, dtype=np.intp) * (last + 1), colour.shape[1])
    # What is looked up is in range; "clip" spares a second look.
    gain = np.take(step, low, mode="clip")
    gain *= part
    gain += np.take(maps.table.ravel(), low, out=part, mode="clip")
    gain *= upsample(maps.residual, frame, first, colour.shape[0])
    gain *= np.add(own, np.float32(TONE_OFFSET), out=part)
    gain -= np.float32(TONE_OFFSET)
    np.clip(gain, 0, 1, out=gain)
    gain -= own
    np.maximum(gain, 0, out=gain)
    return gain.reshape(colour.shape)


def _curve_maps(maps: CurveMaps, t: np.float32, frame: Frame, colour: Floats, first: int) -> Floats:
    own = colour.reshape(colour.shape[0], -1)
    rows = frame.rows(first, first + colour.shape[0], maps.maps.shape[2])
    lines = spread(maps.maps, frame, rows)
    lines *= t
    x = own.copy()
    curve = np.empty_like(x)
    for line in lines:
        np.multiply(x, x, out=curve)
        curve -= x
        cv2.accumulateProduct(curve, _down(line, rows), x)  # in one pass
    np.clip(x, 0, 1, out=x)
    x -= own
    return x.reshape(colour.shape)


def _slice(cells: Floats, guide: Floats, frame: Frame, first: int) -> Floats:
    """Return values of bilateral grids at a guide (rows, w): float32 (rows, n, w).

    Between two columns of cells a value is linear in the way between them, so it is a product of
    a small matrix with the hinges and with the hinges times that way, for each row of pixels.

    Args:
        cells: (gh, gw, n, D).
        guide: float32 (rows, w) in 0…1.
        frame: where the region lies.
        first: its row where the strip begins.
    """
    count, width = guide.shape
    bins = cells.shape[3]
    rows = frame.rows(first, first + count, cells.shape[0])
    columns = frame.columns(cells.shape[1])
    z = guide * np.float32(bins)
    z -= np.float32(0.5)
    basis = np.empty((count, 2, bins, width), np.float32)
    basis[:, 0, 0] = 1
    for k in range(1, bins):
        # The hinge and k - 1, which the lowest bin's value takes back: one pass for two.
        np.clip(z, np.float32(k - 1), np.float32(k), out=basis[:, 0, k])
    np.multiply(basis[:, 0], columns.fraction, out=basis[:, 1])
    table = basis.reshape(count, 2 * bins, width)
    # Rows of cells for each row of pixels, as steps from bin to bin: (rows, gw, n, D).
    down = rows.fraction[:, None, None, None]
    lines = cells[rows.low] + down * (cells[rows.high] - cells[rows.low])
    lines[..., 1:] = np.diff(lines, axis=3)
    lines[..., 0] -= lines[..., 1:] @ np.arange(bins - 1, dtype=np.float32)
    result = np.empty((count, cells.shape[2], width), np.float32)
    starts = np.flatnonzero(np.diff(columns.low, prepend=-1))
    for start, end in zip(starts, [*starts[1:], width], strict=True):
        left = lines[:, columns.low[start]]
        change = lines[:, columns.high[start]] - left
        both = np.concatenate([left, change], axis=2)
        np.matmul(both, table[:, :, start:end], out=result[:, :, start:end])
    return result


def _brighten(illumination: Floats, colour: Floats, t: np.float32) -> Floats:
    """Return I / S^t - I with S bounded by 1, I and the floor; overwrites the illumination."""
    np.clip(illumination, np.float32(ILLUMINATION_FLOOR), np.float32(1), out=illumination)
    np.maximum(illumination, colour, out=illumination)
    if t != 1:
        cv2.pow(illumination, float(t), illumination)
    np.divide(colour, illumination, out=illumination)
    illumination -= colour
    return illumination


def _gain_grid(maps: GainGrid, t: np.float32, frame: Frame, colour: Floats, first: int) -> Floats:
    values = _slice(maps.grid.transpose(2, 3, 0, 1), np.sqrt(colour @ LUMA), frame, first)
    illumination = np.empty_like(colour)
    illumination[...] = values.transpose(0, 2, 1)
    return _brighten(illumination, colour, t)


def guide_values(guide: Guide, colour: Floats) -> Floats:
    """Return the guidance map (rows, w), 0…1, of colours (rows, w, 3)."""
    place = colour @ guide.matrix.T
    place += guide.bias
    steps = guide.slopes * guide.mix[:, None]
    # max(x - s, 0) is max(x, s) - s, and what all knots take off is one number.
    start = guide.mix_bias[0] - np.float32((steps.astype(np.float64) * guide.shifts).sum())
    value = np.full(colour.shape[:2], start, np.float32)
    above = np.empty_like(value)
    for c in range(3):
        axis = np.ascontiguousarray(place[:, :, c])
        for shift, step in zip(guide.shifts[c], steps[c], strict=True):
            np.maximum(axis, shift, out=above)
            cv2.scaleAdd(above, float(step), value, value)  # in one pass
    return np.clip(value, 0, 1, out=value)


def _affine_grid(
    maps: AffineGrid, t: np.float32, frame: Frame, colour: Floats, first: int
) -> Floats:
    cells = maps.grid.transpose(3, 4, 0, 1, 2).reshape(*maps.grid.shape[3:], 12, -1)
    values = _slice(cells, guide_values(maps.guide, colour), frame, first)
    illumination = np.empty_like(colour)
    planes = np.ascontiguousarray(colour.transpose(2, 0, 1))
    for c in range(3):
        *factors, total = (values[:, 4 * c + term] for term in range(4))
        for factor, plane in zip(factors, planes, strict=True):
            cv2.accumulateProduct(factor, plane, total)
        illumination[:, :, c] = total
    return _brighten(illumination, colour, t)


def _look_up_table(maps: LookUpTable, t: np.float32, colour: Floats) -> Floats:
    nodes = maps.table.shape[-1]
    place = np.ascontiguousarray((colour * np.float32(nodes - 1)).transpose(2, 0, 1))
    low = np.minimum(place.astype(np.intp), max(nodes - 2, 0))
    place -= low
    nearest = (low[2] * nodes + low[1]) * nodes + low[0]
    ahead = 1 if nodes > 1 else 0
    # Two neighbours along red are one complex number, so that one look-up gives both.
    pairs = np.empty((3, nodes**3), np.complex64)
    pairs.real = maps.table.reshape(3, -1)
    pairs.imag = np.roll(maps.table.reshape(3, -1), -ahead, axis=1)
    corners = [(nodes * green + nodes**2 * blue) * ahead for blue in (0, 1) for green in (0, 1)]
    result = np.empty_like(colour)
    both = np.empty(nearest.shape, np.complex64)
    for c in range(3):
        lines = []
        for corner in corners:
            np.take(pairs[c], nearest + corner, out=both, mode="clip")
            lines.append(_between(both.real.copy(), both.imag, place[0]))
        front = _between(lines[0], lines[1], place[1])
        value = _between(front, _between(lines[2], lines[3], place[1]), place[2])
        value -= colour[:, :, c]
        np.multiply(value, t, out=result[:, :, c])
    return result


def _between(low: Floats, high: Floats, part: Floats) -> Floats:
    """Return low + part · (high - low), in the place of ``low``."""
    step = high - low
    step *= part
    low += step
    return low
