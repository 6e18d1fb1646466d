"""A matte at full size, by strips: the formula of :mod:`maskupe.matting.matte` for every pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from maskupe.areas.coverage import Coverage
from maskupe.areas.rows import FULL
from maskupe.areas.transition import selection_as_float
from maskupe.blending.weights import BlendCurve, perceptual
from maskupe.maps import Window
from maskupe.matting.matte import ALL, KEEP, MIXED, NOTHING, Matte, guide_of
from maskupe.native import DEPTHS, load
from maskupe.native.structure import NativeMatte
from maskupe.parallel import STRIP_PIXELS, machine_threads, parallel_rows, rows_of
from maskupe.pixel_layout import colour_channels, has_whole_rows, scale_of
from maskupe.rendering.positions import Positions, axis_positions

Float = npt.NDArray[np.float32]

# The compiled code reads whole groups of columns.
_PAD = 32


def apply_matte(
    matte: Matte,
    coverage: Coverage,
    region: npt.NDArray[Any],
    selection: npt.NDArray[Any],
    window: Window,
    strength: float = 1.0,
    threads: int | None = None,
    compiled: bool = True,
) -> Coverage:
    """Return the coverage of a selection whose edges follow the subject; it is the weight itself.

    Args:
        matte: of the selection.
        coverage: the areas by distance; its plane is overwritten.
        region: (h, w[, c]), the pixels.
        selection: (h, w), the selection in the region.
        window: where the region lies in the layer.
        strength: of the effect, by which the fade is bent.
        threads: how many to use; all that the process may use if None.
        compiled: whether to use the compiled code where it is there.
    """
    height, width = coverage.shape
    plane = coverage.plane if coverage.plane.flags.writeable else coverage.plane.copy()
    pixels = region.reshape(height, width, -1)
    cells = matte.planes.shape[1]
    rows = axis_positions(window.y - matte.frame.y, height, matte.frame.height, cells)
    columns = axis_positions(window.x - matte.frame.x, width, matte.frame.width, cells)
    needs_selection = bool(matte.planes[4].any())
    fade = perceptual(matte.log_gain * strength)
    strip = None
    if compiled:
        exact = selection if needs_selection else None
        strip = _compiled_strip(matte, plane, pixels, exact, fade, rows, columns)
    if strip is None:

        def strip(first: int, last: int) -> None:
            part = slice(first, last)
            own = selection_as_float(selection[part]) if needs_selection else None
            _apply_rows(matte, plane[part], pixels[part], own, fade, rows, columns, first)

    threads = machine_threads() if threads is None else threads
    parallel_rows(strip, height, rows_of(STRIP_PIXELS, width), threads, None)
    return Coverage(plane, coverage.width)


def _apply_rows(
    matte: Matte,
    plane: npt.NDArray[np.uint16],
    pixels: npt.NDArray[Any],
    selection: Float | None,
    fade: BlendCurve,
    rows: Positions,
    columns: Positions,
    first: int,
) -> None:
    """The formula of the module's head for some rows, in place: the reference."""
    count = plane.shape[0]
    part = slice(first, first + count)
    low, high, down = rows.low[part], rows.high[part], rows.fraction[part][:, None]
    state = matte.state[low][:, columns.low]
    kept = state == KEEP
    plane[kept] = to_coverage(fade.weights(plane[kept]))
    plane[state == NOTHING] = 0
    plane[state == ALL] = FULL
    mixed = state == MIXED
    if not mixed.any():
        return
    lines = matte.planes[:, low] + down * (matte.planes[:, high] - matte.planes[:, low])
    left = lines[:, :, columns.low]
    maps = left + columns.fraction * (lines[:, :, columns.high] - left)
    colour = pixels[..., : colour_channels(pixels)].astype(np.float32)
    colour = np.fmin(np.fmax(colour / np.float32(scale_of(pixels.dtype)), 0.0), 1.0)
    guide = guide_of(colour)
    own = np.clip((maps[:3].transpose(1, 2, 0) * guide).sum(-1) + maps[3], 0.0, 1.0)
    if selection is not None:
        own += maps[4] * (selection - own)
    weight = own * (maps[5] + maps[6] * fade.weights(plane))
    plane[mixed] = to_coverage(weight)[mixed]


def to_coverage(weight: Float) -> npt.NDArray[np.uint16]:
    """Return weights 0…1 as coverage; what is within half a level of 8 bits of 0 or 1 is that."""
    steps = np.clip(weight * np.float32(FULL) + np.float32(0.5), 0, FULL).astype(np.uint16)
    steps[steps < FULL // 510] = 0
    steps[steps > FULL - FULL // 510] = FULL
    return np.asarray(steps, np.uint16)


def _compiled_strip(
    matte: Matte,
    plane: npt.NDArray[np.uint16],
    pixels: npt.NDArray[Any],
    selection: npt.NDArray[Any] | None,
    fade: BlendCurve,
    rows: Positions,
    columns: Positions,
) -> Callable[[int, int], None] | None:
    """Return the same by the compiled code; None where it cannot be used."""
    library = load()
    if library is None or not has_whole_rows(pixels):
        return None
    scale = 1.0
    if selection is not None:
        if selection.dtype == np.bool_:
            selection = selection.view(np.uint8)
        elif selection.dtype in DEPTHS:
            scale = 1.0 / scale_of(selection.dtype)
        else:
            return None
        if not has_whole_rows(selection):
            return None
    ends = np.searchsorted(columns.low, columns.low, side="right").astype(np.int32)
    kept: dict[str, npt.NDArray[Any]] = {
        "maps": matte.planes,
        "state": matte.state,
        "fade": fade.ramp,
        "row_low": rows.low,
        "row_high": rows.high,
        "row_part": rows.fraction,
        "column_low": columns.low,
        "column_high": columns.high,
        "column_end": ends,
        "column_part": np.pad(columns.fraction, (0, _PAD)),
    }
    native = NativeMatte(
        width=plane.shape[1],
        channels=pixels.shape[2],
        depth=DEPTHS[pixels.dtype],
        map_rows=matte.planes.shape[1],
        map_columns=matte.planes.shape[2],
        image=pixels.ctypes.data,
        image_stride=pixels.strides[0],
        coverage=plane.ctypes.data,
        coverage_stride=plane.strides[0],
        selection_scale=scale,
    )
    if selection is not None:
        native.selection = selection.ctypes.data
        native.selection_stride = selection.strides[0]
        native.selection_depth = DEPTHS[selection.dtype]
    for name, array in kept.items():
        setattr(native, name, array.ctypes.data)

    def strip(first: int, last: int, _alive: Any = (kept, pixels, selection, plane)) -> None:
        library.maskupe_apply_matte(native, first, last)

    return strip
