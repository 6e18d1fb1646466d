"""Selections as people draw them around a subject whose matte is known.

Every function takes the generator first; masks are uint8 (H, W), 0 or 255 unless they say
otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from maskupe_training.data.images import F32, U8
from maskupe_training.masks import shapes

#: How often each kind of line is drawn around a subject.
KINDS = {
    "lasso": 0.42,
    "freehand": 0.12,
    "wide": 0.14,
    "hull": 0.05,
    "box": 0.05,
    "ellipse": 0.06,
    "brush": 0.06,
    "exact": 0.10,
}


@dataclass(frozen=True)
class Line:
    """A selection around a subject.

    Attributes:
        selection: float32 (H, W), 0…1.
        exact: whether it is the subject's own matte.
    """

    selection: F32
    exact: bool


def draw_line(rng: np.random.Generator, alpha: F32) -> Line | None:
    """Return a selection for a matte float32 (H, W).

    None where the subject is too small for one.
    """
    subject = (alpha > 0.5).astype(np.uint8)
    names = list(KINDS)
    shares = np.array(list(KINDS.values()))
    kind = names[int(rng.choice(len(names), p=shares / shares.sum()))]
    if kind == "exact":
        return Line(_exact(rng, alpha), True)
    contour = _outline(subject)
    if contour is None:
        return None
    size = max(subject.shape)
    if kind in ("lasso", "freehand"):
        mask = lasso(rng, contour, subject.shape, size, smooth=kind == "freehand")
    elif kind == "wide":
        mask = _wide(rng, subject, contour, size)
    elif kind == "brush":
        mask = _brush(rng, subject, size)
    else:
        mask = _shape(rng, contour, subject.shape, kind)
    return Line(_softened(rng, mask, size), False)


def _outline(subject: U8) -> F32 | None:
    found, _ = cv2.findContours(subject, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not found:
        return None
    largest = max(found, key=len)[:, 0].astype(np.float32)
    return largest if len(largest) >= 24 else None


def lasso(
    rng: np.random.Generator,
    contour: F32,
    shape: tuple[int, ...],
    size: int,
    *,
    smooth: bool = False,
    outwards: float | None = None,
) -> U8:
    """Return a polygon (or a smooth line) along a contour, each corner off by a normal error."""
    step = max(4.0, size / rng.uniform(8.0, 20.0))
    count = max(9, round(len(contour) / step))
    points = contour[np.linspace(0, len(contour) - 1, count, endpoint=False).astype(int)]
    error = rng.uniform(0.002, 0.02) * size
    bias = (rng.uniform(-0.3, 1.6) * error) if outwards is None else outwards * size
    moved = points + normals(points) * (rng.normal(bias, error, (count, 1))).astype(np.float32)
    if smooth:
        moved = _spline(moved.astype(np.float32))
    return filled(moved, shape)


def normals(points: F32) -> F32:
    """Return outward unit normals of a closed polygon."""
    tangent = np.roll(points, -1, 0) - np.roll(points, 1, 0)
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-6
    following = np.roll(points, -1, 0)
    area = float((points[:, 0] * following[:, 1] - following[:, 0] * points[:, 1]).sum())
    return np.asarray(normal if area > 0 else -normal, np.float32)


def _spline(points: F32) -> F32:
    """Return a closed quadratic B-spline through the middles of a polygon's sides."""
    following = np.roll(points, -1, 0)
    start, end = (points + np.roll(points, 1, 0)) / 2, (points + following) / 2
    t = np.linspace(0, 1, 6, endpoint=False, dtype=np.float32)[None, :, None]
    curve = (1 - t) ** 2 * start[:, None] + 2 * t * (1 - t) * points[:, None] + t**2 * end[:, None]
    return np.asarray(curve.reshape(-1, 2), np.float32)


def filled(points: F32, shape: tuple[int, ...], *, smooth: bool = True) -> U8:
    """Return the inside of a polygon (n, 2) of x and y: uint8 of a shape, 0 or 255.

    Args:
        points: in pixels.
        shape: (H, W).
        smooth: antialiased, at 64ths of a pixel.
    """
    mask = np.zeros(shape, np.uint8)
    if smooth:
        cv2.fillPoly(mask, [np.rint(points * 64).astype(np.int32)], 255, cv2.LINE_AA, 6)
    else:
        cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 255)
    return mask


