"""The matte of a selection: the effect follows the subject that a line was drawn around.

A line drawn by hand is off by a few per cent of what it surrounds. Within that reach a small network
(:mod:`maskupe.networks.matting`) looks at the picture and says where the subject ends. It sees the
selection's surroundings, the *frame*, averaged down to 256×256 cells; what it says is brought to full
size by the coefficients of a guided filter (He, Sun and Tang, 2013), so that edges lie where the
pixels have them. Where there is no edge near the line, the fade by distance remains
(:mod:`maskupe.areas`); if the selection is a matte already, it remains itself.

The weight of a pixel, with all maps bilinear between cells:

    (exact · selection + (1 - exact) · clip(a · guide + b, 0, 1)) · (follow + open · fade)

where ``guide`` is the square root of the pixel's display-encoded colour and ``fade`` the weight by
distance, even in stops. On an edge the weight is the subject's share in the pixel, by which light
mixes, and is not bent. ``follow`` is 0 beyond the reach, so nothing changes there but by the fade.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from maskupe.areas import Transition, selection_as_float, smoothstep
from maskupe.areastrip import FULL
from maskupe.averages import colours_of
from maskupe.context import area_average
from maskupe.coverage import Coverage
from maskupe.fade import Fade, even
from maskupe.layout import LUMA, colour_channels, scale_of
from maskupe.maps import Window
from maskupe.metrics import GAIN_DELTA
from maskupe.native import DEPTHS, load
from maskupe.native.structure import NativeMatte
from maskupe.rendering.positions import Positions, axis_positions
from maskupe.strips import machine_threads, rows_of, run_strips

Float = npt.NDArray[np.float32]
#: Planes (5, 256, 256) in, matte, open and exact (3, 256, 256) out, all 0…1.
Predict = Callable[[Float], Float]

#: Side of the square that the matting network sees, in cells.
MATTE_SIZE = 256
#: The signed distance that the network sees ends at this many cells.
DISTANCE_RANGE = 48.0
#: The frame is the selection's bounding box and this share of its longer side around it.
FRAME_MARGIN = 0.12
#: How much farther inside the line than outside the subject may end: loops are drawn too wide.
INNER_REACH = 3.0
#: Radius in cells and regularisation of the guided filter.
GUIDED_RADIUS = 2
GUIDED_EPS = 2e-4

# What the network says of a pixel is stretched: its "certain" is not quite 0 or 1.
_CERTAIN = 0.08
_OPEN = (0.05, 0.9)
_EXACT = (0.5, 0.85)
_MIDDLE_GRAY = 0.45
# Share of the selection that must remain for a matte to be believed.
_LEAST_KEPT = 0.02
# Pixels of a strip.
_STRIP_PIXELS = 1 << 17
# What a cell and its next neighbours say of the pixels between them.
_KEEP, _NOTHING, _ALL, _MIXED = range(4)
# The compiled code reads whole groups of columns.
_PAD = 32


class Frame(NamedTuple):
    """A rectangle of the layer, in pixels: left, top, width, height."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Matte:
    """What the network said of a selection's surroundings, ready for full size.

    Attributes:
        frame: where the maps lie in the layer.
        planes: float32 (7, n, n): a for r, g and b, then b, exact, follow and open.
        image: float32 (n, n, 3), the frame's picture, display-encoded 0…1.
        weight: float32 (n, n), the resulting weight of each cell, without the fade.
        log_gain: about how much light the subject lacks, as a logarithm, to bend the fade by.
        state: uint8 (n, n), what is true of all pixels between each cell and the next ones.
        key: tells it from others.
    """

    frame: Frame
    planes: Float
    image: Float
    weight: Float
    log_gain: float
    state: npt.NDArray[np.uint8] = field(repr=False)
    key: bytes = field(repr=False)


def signed_distance(selection: Float) -> Float:
    """Return distances to the line in cells, positive inside: float32 (h, w).

    Args:
        selection: float32 (h, w), 0…1; its line is where it crosses one half.
    """
    inside = (selection >= 0.5).astype(np.uint8)
    far = np.float32(sum(selection.shape))
    if not inside.any():
        return np.full(selection.shape, -far, np.float32)
    if inside.all():
        return np.full(selection.shape, far, np.float32)
    within = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    beyond = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    return np.asarray(np.where(inside, within - 0.5, 0.5 - beyond), np.float32)


