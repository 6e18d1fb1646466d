"""What the network looks at: the whole layer and its areas, averaged down to a small square.

The context arrives at up to 512 px, scaled by whoever sent it (GEGL in GIMP, OpenCV here). The
region arrives at full size. Where both show the same pixels the region is the more exact, so its
own averages replace the context's; then it hardly matters how the client scaled.
"""

from __future__ import annotations

import hashlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskupe.areas.coverage import Coverage
from maskupe.areas.transition import Areas
from maskupe.maps import Window
from maskupe.parallel import STRIP_PIXELS, machine_threads, parallel_rows, rows_of
from maskupe.pixel_layout import alpha_of
from maskupe.preprocess.area_average import ColumnEdges, Rows, Source, areas_of, colours_of

Float = npt.NDArray[np.float32]

#: Side of the square that every network sees, in pixels.
NETWORK_SIZE = 256
#: Long edge of the context that travels with a job, in pixels.
CONTEXT_EDGE = 512


def downscale(image: npt.NDArray[Any], long_edge: int, threads: int | None = None) -> Float:
    """Area average of the colour channels to at most ``long_edge``: float32 (h, w, 1 or 3), 0…1.

    Works in strips, so memory does not grow with the image. Values outside 0…1 are clipped, NaN
    counts as black: this is for looking at, not for output.
    """
    height, width = image.shape[:2]
    factor = max(1.0, max(height, width) / long_edge)
    rows, columns = max(1, round(height / factor)), max(1, round(width / factor))
    frame = Window(0, 0, width, height)
    threads = machine_threads() if threads is None else threads
    return _average(colours_of(image), (height, width), frame, (rows, columns), threads)


def fingerprint(*arrays: npt.NDArray[Any]) -> bytes:
    """Return 32 bytes that tell what networks were shown, and what came of it, from all else."""
    digest = hashlib.blake2b(digest_size=32)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def _average(
    source: Source, size: tuple[int, int], window: Window, cells: tuple[int, int], threads: int
) -> Float:
    """Area averages over the equal cells of a layer, where pixels that are not there count as 0.

    Args:
        source: of the pixels.
        size: (h, w) of the pixels.
        window: where they lie in the layer.
        cells: (rows, columns) into which the layer is divided.
        threads: how many to use.

    Returns:
        float32 (rows, columns, channels).
    """
    height, width = size
    low, high = _touched(window.y, height, window.layer_height, cells[0])
    left, right = _touched(window.x, width, window.layer_width, cells[1])
    lines = np.arange(left, right + 1) * (window.layer_width / cells[1]) - window.x
    columns = ColumnEdges.at(np.clip(lines, 0, width), width)
    rows = Rows.of(np.arange(low, high + 1) * (window.layer_height / cells[0]) - window.y, height)
    share = cells[0] / window.layer_height * cells[1] / window.layer_width
    result = np.zeros((*cells, source.channels), np.float32)

    def average(first: int, last: int) -> None:
        found = source.average(rows.part(first, last), columns, share)
        result[low + first : low + last, left:right] = found

    pixels_in_a_row_of_cells = max(1, height * width // (high - low))
    step = rows_of(2 * STRIP_PIXELS, pixels_in_a_row_of_cells)
    parallel_rows(average, high - low, step, threads, None)
    return result


def area_average(
    source: Source, size: tuple[int, int], window: Window, cells: tuple[int, int], threads: int
) -> tuple[Float, Float]:
    """Average pixels over the equal cells of a layer, and say how much of each cell they cover.

    Args:
        source: of the pixels.
        size: (h, w) of the pixels.
        window: where they lie in the layer.
        cells: (rows, columns) into which the layer is divided; no more than it has pixels.
        threads: how many to use.

    Returns:
        float32 (rows, columns, channels), where pixels that are not there count as 0, and the
        covered share of each cell, float32 (rows, columns).
    """
    average = _average(source, size, window, cells, threads)
    rows = covered(window.y, size[0], window.layer_height, cells[0])
    columns = covered(window.x, size[1], window.layer_width, cells[1])
    return average, np.asarray(rows[:, None] * columns, np.float32)


def _touched(start: int, length: int, total: int, cells: int) -> tuple[int, int]:
    """Return first and last (exclusive) of the cells in which pixels from ``start`` on fall."""
    low = start * cells // total
    return low, min(cells, -(-(start + length) * cells // total))


def covered(start: float, length: int, total: float, cells: int) -> Float:
    """The share of each of a whole's equal cells that a row of pixels covers: float32 (cells,).

    Args:
        start: where the pixels begin, in pixels of the whole.
        length: how many they are.
        total: length of the whole in pixels.
        cells: the number of cells that divide the whole.
    """
    lines = np.arange(cells + 1) * (total / cells)
    within = np.minimum(lines[1:], start + length) - np.maximum(lines[:-1], start)
    shares: Float = (np.maximum(within, 0.0) * (cells / total)).astype(np.float32)
    return shares


def _squared(context: npt.NDArray[Any], size: int, threads: int) -> Float:
    """Return a context as a square: float32 (size, size, 1 or 3)."""
    shape = height, width = context.shape[0], context.shape[1]
    frame = Window(0, 0, width, height)
    if min(shape) >= size:
        return _average(colours_of(context), shape, frame, (size, size), threads)
    exact = _average(colours_of(context), shape, frame, shape, threads)
    larger = cv2.resize(exact, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(larger, np.float32).reshape(size, size, -1)


def network_input(
    region: npt.NDArray[Any],
    areas: Areas | Coverage,
    context: npt.NDArray[Any] | None,
    window: Window,
    size: int = NETWORK_SIZE,
    threads: int | None = None,
) -> tuple[Float, Float]:
    """Return the layer and its areas as the network sees them.

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
    threads = machine_threads() if threads is None else threads
    options = (height, width), window, (size, size), threads
    image = _average(colours_of(region), *options)
    alpha = alpha_of(region)
    rows = covered(window.y, height, window.layer_height, size)
    columns = covered(window.x, width, window.layer_width, size)
    inside = rows[:, None] * columns
    if alpha is None and isinstance(areas, Coverage) and areas.uniform:
        shares = np.stack([inside, np.zeros_like(inside)])
    else:
        shares = _average(areas_of(areas, alpha), *options).transpose(2, 0, 1)
    if context is not None:
        image = image + (1.0 - inside)[..., None] * _squared(context, size, threads)
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image, np.float32), np.ascontiguousarray(shares)
