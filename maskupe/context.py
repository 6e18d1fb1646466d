"""What the network looks at: the whole layer and its areas, averaged down to a small square.

The context arrives at up to 512 px, scaled by whoever sent it (GEGL in GIMP, OpenCV here). The
region arrives at full size. Where both show the same pixels the region is the more exact, so its
own averages replace the context's; then it hardly matters how the client scaled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskupe.areas import Areas
from maskupe.coverage import Coverage
from maskupe.maps import Window
from maskupe.native import DEPTHS, load
from maskupe.strips import machine_threads, run_strips

Float = npt.NDArray[np.float32]

#: Side of the square that every network sees, in pixels.
NETWORK_SIZE = 256
#: Long edge of the context that travels with a job, in pixels.
CONTEXT_EDGE = 512

# Pixels that are averaged at a time: their floats stay in the second-level cache.
_STRIP_PIXELS = 1 << 15
# Columns that are averaged at a time, and rows of cells that a thread takes at a time.
_COLUMNS = 512
_CELL_ROWS = 8


def scale_of(dtype: np.dtype[Any]) -> float:
    """What a full-range value of this dtype is divided by to become 1.0."""
    return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0


def colour_channels(image: npt.NDArray[Any]) -> int:
    """How many of the last axis' channels are colour: 1 (gray, gray+alpha) or 3 (RGB, RGBA)."""
    count = 1 if image.ndim == 2 else image.shape[2]
    return 3 if count >= 3 else 1