def guided_coefficients(
    values: Float, guide: Float, radius: int, eps: float
) -> tuple[Float, Float]:
    """Return the guided filter's coefficients: values are about a · guide + b.

    Args:
        values: float32 (h, w).
        guide: float32 (h, w, 3).
        radius: of the window, in cells.
        eps: regularisation, in squared units of the guide.

    Returns:
        a, float32 (h, w, 3), and b, (h, w).
    """
    size = (2 * radius + 1, 2 * radius + 1)
    r, g, b = (np.ascontiguousarray(guide[..., c]) for c in range(3))
    products = [r, g, b, values, r * r, r * g, r * b, g * g, g * b, b * b]
    products += [r * values, g * values, b * values]
    mr, mg, mb, mv, rr, rg, rb, gg, gb, bb, rv, gv, bv = (cv2.blur(p, size) for p in products)
    rr, gg, bb = rr - mr * mr + eps, gg - mg * mg + eps, bb - mb * mb + eps
    rg, rb, gb = rg - mr * mg, rb - mr * mb, gb - mg * mb
    rv, gv, bv = rv - mr * mv, gv - mg * mv, bv - mb * mv
    # The inverse of a symmetric 3×3 matrix by its adjugate.
    c_rr, c_rg, c_rb = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    c_gg, c_gb, c_bb = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    scale = 1.0 / (rr * c_rr + rg * c_rg + rb * c_rb)
    a = np.stack(
        [
            (c_rr * rv + c_rg * gv + c_rb * bv) * scale,
            (c_rg * rv + c_gg * gv + c_gb * bv) * scale,
            (c_rb * rv + c_gb * gv + c_bb * bv) * scale,
        ],
        axis=-1,
    )
    offset = mv - (a * np.stack([mr, mg, mb], axis=-1)).sum(-1)
    return np.asarray(cv2.blur(a, size), np.float32), np.asarray(cv2.blur(offset, size), np.float32)


def guide_of(colour: Float) -> Float:
    """Return the guide of display-encoded colours 0…1: their square roots."""
    return np.sqrt(colour)


@dataclass(frozen=True)
class Surroundings:
    """What the network is shown.

    Attributes:
        frame: the part of the layer.
        image: float32 (n, n, 3), its picture.
        selection: float32 (n, n), the selection in it.
        reach: how far outside the line edges are followed, in cells.
    """

    frame: Frame
    image: Float
    selection: Float
    reach: float

    def key(self) -> bytes:
        """What a prediction may be remembered by."""
        parts = (self.image, self.selection, np.float32(self.reach), np.array(self.frame))
        return b"".join(part.tobytes() for part in parts)


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
    frame = _frame_around(box, window)
    reach_pixels = transition.edge_reach(
        box.width * box.height, min(window.layer_width, window.layer_height)
    )
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
        image = image + (1.0 - inside)[..., None] * _from_context(context, frame, window, cells)
    elif inside.min() < 1.0:
        image = image / np.maximum(inside, 1e-3)[..., None]
    chosen, _ = area_average(colours_of(selection[part]), size, within, cells, threads)
    chosen = np.clip(chosen[..., 0] * np.float32(selection_scale), 0.0, 1.0)
    if cells != (MATTE_SIZE, MATTE_SIZE):
        whole = (MATTE_SIZE, MATTE_SIZE)
        image = cv2.resize(image, whole, interpolation=cv2.INTER_LINEAR)
        chosen = cv2.resize(chosen, whole, interpolation=cv2.INTER_LINEAR)
    cell = (frame.width * frame.height) ** 0.5 / MATTE_SIZE
    image = np.ascontiguousarray(np.clip(image, 0.0, 1.0), np.float32)
    return Surroundings(frame, image, np.ascontiguousarray(chosen, np.float32), reach_pixels / cell)


def _bounds(selection: npt.NDArray[Any], window: Window) -> Frame:
    rows = np.flatnonzero(selection.any(axis=1))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(selection[top:bottom].any(axis=0))
    left, right = int(columns[0]), int(columns[-1]) + 1
    return Frame(window.x + left, window.y + top, right - left, bottom - top)


