"""The matte of a selection: the effect follows the subject that a line was drawn around.

A line drawn by hand is off by a few per cent of what it surrounds. Within that reach a small
network (:mod:`maskupe.networks.matting`) looks at the picture and says where the subject ends. It
sees the selection's surroundings, the *frame*, averaged down to 256×256 cells; what it says is
brought to full size by the coefficients of a guided filter (He, Sun and Tang, 2013), so that edges
lie where the pixels have them. Where there is no edge near the line, the fade by distance remains
(:mod:`maskupe.areas.transition`); if the selection is a matte already, it remains itself. Unless
the network is sure that there is a subject in it, all of a selection is meant: then edges are
followed outside of the line only.

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

import cv2
import numpy as np
import numpy.typing as npt

from maskupe.areas.transition import smoothstep
from maskupe.maps import Window
from maskupe.matting.surroundings import MATTE_SIZE, Frame, Surroundings
from maskupe.pixel_layout import GAIN_DELTA, LUMA

Float = npt.NDArray[np.float32]
#: Planes (5, 256, 256) in, matte, open and exact (3, 256, 256) out, all 0…1.
Predict = Callable[[Float], Float]

#: The signed distance that the network sees ends at this many cells.
DISTANCE_RANGE = 48.0
#: How much farther inside the line than outside the subject may end: loops are drawn too wide.
INNER_REACH = 3.0
#: Radius in cells and regularisation of the guided filter.
GUIDED_RADIUS = 2
GUIDED_EPS = 2e-4

# What the guided filter gives is stretched: it blurs over a few cells, which in a large picture is
# a glow around the subject.
_TAILS = (0.06, 0.97)
# What the network says of a pixel is stretched, too: its "certain" is not quite 0 or 1.
_STRETCH = (0.08, 0.96)
_OPEN = (0.05, 0.9)
_EXACT = (0.5, 0.85)
# Cells from the line whose mean tells whether it is open: not up to the first share, from the
# second on.
_BESIDE = 10.0
_OPEN_LINE = (0.75, 0.85)
# Cells from the line whose mean tells whether all of the selection is exact; between these shares.
_ON_LINE = 3.0
_EXACT_LINE = (0.18, 0.36)
# Shares of the selection: less than the first cannot be the subject, the second can.
_EXACT_RANGE = (0.2, 0.28)
# A line was drawn around a subject if the network is certain of what is inside and sees nothing
# open there: the mean of |2 matte - 1|, less so much of the mean openness. Up to the first it was
# not, and all of the inside is meant; from the second on it was.
_CLEAR = (0.76, 0.82)
_OPEN_COUNTS = 0.55
# Shares of what is inside the line, near it, that the network would leave out: up to the first the
# line has an edge all the same.
_LEFT_OUT = (0.3, 0.7)
# But not if what would be left out is so many times brighter.
_BRIGHT_REST = (3.0, 5.0)
# Cells (or pixels, where those are larger) from which a weight may come beyond the reach; and
# how the weight falls there: it is complete up to 1 - 1 / steep of the reach.
_SPILL = 2.2
_STEEP = np.float32(2.5)
_MIDDLE_GRAY = 0.45
#: What a cell and its next neighbours say of the pixels between them.
KEEP, NOTHING, ALL, MIXED = range(4)


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
    ar = (c_rr * rv + c_rg * gv + c_rb * bv) * scale
    ag = (c_rg * rv + c_gg * gv + c_gb * bv) * scale
    ab = (c_rb * rv + c_gb * gv + c_bb * bv) * scale
    offset = mv - (ar * mr + ag * mg + ab * mb)
    a = cv2.merge([cv2.blur(part, size) for part in (ar, ag, ab)])
    return np.asarray(a, np.float32), np.asarray(cv2.blur(offset, size), np.float32)


def guide_of(colour: Float) -> Float:
    """Return the guide of display-encoded colours 0…1: their square roots."""
    return np.sqrt(colour)


def network_planes(image: Float, selection: Float, distance: Float) -> Float:
    """Return the matting network's input, float32 (5, n, n).

    Args:
        image: float32 (n, n, 3), display-encoded 0…1.
        selection: float32 (n, n), 0…1.
        distance: its :func:`signed_distance`.
    """
    near = np.clip(distance / np.float32(DISTANCE_RANGE), -1.0, 1.0)
    return np.stack([*cv2.split(image), selection, near])


def make_matte(seen: Surroundings, predict: Predict, layer: Window) -> Matte | None:
    """Ask the network for the matte, and prepare it for full size.

    Args:
        seen: the selection's surroundings.
        predict: the network.
        layer: gives the layer's size; the frame's sides that are not the layer's end in nothing.

    Returns:
        None where there is no subject in the selection, so that areas by distance are the answer.
    """
    from_line = signed_distance(seen.selection)
    said, opened, exact = predict(network_planes(seen.image, seen.selection, from_line))
    from_line = np.abs(from_line)
    # A mask that is exact is so all along its line, which says more than any one place of it.
    whole = _rise(_mean(exact, from_line < _ON_LINE), _EXACT_LINE)
    opened, exact = _stretched(opened, _OPEN), _stretched(exact, _EXACT)
    matte = _stretched(said, _STRETCH)
    chosen = (seen.selection >= 0.5).astype(np.float32)
    share = _mean(opened, from_line < _BESIDE)
    openness = 0.5 * (share + _mean(opened, chosen > 0))
    certain = _mean(np.abs(2.0 * said - 1.0), chosen > 0)
    meant = float((1.0 - whole) * (1.0 - _rise(certain - _OPEN_COUNTS * openness, _CLEAR)))
    meant *= float(1.0 - _rise(_contrast(seen.image, matte, chosen), _BRIGHT_REST))
    matte, opened, follow = _within_reach(seen, matte, opened, meant)
    # The mask is then the matte, whose edges the guided filter finds: it may be jagged, or cut off
    # by a pixel what is soft.
    matte = np.asarray(matte + whole * (seen.selection - matte), np.float32)
    # A line that is open for the most part was not drawn around a subject; nor was one of whose
    # inside next to nothing would remain.
    own = np.asarray(exact * seen.selection + (1.0 - exact) * matte, np.float32)
    kept = float((own * chosen).sum()) / max(float(chosen.sum()), 1.0)
    none = float(np.maximum(_rise(share, _OPEN_LINE), 1.0 - _rise(kept, _EXACT_RANGE)))
    opened = np.asarray(np.maximum(opened, none), np.float32)
    matte = np.asarray(np.maximum(matte, none), np.float32)
    if min(opened.min(), matte.min()) >= 1.0:
        return None
    return _full_size(seen, layer, matte, exact, np.asarray(follow * (1.0 - opened)), opened)


def _within_reach(
    seen: Surroundings, matte: Float, opened: Float, meant: float
) -> tuple[Float, Float, Float]:
    """Keep the network's answer within reach of the line: deeper inside, all is the subject.

    Args:
        seen: the selection's surroundings.
        matte: float32 (n, n), the network's answer.
        opened: float32 (n, n), where it sees no edge.
        meant: 0…1, whether all of the selection is meant rather than a subject in it.

    Returns:
        The matte, which is 1 deep inside; where the fade by distance is the answer; and ``follow``.
    """
    # A feathered selection says itself how far its line may be off.
    touched = _distance((seen.selection > 1.0 / 512.0).astype(np.float32), seen.frame)
    full = _distance((seen.selection >= 1.0 - 1.0 / 512.0).astype(np.float32), seen.frame)
    distance = _distance(seen.selection, seen.frame)
    cell = max(seen.frame.width, seen.frame.height) / MATTE_SIZE
    reach = max(seen.reach, cell)
    # A pixel takes its share of cells up to one away, and these theirs of selected pixels.
    end = np.float32(max(reach - _SPILL * max(cell, 1.0), cell))
    follow = smoothstep((1.0 + touched / end) * _STEEP)
    inner = np.float32(reach * INNER_REACH * (1.0 - meant))
    ramp = np.maximum(np.float32(0.3) * inner, np.float32(cell))
    within = smoothstep((np.minimum(full, distance) - inner) / ramp + np.float32(meant))
    if meant > 0.0:
        # Where the network would leave out what is inside, there is no edge at the line: a fade.
        near = ((distance > 0.0) & (distance < reach)).astype(np.float32)
        left_out = _nearby(1.0 - matte, near, math.ceil(reach / cell))
        left_out = np.float32(meant) * _rise(left_out, _LEFT_OUT)
        opened = np.asarray(np.maximum(opened, left_out), np.float32)
        matte = np.asarray(np.maximum(matte, left_out), np.float32)
    return np.maximum(matte, within), opened, follow


def _full_size(
    seen: Surroundings, layer: Window, matte: Float, exact: Float, follow: Float, opened: Float
) -> Matte:
    """Prepare a matte for full size; the planes are those of :class:`Matte`."""
    a, b = guided_coefficients(matte, guide_of(seen.image), GUIDED_RADIUS, GUIDED_EPS)
    steeper = np.float32(1.0 / (_TAILS[1] - _TAILS[0]))
    a, b = a * steeper, (b - np.float32(_TAILS[0])) * steeper
    planes = np.concatenate([a.transpose(2, 0, 1), np.stack([b, exact, follow, opened])])
    planes = np.ascontiguousarray(planes, np.float32)
    _decide(planes)
    _close(planes, seen.frame, layer)
    own = np.asarray(exact * seen.selection + (1.0 - exact) * matte, np.float32)
    weight = np.asarray(own * (follow + opened * seen.selection), np.float32)
    log_gain = _missing_light(seen.image, weight)
    return Matte(seen.frame, planes, seen.image, weight, log_gain, _states(planes), seen.key())


def _missing_light(image: Float, weight: Float) -> float:
    """About how much light the subject lacks: from its mean to middle gray, as a logarithm."""
    inside = np.clip(weight * 2.0 - 1.0, 0.0, 1.0)
    mean = float((inside * (image @ LUMA)).sum() / max(float(inside.sum()), 1e-6))
    return max(0.0, math.log((_MIDDLE_GRAY + GAIN_DELTA) / (mean + GAIN_DELTA)))


def _contrast(image: Float, matte: Float, chosen: Float) -> float:
    """How many times brighter the rest of a selection is than the subject in it, on average."""
    luma = image @ LUMA
    means = [
        float((luma * part).sum() / max(float(part.sum()), 1e-6))
        for part in (chosen * (1.0 - matte), chosen * matte)
    ]
    return (means[0] + GAIN_DELTA) / (means[1] + GAIN_DELTA)


def _nearby(plane: Float, where: Float, radius: int) -> Float:
    """Return means of some cells of a plane around each cell; 0 far from all of them."""

    def spread(values: Float) -> Float:
        size = (2 * radius + 1, 2 * radius + 1)
        return np.asarray(cv2.blur(cv2.blur(values, size), size), np.float32)

    means = spread(plane * where) / np.maximum(spread(where), np.float32(1e-3))
    return np.asarray(means, np.float32)


def _mean(plane: Float, where: npt.NDArray[np.bool_]) -> float:
    """Return the mean of some cells; 0 if there are none."""
    return float(plane[where].mean()) if where.any() else 0.0


def _rise(value: float | Float, ends: tuple[float, float]) -> Float:
    """Return 0 up to the first end, 1 from the second on, smooth in between."""
    return smoothstep(np.array((value - ends[0]) / (ends[1] - ends[0]), np.float32))


def _distance(selection: Float, frame: Frame) -> Float:
    """Distances to the line as :func:`signed_distance` gives them, but in pixels of the layer.

    The frame's cells are higher or wider than square, by up to two to one.
    """
    longer = max(frame.width, frame.height)
    rows, columns = (
        max(1, round(selection.shape[0] * side / longer)) for side in (frame.height, frame.width)
    )
    square = _resized(selection, rows, columns, cv2.INTER_AREA)
    distance = signed_distance(square) * np.float32(longer / selection.shape[0])
    return _resized(distance, selection.shape[0], selection.shape[1], cv2.INTER_LINEAR)


def _resized(plane: Float, rows: int, columns: int, method: int) -> Float:
    if plane.shape == (rows, columns):
        return plane
    return np.asarray(cv2.resize(plane, (columns, rows), interpolation=method), np.float32)


def _stretched(values: Float, ends: tuple[float, float]) -> Float:
    scaled = (values - np.float32(ends[0])) / np.float32(ends[1] - ends[0])
    return np.asarray(np.clip(scaled, 0.0, 1.0), np.float32)


def _decide(planes: Float) -> None:
    """Cells whose pixels are certain, whatever their colour: no arithmetic is left in them."""
    flat = np.abs(planes[0]) + np.abs(planes[1]) + np.abs(planes[2]) < 5e-3
    for value, certain in ((0.0, planes[3] < 5e-3), (1.0, planes[3] > 1.0 - 5e-3)):
        settled = flat & certain
        np.copyto(planes[:3], 0.0, where=settled)
        np.copyto(planes[3], value, where=settled)


def _close(planes: Float, frame: Frame, layer: Window) -> None:
    """Let nothing but the fade go on beyond the frame."""
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
    flat = ~planes[:3].any(0)
    sure = flat & (planes[4] == 0)
    follow, opened = planes[5], planes[6]
    kinds = np.full(flat.shape, MIXED, np.uint8)
    for kind, true in (
        (KEEP, sure & (planes[3] == 1) & (follow == 0) & (opened == 1)),
        # For one reason or the other: between cells of different reasons there is something.
        (NOTHING, sure & (planes[3] == 0)),
        (NOTHING, (follow == 0) & (opened == 0)),
        (ALL, sure & (planes[3] == 1) & (follow == 1)),
    ):
        across = true & np.concatenate([true[:, 1:], true[:, -1:]], axis=1)
        kinds[across & np.concatenate([across[1:], across[-1:]])] = kind
    return kinds