def alpha_of(image: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """The alpha plane (H, W) of a gray+alpha or RGBA image, else None."""
    if image.ndim == 3 and image.shape[2] in (2, 4):
        alpha: npt.NDArray[Any] = image[..., -1]
        return alpha
    return None


def shrink(image: npt.NDArray[Any], long_edge: int, threads: int | None = None) -> Float:
    """Area average of the colour channels to at most ``long_edge``: float32 (h, w, 1 or 3), 0…1.

    Works in strips, so memory does not grow with the image. Values outside 0…1 are clipped, NaN
    counts as black: this is for looking at, not for output.
    """
    height, width = image.shape[:2]
    factor = max(1.0, max(height, width) / long_edge)
    rows, columns = max(1, round(height / factor)), max(1, round(width / factor))
    frame = Window(0, 0, width, height)
    (small,) = _average([_colours_of(image)], (height, width), frame, (rows, columns), threads)
    return small


@dataclass(frozen=True)
class _Source:
    """What is averaged.

    Attributes:
        add: sums rows: from the number of the first, a share for each, to float32 (w · channels).
        channels: how many there are.
        scale: what the sums are multiplied by.
    """

    add: Callable[[int, Float], Float]
    channels: int
    scale: float = 1.0


def _average(
    sources: Sequence[_Source],
    size: tuple[int, int],
    window: Window,
    cells: tuple[int, int],
    threads: int | None,
) -> list[Float]:
    """Area averages over the equal cells of a layer, where pixels that are not there count as 0.

    Args:
        sources: of the pixels.
        size: (h, w) of the pixels.
        window: where they lie in the layer.
        cells: (rows, columns) into which the layer is divided.
        threads: how many to use; all that the process may use if None.

    Returns:
        float32 (rows, columns, channels) of every source.
    """
    height, width = size
    results = [np.zeros((*cells, source.channels), np.float32) for source in sources]
    low, high = _touched(window.y, height, window.layer_height, cells[0])
    scale = window.layer_height / cells[0]

    def shares_of(cell: int) -> tuple[int, Float]:
        top = max(0, math.floor(cell * scale) - window.y)
        bottom = min(height, math.ceil((cell + 1) * scale) - window.y)
        place = window.y + top, bottom - top, window.layer_height, cells[0]
        return top, overlap_matrix(*place, cell, cell + 1)[0]

    across = []
    for start in range(0, width, _COLUMNS):
        length = min(_COLUMNS, width - start)
        place = window.x + start, length, window.layer_width, cells[1]
        touched = _touched(*place)
        across.append((start, slice(*touched), overlap_matrix(*place, *touched)))

    def average_rows(first: int, last: int) -> None:
        rows = slice(low + first, low + last)
        shares = [shares_of(cell) for cell in range(low + first, low + last)]
        for source, result in zip(sources, results, strict=True):
            tall = np.empty((width, len(shares), source.channels), np.float32)
            for index, (top, share) in enumerate(shares):
                tall[:, index] = source.add(top, share).reshape(width, -1)
            for start, touched, matrix in across:
                part = tall[start : start + _COLUMNS].reshape(matrix.shape[1], -1)
                found = (matrix @ part).reshape(-1, len(shares), source.channels)
                result[rows, touched] += found.transpose(1, 0, 2) * np.float32(source.scale)

    threads = machine_threads() if threads is None else threads
    run_strips(average_rows, high - low, _CELL_ROWS, threads, None)
    return results


def _by_strips(strip: Callable[[int, int], Float], channels: int, scale: float = 1.0) -> _Source:
    """A source of float32 (n, w, channels), made from the numbers of the first and last row."""

    def add(first: int, shares: Float) -> Float:
        total: Float | None = None
        one = strip(first, first + 1)
        step = max(1, _STRIP_PIXELS // one.shape[1])
        for start in range(0, shares.size, step):
            part = shares[start : start + step]
            pixels = strip(first + start, first + start + part.size)
            found = part @ pixels.reshape(part.size, -1)
            total = found if total is None else total + found
        assert total is not None
        return total

    return _Source(add, channels, scale)


def _touched(start: int, length: int, total: int, cells: int) -> tuple[int, int]:
    """First and last (exclusive) of the cells in which pixels from ``start`` on fall."""
    low = start * cells // total
    return low, min(cells, -(-(start + length) * cells // total))


def _colours_of(image: npt.NDArray[Any]) -> _Source:
    """An image's colour channels, 0…1."""
    channels = colour_channels(image)
    pixels = image.reshape(*image.shape[:2], -1)
    scale = 1.0 / scale_of(image.dtype)
    library = load()
    if library is not None and pixels.strides[1:] == (pixels[0, 0].nbytes, pixels.itemsize):
        numbers = pixels.shape[1] * pixels.shape[2]
        depth = DEPTHS[image.dtype]

        def add(first: int, shares: Float) -> Float:
            sums = np.zeros(numbers, np.float32)
            library.maskupe_add_rows(
                *(pixels[first:].ctypes.data, pixels.strides[0], depth, numbers, shares.size),
                *(shares.ctypes.data, sums.ctypes.data),
            )
            return sums.reshape(-1, pixels.shape[2])[:, :channels].ravel()

        return _Source(add, channels, scale)

    def strip(first: int, last: int) -> Float:
        values = pixels[first:last, :, :channels].astype(np.float32)
        if image.dtype.kind == "f":
            np.nan_to_num(values, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
            np.clip(values, 0.0, 1.0, out=values)
        return values

    return _by_strips(strip, channels, scale)


def _marks_of(areas: Areas | Coverage, visible: npt.NDArray[Any] | None) -> _Source:
    """1 in A and 1 in B, where the pixels are visible."""
    library = load()
    plane = areas.plane if isinstance(areas, Coverage) and visible is None else None
    if library is not None and plane is not None and plane.strides[1] == plane.itemsize:

        def add(first: int, shares: Float) -> Float:
            sums = np.zeros((2, plane.shape[1]), np.float32)
            library.maskupe_add_areas(
                *(plane[first:].ctypes.data, plane.strides[0], plane.shape[1], shares.size),
                *(shares.ctypes.data, sums[0].ctypes.data, sums[1].ctypes.data),
            )
            return np.ascontiguousarray(sums.T)

        return _Source(add, 2)

    def strip(first: int, last: int) -> Float:
        part = areas.crop(slice(first, last), slice(None))
        found = np.stack([part.a, part.b], axis=2)
        if visible is not None:
            found &= (visible[first:last] > 0)[..., None]
        return found.astype(np.float32)

    return _by_strips(strip, 2)


def overlap_matrix(
    start: float, length: int, total: float, cells: int, low: int = 0, high: int | None = None
) -> Float:
    """Shares with which a row of pixels falls into a row of equal cells.

    Args:
        start: where the pixels begin, in pixels of the whole.
        length: how many they are.
        total: length of the whole in pixels.
        cells: the number of cells that divide the whole.
        low: the first cell to look at.
        high: the last (exclusive); all from ``low`` on if None.

    Returns:
        float32 (high - low, length); a row sums to the share of its cell that the pixels cover.
    """
    bounds = start + np.arange(length + 1)
    lines = np.arange(low, (cells if high is None else high) + 1) * (total / cells)
    before = np.maximum(bounds[None, :-1], lines[:-1, None])
    after = np.minimum(bounds[None, 1:], lines[1:, None])
    shares: Float = (np.maximum(after - before, 0.0) * (cells / total)).astype(np.float32)
    return shares


def network_input(
    region: npt.NDArray[Any],
    areas: Areas | Coverage,
    context: npt.NDArray[Any] | None,
    window: Window,
    size: int = NETWORK_SIZE,
    threads: int | None = None,
) -> tuple[Float, Float]:
    """The layer and its areas as the network sees them.

    Args:
        region: (h, w[, c]) the layer's pixels in the window, any accepted dtype.
        areas: the region's areas; outside of the region everything is C.
        context: (ch, cw[, c]) the whole layer, scaled down; None where the region is the layer.
        window: where the region lies in the layer.
        size: side of the network's square.
        threads: how many to use; all that the process may use if None.

    Returns:
        float32 (size, size, 3), display-encoded 0…1, and float32 (2, size, size): the shares of A
        and B in each cell. Fully transparent pixels count as neither.
    """
    height, width = region.shape[:2]
    sources = _colours_of(region), _marks_of(areas, alpha_of(region))
    image, both = _average(sources, (height, width), window, (size, size), threads)
    shares = both.transpose(2, 0, 1)
    if context is not None:
        rows = overlap_matrix(window.y, height, window.layer_height, size).sum(1)
        columns = overlap_matrix(window.x, width, window.layer_width, size).sum(1)
        exact = shrink(context, max(context.shape[:2]), threads)
        squared = cv2.resize(exact, (size, size), interpolation=cv2.INTER_AREA)
        around = np.asarray(squared, np.float32).reshape(size, size, -1)
        image = image + (1.0 - rows[:, None] * columns)[..., None] * around
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image, np.float32), np.ascontiguousarray(shares)