def _frame_around(box: Frame, window: Window) -> Frame:
    """The box and its margin, no more than twice as long as wide where the layer allows that."""
    longer = max(box.width, box.height)
    margin = max(2, round(FRAME_MARGIN * longer))
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
    """The frame's part of a context, float32 (rows, columns, 3), 0…1."""
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


def network_planes(image: Float, selection: Float) -> Float:
    """Return the matting network's input, float32 (5, n, n).

    Args:
        image: float32 (n, n, 3), display-encoded 0…1.
        selection: float32 (n, n), 0…1.
    """
    distance = np.clip(signed_distance(selection) / np.float32(DISTANCE_RANGE), -1.0, 1.0)
    return np.concatenate([image.transpose(2, 0, 1), selection[None], distance[None]])


def make_matte(seen: Surroundings, predict: Predict, layer: Window) -> Matte | None:
    """Ask the network for the matte, and prepare it for full size.

    Args:
        seen: the selection's surroundings.
        predict: the network.
        layer: gives the layer's size; the frame's sides that are not the layer's end in nothing.

    Returns:
        None where the network finds no subject at all, so that areas by distance are the better
        answer.
    """
    said, opened, exact = predict(network_planes(seen.image, seen.selection))
    opened, exact = _stretched(opened, _OPEN), _stretched(exact, _EXACT)
    distance = signed_distance(seen.selection)
    # A feathered selection says itself how far its line may be off.
    touched = signed_distance((seen.selection > 1.0 / 512.0).astype(np.float32))
    full = signed_distance((seen.selection >= 1.0 - 1.0 / 512.0).astype(np.float32))
    reach = np.float32(max(seen.reach, 1.0))
    follow = smoothstep((1.0 + touched / reach) * np.float32(2.5))
    inner = reach * np.float32(INNER_REACH)
    within = smoothstep((np.minimum(full, distance) - inner) / (0.3 * inner))
    matte = _stretched(said, (_CERTAIN, 1.0 - _CERTAIN))
    matte = np.maximum(matte, within)
    if float((matte * (seen.selection >= 0.5)).sum()) < _LEAST_KEPT * float(seen.selection.sum()):
        return None
    follow = follow * (1.0 - opened)
    a, b = guided_coefficients(matte, guide_of(seen.image), GUIDED_RADIUS, GUIDED_EPS)
    planes = np.concatenate([a.transpose(2, 0, 1), np.stack([b, exact, follow, opened])])
    _settle(planes)
    _close(planes, seen.frame, layer)
    weight = (exact * seen.selection + (1.0 - exact) * matte) * (follow + opened * seen.selection)
    planes = np.ascontiguousarray(planes, np.float32)
    weight = np.asarray(weight, np.float32)
    log_gain = _missing_light(seen.image, weight)
    return Matte(seen.frame, planes, seen.image, weight, log_gain, _states(planes), seen.key())


def _missing_light(image: Float, weight: Float) -> float:
    """About how much light the subject lacks: from its mean to middle gray, as a logarithm."""
    inside = np.clip(weight * 2.0 - 1.0, 0.0, 1.0)
    mean = float((inside * (image @ LUMA)).sum() / max(float(inside.sum()), 1e-6))
    return max(0.0, math.log((_MIDDLE_GRAY + GAIN_DELTA) / (mean + GAIN_DELTA)))


def _stretched(values: Float, ends: tuple[float, float]) -> Float:
    return np.clip((values - np.float32(ends[0])) / np.float32(ends[1] - ends[0]), 0.0, 1.0)


def _settle(planes: Float) -> None:
    """Cells whose pixels are certain, whatever their colour: no arithmetic is left in them."""
    steep = np.abs(planes[:3]).sum(0)
    for value in (0.0, 1.0):
        settled = (np.abs(planes[3] - value) < 5e-3) & (steep < 5e-3)
        planes[:3, settled] = 0.0
        planes[3, settled] = value


