"""Prepare the denoising of a region."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from maskupe.denoise import noise as model
from maskupe.denoise.filters import CompiledFilter, Filter
from maskupe.denoise.noise import Noise, amounts, estimate, white_noise
from maskupe.denoise.reference import ReferenceFilter
from maskupe.native import load
from maskupe.parallel import machine_threads

Float = npt.NDArray[np.float32]
_TONES = 256
#: Pixels along a region's edges in which the result depends on what lies beyond.
_EDGE = 64


class CleanRows(Protocol):
    """What a renderer takes denoised rows from."""

    def __call__(self, first: int, last: int) -> Float | None:
        """Return the rows first…last (exclusive), float32 (n, w, 4) in 0…1.

        These are r, g, b, and the share of the effect that the pixel is to take.
        None if nothing in them is to change.
        """


def clean_source(
    region: npt.NDArray[Any],
    coverage: npt.NDArray[np.uint16],
    curve: Float,
    *,
    strength: float = 1.0,
    effect: float = 1.0,
    threads: int | None = None,
    compiled: bool | None = None,
    noise: Noise | None = None,
    origin: tuple[int, int] = (0, 0),
    part: tuple[slice, slice] | None = None,
) -> CleanRows | None:
    """Prepare denoising of a region: makes its coarse sizes and estimates the noise.

    Args:
        region: (h, w[, c]) uint8, uint16 or float32, display-encoded, 1 to 4 channels.
        coverage: uint16 (h, w), 0 where nothing will change.
        curve: float32 (256,), the luma 0…1 that the effect gives luma i / 255.
        strength: multiplies the noise that is estimated; 0 is off.
        effect: the strength of the effect, see :func:`amounts`.
        threads: the most threads to use; all that the process may use if None.
        compiled: whether to use the compiled form; where it loads if None.
        noise: in place of the estimate.
        origin: row and column of the region's first pixel in its layer: the result is the same for
            any region of it, but for the 64 pixels along its edges.
        part: rows and columns of the region that are wanted; the noise is that of all of it.

    Returns:
        What gives denoised rows, of the part if there is one, or None if there is nothing to
        remove. It holds about an eighth as many floats as there are colour values.
    """
    amount = amounts(curve, effect)
    if strength == 0 or not amount.any():
        return None
    image = region.reshape(*region.shape[:2], -1)
    most, white = model.MOST_ESTIMATED, (0.0, 0.0)
    if noise is None:
        white = white_noise(image, coverage, amount)
        if image.dtype != np.uint8:
            most = min(most, white[0] / model.WHITE_REFERENCE)
        if most < model.LEAST_ESTIMATED:
            return None
    library = load() if compiled or compiled is None else None
    threads = machine_threads() if threads is None else threads
    cleaning: Filter = (CompiledFilter if library is not None else ReferenceFilter)(
        image, coverage, amount, origin
    )
    cleaning.coarsen(threads)
    rows = _within(cleaning.cells[0], cleaning.top, coverage.shape[0])
    cell_columns = _within(cleaning.cells[1], cleaning.left, coverage.shape[1])
    cells = np.zeros(cleaning.cells, bool)
    middles = np.ix_(
        *(
            (4 * places + 2 - before).clip(0, size - 1)
            for places, before, size in zip(
                (rows, cell_columns), (cleaning.top, cleaning.left), coverage.shape, strict=True
            )
        )
    )
    cells[np.ix_(rows, cell_columns)] = coverage[middles] > 0
    tones = np.clip(cleaning.coarse[0], 0, _TONES - 1).astype(np.intp)
    cells &= amount[tones] > 0
    if not cells.any():
        return None
    found = noise or estimate(cleaning.coarse, cells, most)
    if noise is None and image.dtype == np.uint8:
        found = replace(found, luma=max(found.luma, model.QUANTISATION))
    if found.luma < model.LEAST_ESTIMATED:
        return None
    found = replace(found, white=found.white or white).scaled(strength)
    if part is None:
        return _prepared(cleaning, found, threads)
    around = tuple(
        slice(max(0, side.start - _EDGE), min(size, side.stop + _EDGE))
        for side, size in zip(part, coverage.shape, strict=True)
    )
    first_row, first_column = (side.start for side in around)
    cleaning = type(cleaning)(
        image[around], coverage[around], amount, (origin[0] + first_row, origin[1] + first_column)
    )
    cleaning.coarsen(threads)
    cleaned, down = _prepared(cleaning, found, threads), part[0].start - first_row
    columns = slice(part[1].start - first_column, part[1].stop - first_column)

    def rows_of_part(first: int, last: int) -> Float | None:
        rows = cleaned(first + down, last + down)
        return None if rows is None else np.ascontiguousarray(rows[:, columns])

    return rows_of_part


def _prepared(cleaning: Filter, noise: Noise, threads: int) -> Filter:
    """Set the strength and compute the corrections, where the coarse sizes are there."""
    cleaning.tune(noise)
    cleaning.correct(threads)
    cleaning.forget()
    return cleaning


def _within(cells: int, before: int, size: int) -> npt.NDArray[np.intp]:
    """Return which of the cells of four pixels lie in a region, the middle of the last at least.

    Args:
        cells: how many there are.
        before: pixels of the first that lie before the region.
        size: pixels of the region.
    """
    places = np.arange(cells)
    found = places[(4 * places >= before) & (4 * places + 2 < before + size)]
    return found if found.size else places[-1:]
