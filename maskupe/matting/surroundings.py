"""What the matting network is shown: a selection's surroundings, averaged down.

The *frame* is the selection's bounding box and a margin around it. What of it lies outside the
region that came at full size is taken from the context.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from maskupe.areas.transition import Transition, selection_as_float
from maskupe.maps import Window
from maskupe.native import DEPTHS
from maskupe.parallel import machine_threads
from maskupe.pixel_layout import colour_channels, scale_of
from maskupe.preprocess.area_average import colours_of
from maskupe.preprocess.context import area_average, fingerprint

Float = npt.NDArray[np.float32]

#: Side of the square that the matting network sees, in cells.
MATTE_SIZE = 256
#: The frame is the selection's bounding box and this share of its longer side around it.
FRAME_MARGIN = 0.12

# The frame may grow by this many pixels around the smallest selections.
_LEAST_MARGIN = 16


class Frame(NamedTuple):
    """A rectangle of the layer, in pixels: left, top, width, height."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Surroundings:
    """What the network is shown.

    Attributes:
        frame: the part of the layer.
        image: float32 (n, n, 3), its picture.
        selection: float32 (n, n), the selection in it.
        reach: how far outside the line edges are followed, in pixels.
    """

    frame: Frame
    image: Float
    selection: Float
    reach: float

    def key(self) -> bytes:
        """Return what a prediction may be remembered by."""
        numbers = np.array([self.reach, *self.frame])
        return fingerprint(self.image, self.selection, numbers)


def surroundings_of(
    region: npt.NDArray[Any],
    selection: npt.NDArray[Any],
    context: npt.NDArray[Any] | None,
    window: Window,
    transition: Transition,
    threads: int | None = None,
) -> Surroundings:
    """Average a selection's surroundings down to what the matting network sees.

    Args:
        region: (h, w[, c]) the layer's pixels in the window, any accepted dtype.
        selection: (h, w), the selection in the region; something is selected.
        context: (ch, cw[, c]) the whole layer scaled down, for what lies outside the region.
        window: where the region lies in the layer.
        transition: says how far edges are followed.
        threads: how many to use; all that the process may use if None.
    """
    threads = machine_threads() if threads is None else threads
    if selection.dtype == np.bool_:
        selection = selection.view(np.uint8)
        selection_scale = 255.0
    else:
        selection_scale = 1.0
        if selection.dtype not in DEPTHS:
            selection = selection_as_float(selection)
    box = _bounds(selection, window)
    reach = transition.edge_reach(
        box.width * box.height, min(window.layer_width, window.layer_height)
    )
    margin = _margin(box, reach)
    frame = _frame_around(box, margin, window)
    # The part of the region that lies in the frame, and where.
    left, top = max(frame.x, window.x), max(frame.y, window.y)
    right = min(frame.x + frame.width, window.x + region.shape[1])
    bottom = min(frame.y + frame.height, window.y + region.shape[0])
    part = (
        slice(top - window.y, bottom - window.y),
        slice(left - window.x, right - window.x),
    )
    within = Window(left - frame.x, top - frame.y, frame.width, frame.height)
    cells = (min(MATTE_SIZE, frame.height), min(MATTE_SIZE, frame.width))
    size = (bottom - top, right - left)
    image, inside = area_average(colours_of(region[part]), size, within, cells, threads)
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    if context is not None and inside.min() < 1.0:
        outside = (np.float32(1.0) - inside)[..., None]
        image += outside * _from_context(context, frame, window, cells)
    elif inside.min() < 1.0:
        image = np.asarray(image / np.maximum(inside, 1e-3)[..., None], np.float32)
    chosen, _ = area_average(colours_of(selection[part]), size, within, cells, threads)
    shown = _enlarged(image)
    selected = _enlarged(chosen[..., 0] * np.float32(selection_scale))
    # What lies outside the frame has not been seen.
    return Surroundings(frame, shown, selected, min(reach, margin - 1.0))


def _enlarged(plane: Float) -> Float:
    """Return what of a small frame is fewer cells than the network sees; clipped to 0…1."""
    whole = (MATTE_SIZE, MATTE_SIZE)
    if plane.shape[:2] != whole:
        plane = np.asarray(cv2.resize(plane, whole, interpolation=cv2.INTER_LINEAR), np.float32)
    return np.ascontiguousarray(np.clip(plane, 0.0, 1.0), np.float32)


def _bounds(selection: npt.NDArray[Any], window: Window) -> Frame:
    rows = np.flatnonzero(selection.any(axis=1))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(selection[top:bottom].any(axis=0))
    left, right = int(columns[0]), int(columns[-1]) + 1
    return Frame(window.x + left, window.y + top, right - left, bottom - top)


def _margin(box: Frame, reach: float) -> int:
    """What the frame has around the box, in pixels: the reach too, if it is not absurdly far."""
    longer = max(box.width, box.height)
    wanted = min(math.ceil(reach) + 1, max(longer, _LEAST_MARGIN))
    return max(2, round(FRAME_MARGIN * longer), wanted)


def _frame_around(box: Frame, margin: int, window: Window) -> Frame:
    """The box and its margin, no more than twice as long as wide where the layer allows that."""
    longer = max(box.width, box.height)
    x, width = _widened(box.x, box.width, margin, longer // 2, window.layer_width)
    y, height = _widened(box.y, box.height, margin, longer // 2, window.layer_height)
    return Frame(x, y, width, height)


def _widened(start: int, length: int, margin: int, least: int, limit: int) -> tuple[int, int]:
    margin = max(margin, (least - length + 1) // 2)
    first, last = max(0, start - margin), min(limit, start + length + margin)
    return first, last - first


def _from_context(
    context: npt.NDArray[Any], frame: Frame, window: Window, cells: tuple[int, int]
) -> Float:
    """Return the frame's part of a context, float32 (rows, columns, 3), 0…1."""
    channels = colour_channels(context)
    pixels = context.reshape(*context.shape[:2], -1)[..., :channels].astype(np.float32)
    pixels = np.clip(np.nan_to_num(pixels / np.float32(scale_of(context.dtype))), 0.0, 1.0)
    height, width = context.shape[:2]
    x = (frame.x + (np.arange(cells[1]) + 0.5) * frame.width / cells[1]) * (
        width / window.layer_width
    ) - 0.5
    y = (frame.y + (np.arange(cells[0]) + 0.5) * frame.height / cells[0]) * (
        height / window.layer_height
    ) - 0.5
    columns, rows = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    found = cv2.remap(
        pixels, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).reshape(*cells, channels)
    return np.asarray(found if channels == 3 else np.repeat(found, 3, axis=2), np.float32)
