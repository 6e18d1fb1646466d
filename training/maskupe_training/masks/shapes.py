"""Shapes that a selection can have, each drawn by a random generator into a (H, W) picture.

Every function takes the generator first and returns float32 (H, W), 0…1, with antialiased edges;
centres are uniform over the image, so shapes may leave it, as users' selections do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from maskupe_training.data.images import F32, U8, luma

# Sub-pixel bits of OpenCV's drawing functions.
_SHIFT = 6


def circle(height: int, width: int, centre: tuple[float, float], radius: float) -> F32:
    """Return a disc; the centre is (x, y) in pixels, where pixel (0, 0) has its centre at 0, 0."""
    mask = np.zeros((height, width), np.uint8)
    scale = 1 << _SHIFT
    at = (round(centre[0] * scale), round(centre[1] * scale))
    cv2.circle(mask, at, round(radius * scale), 255, cv2.FILLED, cv2.LINE_AA, _SHIFT)
    return _as_float(mask)


def ellipse(rng: np.random.Generator, height: int, width: int) -> F32:
    """Return an ellipse of any direction, semi-axes from an eighth to a half of the short side."""
    short = min(height, width)
    axes = short * rng.uniform(0.125, 0.5, 2)
    angle = rng.uniform(0, 180)
    theta = np.linspace(0, 2 * math.pi, 96, endpoint=False)
    points = np.stack([axes[0] * np.cos(theta), axes[1] * np.sin(theta)], 1)
    return _fill(_place(rng, points, math.radians(angle), height, width), height, width)


def rectangle(rng: np.random.Generator, height: int, width: int) -> F32:
    """Return a rectangle, upright in three of four cases, else turned."""
    half = np.array([width, height]) * rng.uniform(0.1, 0.45, 2)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    angle = 0.0 if rng.random() < 0.75 else rng.uniform(0, math.pi)
    return _fill(_place(rng, corners, angle, height, width), height, width)


def polygon(rng: np.random.Generator, height: int, width: int) -> F32:
    """Return a lasso of straight pieces: 3 to 9 corners around a centre, not always convex."""
    count = int(rng.integers(3, 10))
    theta = np.sort(rng.uniform(0, 2 * math.pi, count))
    radius = min(height, width) * rng.uniform(0.15, 0.55, count)
    points = np.stack([radius * np.cos(theta), radius * np.sin(theta)], 1)
    return _fill(_place(rng, points, 0.0, height, width), height, width)


def blob(rng: np.random.Generator, height: int, width: int) -> F32:
    """A smooth free-hand outline: a circle whose radius varies with a few random harmonics."""
    theta = np.linspace(0, 2 * math.pi, 128, endpoint=False)
    radius = np.ones_like(theta)
    for order in range(1, 6):
        amplitude, phase = rng.normal(0, 0.25 / order), rng.uniform(0, 2 * math.pi)
        radius += amplitude * np.cos(order * theta + phase)
    radius = np.maximum(radius, 0.15) * min(height, width) * rng.uniform(0.15, 0.45)
    points = np.stack([radius * np.cos(theta), radius * np.sin(theta)], 1)
    points *= rng.uniform(0.7, 1.4, 2)
    return _fill(_place(rng, points, 0.0, height, width), height, width)


def stroke(rng: np.random.Generator, height: int, width: int) -> F32:
    """Return a brush stroke: a smooth random walk drawn with a round brush, sometimes several."""
    mask = np.zeros((height, width), np.uint8)
    short = min(height, width)
    scale = 1 << _SHIFT
    for _ in range(int(rng.integers(1, 4))):
        position = np.array([rng.uniform(0, width), rng.uniform(0, height)])
        heading = rng.uniform(0, 2 * math.pi)
        points = [position.copy()]
        for _ in range(int(rng.integers(4, 14))):
            heading += rng.normal(0, 0.5)
            position += short * 0.08 * np.array([math.cos(heading), math.sin(heading)])
            points.append(position.copy())
        brush = max(3, round(short * rng.uniform(0.08, 0.25)))
        path = np.rint(np.array(points) * scale).astype(np.int32)
        cv2.polylines(mask, [path], False, 255, brush, cv2.LINE_AA, _SHIFT)
    return _as_float(mask)


def dark_region(rng: np.random.Generator, image: U8) -> F32:
    """Return what a photographer selects by hand or by colour: the dark parts of a blurred picture.

    Luma is blurred by 2 to 5 % of the short side and cut at a quantile between 15 and 60 %; small
    islands and holes are dropped, the three largest parts stay.

    Args:
        rng: the generator.
        image: uint8 (H, W, 3), the underexposed picture.
    """
    height, width = image.shape[:2]
    sigma = min(height, width) * rng.uniform(0.02, 0.05)
    smooth = cv2.GaussianBlur(luma(image), (0, 0), sigma)
    level = float(np.quantile(smooth, rng.uniform(0.15, 0.6)))
    dark = (smooth <= level).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(dark)
    areas = stats[1:, cv2.CC_STAT_AREA]
    keep = [1 + i for i in np.argsort(-areas)[:3] if areas[i] >= 0.01 * dark.size]
    if count <= 1 or not keep:
        return dark.astype(np.float32)
    return np.isin(labels, keep).astype(np.float32)


def silhouette(rng: np.random.Generator, outline: U8, height: int, width: int) -> F32:
    """An object's outline from a mask file, scaled to 0.4…1.3 of the image, mirrored, shifted."""
    if rng.random() < 0.5:
        outline = np.ascontiguousarray(outline[:, ::-1])
    source_height, source_width = outline.shape
    scale = rng.uniform(0.4, 1.3) * max(height / source_height, width / source_width)
    shift_x = width / 2 + rng.uniform(-0.25, 0.25) * width - scale * source_width / 2
    shift_y = height / 2 + rng.uniform(-0.25, 0.25) * height - scale * source_height / 2
    matrix = np.array([[scale, 0, shift_x], [0, scale, shift_y]])
    moved = cv2.warpAffine(outline, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return _as_float(np.asarray(moved, np.uint8))


def union(parts: Sequence[F32]) -> F32:
    """Return several selections as one, like shift-clicking in an editor."""
    return np.asarray(np.maximum.reduce(list(parts)), np.float32)


def feather(mask: F32, sigma: float) -> F32:
    """A selection with a soft edge, as an editor's feathering makes it (Gaussian, in pixels)."""
    soft = cv2.GaussianBlur(mask, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.clip(np.asarray(soft, np.float32), 0.0, 1.0)


def _place(
    rng: np.random.Generator,
    points: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    angle: float,
    height: int,
    width: int,
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    cosine, sine = math.cos(angle), math.sin(angle)
    turned: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = points @ np.array(
        [[cosine, sine], [-sine, cosine]]
    )
    turned += np.array([rng.uniform(0, width), rng.uniform(0, height)])
    return turned


def _fill(
    points: np.ndarray[tuple[int, ...], np.dtype[np.float64]], height: int, width: int
) -> F32:
    mask = np.zeros((height, width), np.uint8)
    path = np.rint(points * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(mask, [path], 255, cv2.LINE_AA, _SHIFT)
    return _as_float(mask)


def _as_float(mask: U8) -> F32:
    return mask.astype(np.float32) * np.float32(1.0 / 255.0)
