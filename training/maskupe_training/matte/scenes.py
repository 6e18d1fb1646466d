"""Scenes with a subject whose matte is known, darker (or lighter) than what is behind it.

Subjects are cut-outs put onto photographs, or persons with a mask in photographs of their own; now
and then a part of a background that has an outline of its own. Light is taken away through the
matte in linear light, then the sensor's noise, 8 bits and often a JPEG follow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskupe.errors import InputError
from maskupe.matting.matte import guided_coefficients
from maskupe.preprocess.srgb import decode_srgb, encode_srgb
from maskupe_training.data.images import F32, U8, fit_long_edge, list_images, read_rgb

_LONG_EDGE = 512
_ROOTS = 4096

_LIGHT = decode_srgb(np.arange(256) / 255.0).astype(np.float32)
_roots = np.linspace(0.0, 1.0, _ROOTS) ** 2
_ENCODED = encode_srgb(_roots).astype(np.float32) * np.float32(255.0)


@dataclass(frozen=True)
class Cutout:
    """A subject: uint8 (H, W, 3) and its matte uint8 (H, W)."""

    colour: U8
    alpha: U8


@dataclass(frozen=True)
class Scene:
    """A picture with its subject.

    Attributes:
        image: uint8 (S, S, 3), as taken.
        alpha: float32 (S, S), the matte of the subject; None where there is none.
    """

    image: U8
    alpha: F32 | None


def to_light(image: U8) -> F32:
    """Return linear light 0…1 of sRGB-encoded uint8."""
    return np.asarray(_LIGHT[image], np.float32)


def to_encoded(light: F32) -> U8:
    """Return the inverse of :func:`to_light`, clipped and rounded."""
    index = np.sqrt(np.clip(light, 0.0, 1.0)) * np.float32(_ROOTS - 1)
    return np.asarray(np.rint(_ENCODED[index.astype(np.int32)]), np.uint8)


def read_cutouts(folder: Path, names: Sequence[str] | None = None) -> list[Cutout]:
    """Return the RGBA pictures of a folder (those whose stem is in ``names``, if given)."""
    found = []
    for path in list_images(folder):
        if names is not None and path.stem not in names:
            continue
        raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if raw is None or raw.ndim != 3 or raw.shape[2] != 4:
            raise InputError(f"{path} has no alpha channel.", "Cut-outs are RGBA pictures.")
        alpha = np.asarray(raw[..., 3], np.uint8)
        if 0.01 < (alpha > 127).mean() < 0.97:
            colour = np.ascontiguousarray(raw[..., 2::-1], np.uint8)
            found.append(Cutout(_bleed(colour, alpha), alpha))
    return found


def _bleed(colour: U8, alpha: U8) -> U8:
    """Colours of nearly transparent pixels, which files may hold as black, from others nearby."""
    known = (alpha > 200).astype(np.float32)
    result = colour.astype(np.float32)
    for sigma in (2.0, 8.0, 32.0):
        weight = cv2.GaussianBlur(known, (0, 0), sigma)
        blurred = cv2.GaussianBlur(result * known[..., None], (0, 0), sigma)
        usable = (weight > 1e-2) & (known == 0)
        result[usable] = blurred[usable] / weight[usable][:, None]
        known = np.maximum(known, usable.astype(np.float32))
    mix = np.clip(alpha.astype(np.float32) / 200.0, 0, 1)[..., None]
    return np.asarray(np.rint(mix * colour + (1 - mix) * result), np.uint8)


def held_out(stem: str) -> bool:
    """Return whether a picture belongs to the tenth that is never trained on, by its file name."""
    return int.from_bytes(hashlib.sha256(stem.encode()).digest()[:4], "big") % 10 == 0


def read_masked(folder: Path) -> list[tuple[U8, U8]]:
    """Return the pictures of ``image/`` that are not held out, with their masks of ``mask/``.

    Each is uint8, (H, W, 3) and (H, W).
    """
    masks = {path.stem: path for path in list_images(folder / "mask")}
    found = []
    for path in list_images(folder / "image"):
        if path.stem not in masks or held_out(path.stem):
            continue
        image, mask = read_rgb(path), cv2.imread(str(masks[path.stem]), cv2.IMREAD_GRAYSCALE)
        if mask is None or mask.shape != image.shape[:2] or not 0.02 < (mask > 127).mean() < 0.8:
            continue
        alpha = np.asarray(mask, np.uint8)
        if ((alpha > 5) & (alpha < 250)).mean() < 0.001:
            hard = np.where(alpha > 127, np.uint8(255), np.uint8(0))
            alpha = np.asarray(cv2.GaussianBlur(hard, (0, 0), 1.2), np.uint8)
        found.append(
            (fit_long_edge(image, _LONG_EDGE), fit_long_edge(np.asarray(alpha), _LONG_EDGE))
        )
    return found


def warp(
    image: U8,
    side: int,
    centre: tuple[float, float],
    extent: tuple[float, float],
    target: tuple[float, float],
    mirror: bool,
    angle: float = 0.0,
    border: int = cv2.BORDER_CONSTANT,
) -> U8:
    """Move a picture so that a box of it (centre, extent) has a centre and extent in the target.

    Args:
        image: uint8 (h, w[, c]).
        side: of the square result.
        centre: (x, y) of the box in the picture.
        extent: its width and height there.
        target: width and height of the box in the result, whose centre it gets.
        mirror: left and right exchanged.
        angle: in radians.
        border: OpenCV's rule for what lies outside.
    """
    sx, sy = target[0] / extent[0] * (-1 if mirror else 1), target[1] / extent[1]
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([sx, sy])
    matrix = np.hstack([linear, (side / 2 - linear @ np.array(centre))[:, None]])
    shrink = min(abs(sx), sy)
    if shrink < 0.5:  # OpenCV's linear interpolation would alias
        sigma = 0.35 / shrink
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    return np.asarray(
        cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border),
        np.uint8,
    )


def background(
    rng: np.random.Generator, photos: Sequence[U8], side: int, blurred: float = 0.35
) -> U8:
    """Return a random square part of a random photograph; a share of them is out of focus."""
    photo = photos[int(rng.integers(len(photos)))]
    height, width = photo.shape[:2]
    size = round(min(height, width) * rng.uniform(0.3, 1.0))
    y, x = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
    part = photo[y : y + size, x : x + size]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    method = cv2.INTER_AREA if size > side else cv2.INTER_CUBIC
    result = cv2.resize(np.ascontiguousarray(part), (side, side), interpolation=method)
    if rng.random() < blurred:
        result = cv2.GaussianBlur(result, (0, 0), rng.uniform(1.0, 6.0))
    return np.asarray(result, np.uint8)


def recolour(rng: np.random.Generator, colour: F32, weight: F32, behind: F32) -> F32:
    """Move a subject's colours towards those behind it, or hue alone would give it away."""
    few, share = colour[::4, ::4].reshape(-1, 3), weight[::4, ::4].ravel()
    total = float(share.sum()) + 1e-6
    mean = share @ few / total
    spread = np.sqrt(share @ (few - mean) ** 2 / total) + 1.0
    around = behind[::4, ::4].reshape(-1, 3)
    wanted, wanted_spread = around.mean(0), around.std(0) + 1.0
    moved = (colour - mean) * np.clip(wanted_spread / spread, 0.5, 2.0) + wanted
    strength = np.float32(rng.uniform(0.4, 1.0))
    return np.asarray(np.clip(colour + strength * (moved - colour), 0, 255), np.float32)


