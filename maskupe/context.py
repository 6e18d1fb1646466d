"""What the network looks at: the whole layer and its areas, averaged down to a small square.

The context arrives at up to 512 px, scaled by whoever sent it (GEGL in GIMP, OpenCV here). The
region arrives at full size. Where both show the same pixels the region is the more exact, so its
own averages replace the context's; then it hardly matters how the client scaled.
"""

from __future__ import annotations

import itertools
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskupe.areas import Areas
from maskupe.maps import Window

Float = npt.NDArray[np.float32]

#: Side of the square that every network sees, in pixels.
NETWORK_SIZE = 256
#: Long edge of the context that travels with a job, in pixels.
CONTEXT_EDGE = 512

# Regions are first averaged to at most this many pixels on the long edge, in strips, so that
# nothing of the region's full size is ever held as float.
_WORKING_EDGE = 1024


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


def shrink(image: npt.NDArray[Any], long_edge: int) -> Float:
    """Area average of the colour channels to at most ``long_edge``: float32 (h, w, 1 or 3), 0…1.

    Works in strips, so memory does not grow with the image. Values outside 0…1 are clipped, NaN
    counts as black: this is for looking at, not for output.
    """
    height, width = image.shape[:2]
    factor = max(1.0, max(height, width) / long_edge)
    rows = max(1, round(height / factor))
    columns = max(1, round(width / factor))
    channels = colour_channels(image)
    planes = image.reshape(height, width, -1)[..., :channels]
    scale = np.float32(1.0 / scale_of(image.dtype))
    result = np.empty((rows, columns, channels), np.float32)
    edges = np.linspace(0, rows, max(1, rows // 64) + 1).round().astype(int)
    for first, last in itertools.pairwise(edges):
        # Fractional source rows: a strip starts inside a pixel, whose share both strips take.
        top, bottom = first * height / rows, last * height / rows
        y0, y1 = int(np.floor(top)), min(height, int(np.ceil(bottom)))
        strip = planes[y0:y1].astype(np.float32) * scale
        np.nan_to_num(strip, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
        np.clip(strip, 0.0, 1.0, out=strip)
        wide = cv2.resize(strip, (columns, y1 - y0), interpolation=cv2.INTER_AREA)
        wide = wide.reshape(y1 - y0, columns * channels)
        averages = overlap_matrix(y0, y1 - y0, height, rows)[first:last]
        result[first:last] = (averages @ wide).reshape(last - first, columns, channels)
    return result


def overlap_matrix(
    start: float, length: float, total: float, cells: int, samples: int = 0
) -> Float:
    """Shares with which a row of samples falls into a row of equal cells.

    Args:
        start: where the samples begin, in pixels of the whole.
        length: how many pixels of the whole they cover.
        total: length of the whole in pixels.
        cells: the number of cells that divide the whole.
        samples: number of equal samples; one a pixel if 0.

    Returns:
        float32 (cells, samples); a row sums to the share of its cell that the samples cover.
    """
    samples = samples or round(length)
    bounds = start + np.arange(samples + 1) * (length / samples)
    lines = np.arange(cells + 1) * (total / cells)
    low = np.maximum(bounds[None, :-1], lines[:-1, None])
    high = np.minimum(bounds[None, 1:], lines[1:, None])
    shares: Float = (np.maximum(high - low, 0.0) * (cells / total)).astype(np.float32)
    return shares


def network_input(
    region: npt.NDArray[Any],
    areas: Areas,
    context: npt.NDArray[Any] | None,
    window: Window,
    size: int = NETWORK_SIZE,
) -> tuple[Float, Float]:
    """The layer and its areas as the network sees them.

    Args:
        region: (h, w[, c]) the layer's pixels in the window, any accepted dtype.
        areas: the region's areas; outside of the region everything is C.
        context: (ch, cw[, c]) the whole layer, scaled down; None where the region is the layer.
        window: where the region lies in the layer.
        size: side of the network's square.

    Returns:
        float32 (size, size, 3), display-encoded 0…1, and float32 (2, size, size): the shares of A
        and B in each cell. Fully transparent pixels count as neither.
    """
    height, width = region.shape[:2]
    small = shrink(region, _WORKING_EDGE)
    rows = overlap_matrix(window.y, height, window.layer_height, size, small.shape[0])
    columns = overlap_matrix(window.x, width, window.layer_width, size, small.shape[1])
    image = np.einsum("ih,hwc,jw->ijc", rows, small, columns, optimize=True)
    covered = rows.sum(1)[:, None] * columns.sum(1)[None, :]
    if context is not None:
        exact = shrink(context, max(context.shape[:2]))
        squared = cv2.resize(exact, (size, size), interpolation=cv2.INTER_AREA)
        around = np.asarray(squared, np.float32).reshape(size, size, -1)
        image = image + (1.0 - covered)[..., None] * around
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    visible = alpha_of(region)
    shares = np.empty((2, size, size), np.float32)
    for share, area in zip(shares, (areas.a, areas.b), strict=True):
        plane = area if visible is None else area & (visible > 0)
        seen = shrink(plane.view(np.uint8) * np.uint8(255), _WORKING_EDGE)[..., 0]
        share[:] = rows @ seen @ columns.T
    return np.ascontiguousarray(image, np.float32), shares
