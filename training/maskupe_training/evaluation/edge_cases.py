"""Cases whose truth is known everywhere: a subject with a matte is darkened, and drawn around.

And circles, darkened too, where a photograph has no edge: there a fade belongs, and no cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from maskupe.areas.transition import auto_width
from maskupe.errors import InputError
from maskupe_training.data.images import F32, U8, fit_long_edge, list_images, read_gray, read_rgb
from maskupe_training.matte.lines import filled, normals
from maskupe_training.matte.scenes import held_out, to_encoded, to_light
from maskupe_training.progress import tracked

#: How the subject is selected; see :class:`EdgeCase`.
KINDS = ("lasso", "exact", "wide")

# How far each corner of a hand-drawn line is off, and how far outwards on average: shares of the
# square root of the picture's area, which also says how far apart corners are.
_ERROR, _OUTWARDS, _CORNER = 0.008, 0.008, 1.0 / 14.0
_FEWEST_CORNERS = 14
_LEAST_OVERLAP = 0.7
# A loop that is 40 % too wide, by the subject's longer extent.
_WIDE = 0.2
# Subjects that are too small, too large, or dark already are left out.
_LEAST_SHARE, _MOST_SHARE, _LEAST_MEAN = 0.05, 0.7, 60.0
_STOPS = (1.5, 3.5)
_CIRCLE_STOPS = 2.5
_FULL_WELL, _READ_NOISE = (4000.0, 20000.0), 2e-4
_CIRCLE_EDGE = 640
# Candidates for each circle, and how steep log light may be near its line: ratio a pixel.
_CANDIDATES, _FLAT = 400, 0.02


@dataclass(frozen=True)
class EdgeCase:
    """A darkened subject and three selections of it.

    Attributes:
        name: the folder and the picture.
        image: uint8 (H, W, 3), darkened.
        truth: uint8 (H, W, 3), as it was.
        alpha: uint8 (H, W), the subject's matte.
        selections: uint8 (H, W) by :data:`KINDS`: drawn by hand, the matte itself, and a loop that
            is 40 % too wide.
    """

    name: str
    image: U8
    truth: U8
    alpha: U8
    selections: dict[str, U8]


@dataclass(frozen=True)
class Circle:
    """A circle where a darkened photograph has no edge.

    Attributes:
        name: the picture.
        image: uint8 (H, W, 3), darkened.
        selection: uint8 (H, W).
        width: of the automatic transition, in pixels.
    """

    name: str
    image: U8
    selection: U8
    width: float


def edge_cases(
    folders: Sequence[Path], seed: int, count: int | None = None, held: bool = True
) -> Iterator[EdgeCase]:
    """Make the cases of some folders.

    Args:
        folders: each has ``image/`` and ``mask/``, files of the same stems.
        seed: decides light, noise and lines; a case does not depend on the others.
        count: so many at most, evenly spread over all pictures; all if None.
        held: only pictures that no training of the matting network sees.

    Raises:
        InputError: if there are no pictures.
    """
    found = []
    for folder in folders:
        masks = {path.stem: path for path in list_images(folder / "mask")}
        for path in list_images(folder / "image"):
            if path.stem in masks and (held_out(path.stem) or not held):
                found.append((f"{folder.name}/{path.stem}", path, masks[path.stem]))
    if not found:
        raise InputError(
            f"No picture of {', '.join(map(str, folders))} can be measured on.",
            "Give folders with image/ and mask/, or --all.",
        )
    if count is not None and count < len(found):
        chosen = np.linspace(0, len(found) - 1, count).round().astype(int)
        found = [found[at] for at in chosen]
    for name, path, mask in tracked(found, len(found), "outlines"):
        case = _case(name, read_rgb(path), read_gray(mask), _generator(seed, name))
        if case is not None:
            yield case


def _generator(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, *name.encode()])


def _case(name: str, truth: U8, mask: U8, rng: np.random.Generator) -> EdgeCase | None:
    """None where the picture is not fit for a case."""
    if mask.shape != truth.shape[:2]:
        return None
    alpha = mask.astype(np.float32) / np.float32(255.0)
    if np.mean((alpha > 0.02) & (alpha < 0.98)) < 0.001:
        hard = (alpha > 0.5).astype(np.float32)
        alpha = np.asarray(cv2.GaussianBlur(hard, (0, 0), 1.2), np.float32)
    subject = (alpha > 0.5).astype(np.uint8)
    if not _LEAST_SHARE < float(subject.mean()) < _MOST_SHARE:
        return None
    if not (alpha > 0.95).any() or float(truth[alpha > 0.95].mean()) < _LEAST_MEAN:
        return None
    image = _darkened(rng, truth, alpha * np.float32(-rng.uniform(*_STOPS)))
    line = hand_drawn(rng, subject, _OUTWARDS)
    both = np.count_nonzero((line > 0) & (subject > 0))
    if both < _LEAST_OVERLAP * np.count_nonzero((line > 0) | (subject > 0)):
        return None
    codes = np.asarray(np.rint(alpha * 255), np.uint8)
    selections = {"lasso": line, "exact": codes, "wide": wide_loop(rng, subject)}
    return EdgeCase(name, image, truth, codes, selections)


def _darkened(rng: np.random.Generator, picture: U8, stops: F32) -> U8:
    """Take light away in linear light, then the sensor's noise and 8 bits.

    Args:
        rng: the generator.
        picture: uint8 (H, W, 3).
        stops: float32 (H, W), the exposure in EV.
    """
    light = to_light(picture) * np.exp2(stops)[..., None]
    full_well = np.float32(rng.uniform(*_FULL_WELL))
    deviation = np.sqrt(light / full_well + np.float32(_READ_NOISE**2))
    return to_encoded(light + rng.standard_normal(light.shape, np.float32) * deviation)


def hand_drawn(rng: np.random.Generator, subject: U8, outwards: float) -> U8:
    """Draw a polygon around a subject as with the free select tool: uint8 (H, W), 0 or 255.

    Args:
        rng: the generator.
        subject: uint8 (H, W), 0 or 1.
        outwards: how far corners are off on average, as a share of the picture's size.
    """
    size = subject.size**0.5
    found, _ = cv2.findContours(subject, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(found, key=cv2.contourArea)[:, 0].astype(np.float32)
    corners = max(_FEWEST_CORNERS, len(outline) // max(8, int(size * _CORNER)))
    points = outline[np.linspace(0, len(outline) - 1, corners, endpoint=False).astype(int)]
    off = rng.normal(outwards * size, _ERROR * size, (corners, 1)).astype(np.float32)
    return filled(points + normals(points) * off, subject.shape, smooth=False)


def wide_loop(rng: np.random.Generator, subject: U8) -> U8:
    """Draw a loop that is 40 % too wide: uint8 (H, W), 0 or 255."""
    rows, columns = (np.flatnonzero(subject.any(axis)) for axis in (1, 0))
    extent = max(int(np.ptp(rows)), int(np.ptp(columns))) + 1
    away = cv2.distanceTransform(1 - subject, cv2.DIST_L2, 5)
    return hand_drawn(rng, (away <= _WIDE * extent).astype(np.uint8), 0.0)


def circles(folder: Path, seed: int, count: int, held: bool = True) -> list[Circle]:
    """Find circles in whose neighbourhood photographs have no edge.

    Args:
        folder: photographs.
        seed: decides where they are looked for, and the noise.
        count: so many at most, no more than one in a photograph.
        held: only photographs that no training of the matting network sees.
    """
    found: list[Circle] = []
    for path in list_images(folder):
        if len(found) == count:
            break
        if held and not held_out(path.stem):
            continue
        circle = _flat_circle(_generator(seed, path.stem), path.stem, read_rgb(path))
        if circle is not None:
            found.append(circle)
    return found


def _flat_circle(rng: np.random.Generator, name: str, photo: U8) -> Circle | None:
    photo = fit_long_edge(photo, _CIRCLE_EDGE)
    height, width = photo.shape[:2]
    size = (height * width) ** 0.5
    blurred = cv2.GaussianBlur(photo, (0, 0), 2.0).astype(np.float32).mean(2)
    light = np.log(blurred + np.float32(4.0))
    slope = np.hypot(
        cv2.Sobel(light, cv2.CV_32F, 1, 0, scale=0.125),
        cv2.Sobel(light, cv2.CV_32F, 0, 1, scale=0.125),
    )
    y, x = np.mgrid[:height, :width].astype(np.float32)
    best, chosen = _FLAT, None
    for _ in range(_CANDIDATES):
        radius = rng.uniform(0.06, 0.14) * size
        band = auto_width(round(np.pi * radius**2), min(height, width))
        reach = radius + 1.5 * band
        if 2 * reach >= min(height, width):
            continue
        centre = rng.uniform(reach, width - reach), rng.uniform(reach, height - reach)
        part = tuple(slice(max(0, int(at - reach)), int(at + reach) + 1) for at in centre[::-1])
        away = np.abs(np.hypot(y[part] - centre[1], x[part] - centre[0]) - radius)
        worst = float(slope[part][away < 1.5 * band].max())
        if worst < best:
            best, chosen = worst, (centre, radius, band)
    if chosen is None:
        return None
    centre, radius, band = chosen
    selection = np.where(np.hypot(y - centre[1], x - centre[0]) <= radius, np.uint8(255), 0)
    stops = np.full((height, width), -_CIRCLE_STOPS, np.float32)
    return Circle(name, _darkened(rng, photo, stops), np.asarray(selection, np.uint8), band)
