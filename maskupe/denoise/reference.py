"""The filter in numpy: the reference, and what runs where the compiled form does not load."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from maskupe.denoise import noise as model
from maskupe.denoise.filters import BLOCK, STEP, Filter
from maskupe.denoise.planes import BACK, opened
from maskupe.parallel import STRIP_PIXELS, rows_of

Float = npt.NDArray[np.float32]

# Tiles of the compiled form begin at multiples of this.
_ALIGNED = 8
# Of one strip: sixteen times as many floats are in memory at a time.
_PIXELS = STRIP_PIXELS // 2
_TONES = 256


class ReferenceFilter(Filter):
    """The reference, and the fallback."""

    def coarsen(self, threads: int) -> None:
        """Fill ``coarse``."""
        columns = np.arange(4 * self.cells[1])
        step = max(4, rows_of(_PIXELS, self.width) // 4 * 4)
        for first in range(0, self.height, step):
            rows = np.arange(first, min(first + step, 4 * self.cells[0]))
            planes = self._planes(rows, columns)
            shape = (3, planes.shape[1] // 4, 4, planes.shape[2] // 4, 4)
            at = first // 4
            self.coarse[:, at : at + shape[1]] = planes.reshape(shape).mean(axis=(2, 4))

    def correct(self, threads: int) -> None:
        """Fill ``correction``."""
        height, width = self.coarse.shape[1:]
        step = max(4, rows_of(_PIXELS, width) // 4 * 4)
        columns = np.arange(-STEP, width + -width % STEP + STEP).clip(0, width - 1)
        for first in range(0, height, step):
            last = min(first + step, height)
            rows = np.arange(first - STEP, last + -last % STEP + STEP).clip(0, height - 1)
            planes = self.coarse[:, rows[:, None], columns]
            changed = self._shrink(planes, 2)[1:] - planes[1:, STEP:-STEP, STEP:-STEP]
            self.correction[:, first:last] = changed[:, : last - first, :width]

    def __call__(self, first: int, last: int) -> Float | None:
        """See :class:`maskupe.denoise.source.CleanRows`."""
        if not self.coverage[first:last].any():
            return None
        out = np.empty((last - first, self.image.shape[1], 4), np.float32)
        first, last = first + self.top, last + self.top
        step = max(_ALIGNED, rows_of(_PIXELS, self.width) // _ALIGNED * _ALIGNED)
        for start in range(first // _ALIGNED * _ALIGNED, last, step):
            low, high = max(start, first), min(start + step, last)
            clean = self._tile(start, start + -(-(high - start) // _ALIGNED) * _ALIGNED)
            clean = clean[low - start : high - start, self.left : self.width]
            out[low - first : high - first] = clean
        return out

    def _planes(self, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]) -> Float:
        """Return Y, Cr, Cb (3, rows, columns); beyond the region its outermost pixels go on."""
        y = (rows - self.top).clip(0, self.image.shape[0] - 1)
        x = (columns - self.left).clip(0, self.image.shape[1] - 1)
        planes = opened(self.image[y[0] : y[-1] + 1])
        return planes[:, (y - y[0])[:, None], x]

    def _tile(self, top: int, bottom: int) -> Float:
        """Return the clean rows, beginning and ending at multiples of 8."""
        height, width = self.height, self.width
        right = width + -width % _ALIGNED
        change, near = self._half(top, bottom, right)
        rows, columns = np.arange(top - STEP, bottom + STEP), np.arange(-STEP, right + STEP)
        own = self._planes(rows, columns)
        half = (-(-height // 2), -(-width // 2))
        spread = _between(np.concatenate([change, near]), rows, columns, half, top // 2 - STEP)
        corrected = own.copy()
        corrected[1:] += spread[:2]
        clean = self._shrink(corrected, 0)
        inner = slice(STEP, -STEP)
        own, local = own[:, inner, inner], spread[2, inner, inner]
        share = np.interp(clean[0], np.arange(_TONES), self.amount).astype(np.float32)
        light = np.maximum(np.maximum(local, 0.5 * clean[0]), 0.0)
        signal = light * light + np.float32(1e-6)
        dim = signal * signal / (signal * signal + np.float32(self.black))
        hue = signal / (signal + np.float32(self.neutral))
        own[0] += share * (clean[0] - own[0])
        own[1:] += share * (hue * clean[1:] - own[1:])
        colours = np.einsum("ck,khw->hwc", BACK, own) * np.float32(1 / 255)
        lift = 1.0 + share * (dim - 1.0)
        return np.concatenate([np.clip(colours, 0.0, 1.0), lift[..., None]], axis=2)

    def _half(self, top: int, bottom: int, right: int) -> tuple[Float, Float]:
        """Return the half-size corrections (2, …) and the luma around (1, …) of rows.

        Their first row and column lie 4 before those of the tile.
        """
        size = (-(-self.height // 2), -(-self.width // 2))
        rows = np.arange(top // 2 - 2 * STEP, bottom // 2 + 2 * STEP)
        columns = np.arange(-2 * STEP, right // 2 + 2 * STEP)
        y, x = rows.clip(0, size[0] - 1), columns.clip(0, size[1] - 1)
        planes = self._planes(np.arange(2 * y[0], 2 * y[-1] + 2), np.arange(2 * size[1]))
        means = planes.reshape(3, planes.shape[1] // 2, 2, -1, 2).mean(axis=(2, 4))
        half = means[:, (y - y[0])[:, None], x]
        source = np.concatenate([self.correction, self.near[None]])
        spread = _between(source, y, x, self.cells, 0, at_column=0)
        planes = half.copy()
        planes[1:] += spread[:2]
        inner = slice(STEP, -STEP)
        change = self._shrink(planes, 1)[1:] - half[1:, inner, inner]
        return change, spread[2:, inner, inner]

    def _shrink(self, planes: Float, level: int) -> Float:
        """Return planes (3, h, w) without noise, less four rows and columns on each side."""
        power = self.power[level]
        blocks = np.lib.stride_tricks.sliding_window_view(planes, (BLOCK, BLOCK), axis=(1, 2))
        blocks = blocks[:, ::STEP, ::STEP]
        shape = blocks.shape[1:3]
        found = blocks.reshape(3, -1, 64) @ _DCT.T
        energy = _mixed(found[0] ** 2 * power[0])
        shared = _mixed((found[1] ** 2 + found[2] ** 2) * (0.5 * power[1]))
        above = energy - np.float32(model.HELP_FROM / model.THRESHOLD**2)
        shared += model.HELP * np.clip(above, 0.0, np.float32(model.HELP_MOST / model.THRESHOLD**2))
        result = np.empty_like(planes[:, STEP:-STEP, STEP:-STEP])
        factors = [_with_grain(_factors(energy)), _factors(shared)]
        for plane in range(3):
            back = (found[plane] * factors[plane > 0]) @ _DCT
            result[plane] = _overlapped(back.reshape(*shape, 8, 8))
        return result


def _between(
    planes: Float,
    rows: npt.NDArray[np.intp],
    columns: npt.NDArray[np.intp],
    size: tuple[int, ...],
    at_row: int,
    *,
    at_column: int = -STEP,
) -> Float:
    """Return bilinear values of a grid of half the size, whose outermost values go on.

    Args:
        planes: float32 (n, h, w), some of the grid.
        rows, columns: of the finer grid.
        size: rows and columns of the whole coarser grid.
        at_row, at_column: where in it ``planes`` begins.
    """
    low, down = _halves(rows, size[0], at_row)
    near, across = _halves(columns, size[1], at_column)
    above, below = (planes[:, cells] for cells in low)
    between = above + down[:, None] * (below - above)
    left, right = (between[:, :, cells] for cells in near)
    result: Float = left + across * (right - left)
    return result


def _halves(
    places: npt.NDArray[np.intp], size: int, start: int
) -> tuple[list[npt.NDArray[np.intp]], Float]:
    low = (places + 1) // 2 - 1
    part = np.where(places % 2 == 1, 0.25, 0.75).astype(np.float32)
    return [(cells.clip(0, size - 1) - start) for cells in (low, low + 1)], part


def _mixed(energy: Float) -> Float:
    """Return half of energies (n, 64), and half of their means over neighbours in frequency."""
    grid = energy.reshape(-1, BLOCK, BLOCK)
    grid[:, 0, 0] = 0.5 * (grid[:, 0, 1] + grid[:, 1, 0])
    padded = np.pad(grid, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]
    total = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    mixed: Float = (np.float32(0.5) * grid + np.float32(0.5 / 9) * total).reshape(-1, 64)
    return mixed


def _factors(energy: Float) -> Float:
    """Return what coefficients (n, 64) are multiplied by."""
    factors: Float = np.maximum(1.0 - 1.0 / (energy + np.float32(1e-9)), np.float32(0.0))
    factors[:, 0] = 1.0
    return factors


def _with_grain(factors: Float) -> Float:
    """Return factors of luma (n, 64) that leave grain in, more of it where there is texture."""
    flat, textured = model.TEXTURE
    kept = factors[:, 1:].mean(axis=1, keepdims=True)
    texture = np.clip((kept - np.float32(flat)) * np.float32(1.0 / (textured - flat)), 0.0, 1.0)
    least, most = model.GRAIN
    grain = np.float32(least) + np.float32(most - least) * texture
    result: Float = factors + grain * (1.0 - factors)
    return result


def _overlapped(blocks: Float) -> Float:
    """Return the sums of overlapping blocks (m, n, 8, 8) under the window, which overwrite them."""
    rows, columns = blocks.shape[0] - 1, blocks.shape[1] - 1
    total = np.zeros((rows, STEP, columns, STEP), np.float32)
    blocks *= _WINDOW[:, None] * _WINDOW
    for y in (0, 1):
        for x in (0, 1):
            part = blocks[y : y + rows, x : x + columns]
            down, across = slice(4 - 4 * y, 8 - 4 * y), slice(4 - 4 * x, 8 - 4 * x)
            total += part[:, :, down, across].transpose(0, 2, 1, 3)
    return total.reshape(rows * STEP, columns * STEP)


def _make_dct() -> Float:
    """Return the orthonormal transform (64, 64) of 8×8 pixels in order of rows."""
    places, waves = np.arange(BLOCK), np.arange(BLOCK)[:, None]
    basis = np.cos(np.pi * (2 * places + 1) * waves / (2 * BLOCK)) * 0.5
    basis[0] = np.sqrt(1 / BLOCK)
    return np.kron(basis, basis).astype(np.float32)


_DCT = _make_dct()
_WINDOW = (np.sin(np.pi / BLOCK * (np.arange(BLOCK) + 0.5)) ** 2).astype(np.float32)
