"""Where the pixels of a region fall on the cells of a low-resolution map: the one definition.

Every backend samples maps through these positions, so that they agree, and so that a region of a
layer samples exactly what the whole layer would have sampled there.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskupe.maps import Window


@dataclass(frozen=True)
class Positions:
    """Linear interpolation along one axis: value = (1 - fraction) · m[low] + fraction · m[high].

    Attributes:
        low: int32 (n,), the cell before each pixel.
        high: int32 (n,), the cell after it, ``low + 1`` unless there is only one cell.
        fraction: float32 (n,), 0…1.
    """

    low: npt.NDArray[np.int32]
    high: npt.NDArray[np.int32]
    fraction: npt.NDArray[np.float32]


@functools.lru_cache(maxsize=16)
def axis_positions(start: int, count: int, size: int, cells: int) -> Positions:
    """Positions of ``count`` pixels from pixel ``start`` on, of an axis of ``size``, on ``cells``.

    Remembered, as every strip asks for the same columns: the arrays must not be written to.
    Cell centres lie at (i + 0.5) / cells; beyond the outer centres the border cell is held.
    """
    pixels = np.arange(start, start + count, dtype=np.float64) + 0.5
    place = np.clip(pixels * (cells / size) - 0.5, 0.0, cells - 1.0)
    low = np.minimum(place.astype(np.int32), max(cells - 2, 0)).astype(np.int32)
    high = np.minimum(low + 1, cells - 1).astype(np.int32)
    return Positions(low, high, (place - low).astype(np.float32))


@dataclass(frozen=True)
class Frame:
    """A region of ``width`` columns within a layer: asks for positions by rows and columns."""

    window: Window
    width: int

    def rows(self, first: int, last: int, cells: int) -> Positions:
        """Positions of the region's rows ``first`` to ``last`` (exclusive) on ``cells`` cells."""
        return axis_positions(self.window.y + first, last - first, self.window.layer_height, cells)

    def columns(self, cells: int) -> Positions:
        """Return positions of all the region's columns on ``cells`` cells."""
        return axis_positions(self.window.x, self.width, self.window.layer_width, cells)