def _close(planes: Float, frame: Frame, layer: Window) -> None:
    """Lets nothing but the fade go on beyond the frame."""
    for axis, ends in (
        (1, (frame.y > 0, frame.y + frame.height < layer.layer_height)),
        (2, (frame.x > 0, frame.x + frame.width < layer.layer_width)),
    ):
        for at, inside in zip((0, -1), ends, strict=True):
            if inside:
                edge = planes[:, at] if axis == 1 else planes[:, :, at]
                edge[:3], edge[3], edge[4], edge[5] = 0.0, 1.0, 0.0, 0.0


def _states(planes: Float) -> npt.NDArray[np.uint8]:
    """What is true of all pixels between each cell and its neighbours to the right and below."""
    flat = np.abs(planes[:3]).sum(0) == 0
    sure = flat & (planes[4] == 0)
    follow, opened = planes[5], planes[6]
    kinds = np.full(flat.shape, _MIXED, np.uint8)
    kinds[sure & (planes[3] == 1) & (follow == 0) & (opened == 1)] = _KEEP
    kinds[(sure & (planes[3] == 0)) | ((follow == 0) & (opened == 0))] = _NOTHING
    kinds[sure & (planes[3] == 1) & (follow == 1)] = _ALL
    right = np.concatenate([kinds[:, 1:], kinds[:, -1:]], axis=1)
    below = np.concatenate([kinds[1:], kinds[-1:]])
    diagonal = np.concatenate([right[1:], right[-1:]])
    same = (kinds == right) & (kinds == below) & (kinds == diagonal)
    return np.ascontiguousarray(np.where(same, kinds, np.uint8(_MIXED)))


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
    fade = even(matte.log_gain * strength)
    strip = None
    if compiled:
        own = selection if needs_selection else None
        strip = _compiled_strip(matte, plane, pixels, own, fade, rows, columns)
    if strip is None:

        def strip(first: int, last: int) -> None:
            part = slice(first, last)
            own = selection_as_float(selection[part]) if needs_selection else None
            _apply_rows(matte, plane[part], pixels[part], own, fade, rows, columns, first)

    threads = machine_threads() if threads is None else threads
    run_strips(strip, height, rows_of(_STRIP_PIXELS, width), threads, None)
    return Coverage(plane, coverage.width)


def _apply_rows(
    matte: Matte,
    plane: npt.NDArray[np.uint16],
    pixels: npt.NDArray[Any],
    selection: Float | None,
    fade: Fade,
    rows: Positions,
    columns: Positions,
    first: int,
) -> None:
    """The formula of the module's head for some rows, in place: the reference."""
    count = plane.shape[0]
    part = slice(first, first + count)
    low, high, down = rows.low[part], rows.high[part], rows.fraction[part][:, None]
    state = matte.state[low][:, columns.low]
    kept = state == _KEEP
    plane[kept] = to_coverage(fade.weights(plane[kept]))
    plane[state == _NOTHING] = 0
    plane[state == _ALL] = FULL
    mixed = state == _MIXED
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
    return steps


def _compiled_strip(
    matte: Matte,
    plane: npt.NDArray[np.uint16],
    pixels: npt.NDArray[Any],
    selection: npt.NDArray[Any] | None,
    fade: Fade,
    rows: Positions,
    columns: Positions,
) -> Callable[[int, int], None] | None:
    """The same by the compiled code; None where it cannot be used."""
    library = load()
    if library is None or not _contiguous_rows(pixels):
        return None
    scale = 1.0
    if selection is not None:
        if selection.dtype == np.bool_:
            selection = selection.view(np.uint8)
        elif selection.dtype in DEPTHS:
            scale = 1.0 / scale_of(selection.dtype)
        else:
            return None
        if not _contiguous_rows(selection[..., None]):
            return None
    ends = np.searchsorted(columns.low, columns.low, side="right").astype(np.int32)
    kept = {
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


def _contiguous_rows(pixels: npt.NDArray[Any]) -> bool:
    """Whether the pixels of each row lie one after the other without gaps."""
    inner = (pixels.itemsize * pixels.shape[2], pixels.itemsize)
    return all(
        length == 1 or stride == wanted
        for length, stride, wanted in zip(pixels.shape[1:], pixels.strides[1:], inner, strict=True)
    )