def _wide(rng: np.random.Generator, subject: U8, contour: F32, size: int) -> U8:
    """Return a loop far outside: up to 40 % wider than the subject."""
    extent = float(np.ptp(contour, axis=0).max())
    outwards = rng.uniform(0.04, 0.22) * extent / size
    radius = max(1, round(outwards * size * 0.7))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    framed = cv2.copyMakeBorder(subject, radius, radius, radius, radius, cv2.BORDER_CONSTANT)
    grown = cv2.dilate(framed, disc)
    outline = _outline(np.asarray(grown, np.uint8))
    assert outline is not None
    return lasso(rng, outline - radius, subject.shape, size, smooth=bool(rng.random() < 0.5),
                 outwards=outwards * 0.3)  # fmt: skip


def _brush(rng: np.random.Generator, subject: U8, size: int) -> U8:
    """Dabs of a round brush over the subject, some over its edge, until most of it is covered."""
    mask = np.zeros(subject.shape, np.uint8)
    radius = max(3, round(size * rng.uniform(0.04, 0.12)))
    inner = max(1, round(radius * rng.uniform(0.4, 0.9)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * inner + 1, 2 * inner + 1))
    middle = cv2.erode(subject, disc)
    for _ in range(80):
        missing = np.flatnonzero((middle if middle.any() else subject) & (mask == 0))
        if missing.size == 0:
            break
        at = int(missing[rng.integers(missing.size)])
        row, column = divmod(at, subject.shape[1])
        dab = round(radius * rng.uniform(0.9, 1.15))
        cv2.circle(mask, (column, row), dab, 255, cv2.FILLED, cv2.LINE_AA)
    return mask


def _shape(rng: np.random.Generator, contour: F32, shape: tuple[int, ...], kind: str) -> U8:
    """Return the hull, the bounding box or an ellipse around a contour, a bit wider or tighter."""
    centre = (contour.min(0) + contour.max(0)) / 2
    half = np.ptp(contour, axis=0) / 2 * rng.uniform(0.95, 1.15, 2).astype(np.float32)
    if kind == "hull":
        hull = cv2.convexHull(contour)[:, 0]
        return filled(centre + (hull - centre) * np.float32(rng.uniform(0.98, 1.08)), shape)
    if kind == "box":
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
        return filled(centre + corners * half, shape)
    angle = np.linspace(0, 2 * math.pi, 72, endpoint=False, dtype=np.float32)
    round_ = np.stack([np.cos(angle), np.sin(angle)], 1) * np.float32(rng.uniform(0.95, 1.3))
    return filled(centre + round_ * half, shape)


def _softened(rng: np.random.Generator, mask: U8, size: int) -> F32:
    """As a selection: antialiased, jagged, or feathered."""
    how = rng.random()
    if how < 0.25:
        return (mask > 127).astype(np.float32)
    soft = mask.astype(np.float32) / np.float32(255.0)
    if how < 0.8:
        return soft
    return shapes.feather(soft, size * float(np.exp(rng.uniform(np.log(0.003), np.log(0.04)))))


def _exact(rng: np.random.Generator, alpha: F32) -> F32:
    how = rng.random()
    if how < 0.4:
        return alpha.copy()
    if how < 0.7:
        return (alpha > rng.uniform(0.35, 0.6)).astype(np.float32)
    return shapes.feather((alpha > 0.5).astype(np.float32), rng.uniform(0.5, 1.2))


def free_selection(rng: np.random.Generator, height: int, width: int) -> F32:
    """Return a selection that has nothing to do with what the picture shows."""
    kinds = (shapes.ellipse, shapes.ellipse, shapes.blob, shapes.polygon, shapes.stroke,
             shapes.rectangle)  # fmt: skip
    mask = kinds[int(rng.integers(len(kinds)))](rng, height, width)
    if rng.random() < 0.3:
        mask = shapes.feather(mask, max(height, width) * rng.uniform(0.004, 0.05))
    return mask
