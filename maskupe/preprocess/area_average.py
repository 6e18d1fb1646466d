"""Area averages, of an image's colours and of a selection's areas.

Rows are summed with their shares, then columns between the cells' lines: by the compiled code,
which reads each pixel once, or by numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from maskupe.areas.coverage import Coverage
from maskupe.areas.transition import Areas
from maskupe.native import DEPTHS, load
from maskupe.parallel import STRIP_PIXELS, rows_of
from maskupe.pixel_layout import colour_channels, scale_of

Float = npt.NDArray[np.float32]

# The compiled code's number for a coverage in place of a kind of pixel.
_COVERAGE = -1


class ColumnEdges(NamedTuple):
    """Where cells begin and end along a row of pixels.

    Attributes:
        whole: int32, the pixel in which each line lies.
        part: float32, how much of it lies to the left, 0…1.
    """

    whole: npt.NDArray[np.int32]
    part: Float

    @classmethod
    def at(cls, places: npt.NDArray[np.float64], count: int) -> ColumnEdges:
        """Return lines at places 0…count of so many pixels."""
        whole = np.minimum(places.astype(np.int32), count - 1).astype(np.int32)
        return cls(whole, (places - whole).astype(np.float32))


class Rows(NamedTuple):
    """Which rows of pixels each row of cells takes.

    Attributes:
        tops: int32, the first.
        heights: int32, how many.
        shares: float32, how much of each lies in the cell, 0…1, one row of cells after the other.
    """

    tops: npt.NDArray[np.int32]
    heights: npt.NDArray[np.int32]
    shares: Float

    @classmethod
    def of(cls, lines: npt.NDArray[Any], count: int) -> Rows:
        """Of rows of cells between these lines, in rows of pixels, of which there are ``count``."""
        lines = np.clip(lines, 0, count)
        tops = np.floor(lines[:-1]).astype(np.int32)
        heights = np.ceil(lines[1:]).astype(np.int32) - tops
        rows = tops[:, None] + np.arange(int(heights.max()))
        shares = np.minimum(rows + 1, lines[1:, None]) - np.maximum(rows, lines[:-1, None])
        taken = rows < (tops + heights)[:, None]
        return cls(tops, heights, shares[taken].astype(np.float32))

    def part(self, first: int, last: int) -> Rows:
        """Return the rows of cells from the first to the last (exclusive) number."""
        ends = np.concatenate([[0], np.cumsum(self.heights)])
        shares = self.shares[ends[first] : ends[last]]
        return Rows(self.tops[first:last], self.heights[first:last], shares)


class Source(Protocol):
    """What can be averaged."""

    @property
    def channels(self) -> int:
        """How many the averages have."""

    def average(self, rows: Rows, columns: ColumnEdges, share: float) -> Float:
        """Return averages of some rows of cells, float32 (rows, cells, channels).

        Args:
            rows: of pixels, of each row of cells.
            columns: where the cells begin and end.
            share: how much a whole pixel counts.
        """


@dataclass(frozen=True)
class _Compiled:
    """Pixels (h, w, n) of which each row is contiguous, or a coverage (h, w)."""

    pixels: npt.NDArray[Any]
    depth: int
    read: int
    channels: int
    scale: float

    def average(self, rows: Rows, columns: ColumnEdges, share: float) -> Float:
        library = load()
        assert library is not None
        count = rows.tops.size
        width, cells = self.pixels.shape[1], columns.whole.size - 1
        sums = np.empty(width * self.read, np.float32)
        out = np.empty((count, cells, self.read), np.float32)
        library.maskupe_average(
            *(self.pixels.ctypes.data, self.pixels.strides[0], self.depth, self.read, width),
            *(count, rows.tops.ctypes.data, rows.heights.ctypes.data, rows.shares.ctypes.data),
            *(cells, columns.whole.ctypes.data, columns.part.ctypes.data, share * self.scale),
            *(sums.ctypes.data, out.ctypes.data),
        )
        return out[..., : self.channels]


@dataclass(frozen=True)
class _Strips:
    """Pixels made by numpy: ``strip`` gives float32 (n, w, channels) by first and last row."""

    strip: Callable[[int, int], Float]
    width: int
    channels: int
    scale: float

    def average(self, rows: Rows, columns: ColumnEdges, share: float) -> Float:
        cells = columns.whole.size - 1
        out = np.empty((rows.tops.size, cells, self.channels), np.float32)
        for number, row in enumerate(out):
            one = rows.part(number, number + 1)
            pixels = self._sum(int(one.tops[0]), one.shares).reshape(self.width, self.channels)
            until = np.zeros((self.width + 1, self.channels))
            np.cumsum(pixels, axis=0, out=until[1:])
            at_lines = until[columns.whole] + columns.part[:, None] * pixels[columns.whole]
            row[:] = np.diff(at_lines, axis=0) * (share * self.scale)
        return out

    def _sum(self, first: int, shares: Float) -> Float:
        total = np.zeros(self.width * self.channels, np.float32)
        step = rows_of(STRIP_PIXELS, self.width)
        for start in range(0, shares.size, step):
            part = shares[start : start + step]
            pixels = self.strip(first + start, first + start + part.size)
            total += part @ pixels.reshape(part.size, -1)
        return total


def colours_of(image: npt.NDArray[Any]) -> Source:
    """Return an image's colour channels, 0…1; what lies outside is clipped, NaN counts as black."""
    channels = colour_channels(image)
    pixels = image.reshape(*image.shape[:2], -1)
    scale = 1.0 / scale_of(image.dtype)
    if load() is not None and pixels.strides[1:] == (pixels[0, 0].nbytes, pixels.itemsize):
        return _Compiled(pixels, DEPTHS[image.dtype], pixels.shape[2], channels, scale)

    def strip(first: int, last: int) -> Float:
        values = pixels[first:last, :, :channels].astype(np.float32)
        if image.dtype.kind == "f":
            np.nan_to_num(values, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
            np.clip(values, 0.0, 1.0, out=values)
        return values

    return _Strips(strip, pixels.shape[1], channels, scale)


def areas_of(areas: Areas | Coverage, visible: npt.NDArray[Any] | None) -> Source:
    """Return 1 in A and 1 in B, where the pixels are visible (alpha, if there is one, above 0)."""
    plane = areas.plane if isinstance(areas, Coverage) and visible is None else None
    if load() is not None and plane is not None and plane.strides[1] == plane.itemsize:
        return _Compiled(plane, _COVERAGE, 2, 2, 1.0)

    def strip(first: int, last: int) -> Float:
        part = areas.crop(slice(first, last), slice(None))
        found = np.stack([part.a, part.b], axis=2)
        if visible is not None:
            found &= (visible[first:last] > 0)[..., None]
        return found.astype(np.float32)

    return _Strips(strip, areas.shape[1], 2, 1.0)