def regions_of(rng: np.random.Generator, image: U8) -> F32 | None:
    """Return the soft outline of a part of a picture that differs from the rest.

    None if there is none.
    """
    side = image.shape[0]
    small = cv2.resize(image, (96, 96), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(cv2.GaussianBlur(small, (0, 0), 1.5), cv2.COLOR_RGB2LAB).astype(np.float32)
    count = int(rng.integers(2, 5))
    features = lab.reshape(-1, 3) * np.array([1.0, 1.5, 1.5], np.float32)
    start: Any = None  # the stubs do not know that there may be no labels to begin with
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 8, 1.0)
    cv2.setRNGSeed(int(rng.integers(1 << 30)))
    _, labels, _ = cv2.kmeans(features, count, start, criteria, 1, cv2.KMEANS_PP_CENTERS)
    chosen = (labels.reshape(96, 96) == int(rng.integers(count))).astype(np.uint8)
    chosen = cv2.morphologyEx(chosen, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    number, parts, stats, _ = cv2.connectedComponentsWithStats(chosen)
    if number < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    if not 0.06 < stats[largest, cv2.CC_STAT_AREA] / chosen.size < 0.65:
        return None
    mask = (parts == largest).astype(np.float32)
    half = (side // 2, side // 2)
    mask = cv2.resize(cv2.GaussianBlur(mask, (0, 0), 0.8), half, interpolation=cv2.INTER_LINEAR)
    guide = np.log2(1.0 + image.astype(np.float32)) / 8.0
    coarse = np.asarray(cv2.resize(guide, half, interpolation=cv2.INTER_AREA), np.float32)
    a, b = guided_coefficients(np.asarray(mask, np.float32), coarse, max(2, side // 80), 1e-4)
    whole = (side, side)
    alpha = (cv2.resize(a, whole) * guide).sum(-1) + cv2.resize(b, whole)
    return np.asarray(np.clip((alpha - 0.2) / 0.6, 0.0, 1.0), np.float32)


def expose(rng: np.random.Generator, image: U8, weight: F32, noise: F32) -> U8:
    """Take light away (or gives some) through a weight, then noise, 8 bits and often a JPEG.

    Args:
        rng: the generator.
        image: uint8 (S, S, 3).
        weight: float32 (S, S), 0…1.
        noise: float32 of standard normal numbers, at least (S, S, 3), reused at random offsets.
    """
    side = image.shape[0]
    stops = -rng.uniform(0.3, 4.0) if rng.random() < 0.85 else rng.uniform(0.1, 1.2)
    overall = -rng.uniform(0.0, 2.5) if rng.random() < 0.4 else 0.0
    cast = rng.normal(0.0, 0.12, 3).astype(np.float32)
    gains = np.exp2(stops * weight[..., None] + overall + cast * weight[..., None])
    light = to_light(image) * gains.astype(np.float32)
    full_well, read = np.exp(rng.uniform(np.log(2500.0), np.log(40000.0))), rng.uniform(1e-4, 6e-4)
    y, x = (int(rng.integers(noise.shape[i] - side + 1)) for i in (0, 1))
    grain = noise[y : y + side, x : x + side] * np.sqrt(
        light / np.float32(full_well) + np.float32(read**2)
    )
    result = to_encoded(light + grain)
    if rng.random() < 0.35:
        quality = int(rng.integers(60, 97))
        _, data = cv2.imencode(".jpg", result, [cv2.IMWRITE_JPEG_QUALITY, quality])
        result = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return result
