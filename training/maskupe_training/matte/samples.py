"""Samples of the matting network: each a pure function of the seed and its number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from maskupe.areas.transition import smoothstep
from maskupe.matting.matte import DISTANCE_RANGE, signed_distance
from maskupe.matting.surroundings import MATTE_SIZE
from maskupe_training.data.images import F32, U8
from maskupe_training.matte import scenes
from maskupe_training.matte.lines import draw_line, free_selection

_NOISE_SIDE = 640
# Shares of scenes with a subject put into them, and with one of their own; the rest has none.
_COMPOSED, _SEGMENTED = 0.5, 0.14
# A line that runs deeper than this inside the subject has no edge to follow: shares of the side.
_CUT_FROM, _CUT_TO = 0.05, 0.10
# Background this far from any subject has none.
_FAR_FROM, _FAR_TO = 0.24, 0.34


@dataclass(frozen=True)
class Material:
    """What scenes are made of.

    Attributes:
        cutouts: subjects to be put onto backgrounds.
        masked: photographs with the mask of their own subject.
        photos: backgrounds, uint8 (h, w, 3).
        masked_share: how often a photograph with its own subject is taken, where there are any.
    """

    cutouts: Sequence[scenes.Cutout]
    photos: Sequence[U8]
    masked: Sequence[tuple[U8, U8]] = field(default=())
    masked_share: float = 0.6


class MatteSamples:
    """A map-style data set of ``length`` samples, dictionaries of uint8 arrays.

    ``image`` (3, S, S); ``planes`` (2, S, S): selection and signed distance (0…255 for -1…1);
    ``truth`` (4, S, S): matte, open, exact and the fade by distance; ``weight`` (2, S, S): how much
    the matte and the composed result count.
    """

    def __init__(self, material: Material, seed: int, length: int, side: int = MATTE_SIZE) -> None:
        self._material, self._seed, self._length, self._side = material, seed, length, side
        size = (_NOISE_SIDE, _NOISE_SIDE, 3)
        self._noise = np.random.default_rng(seed).standard_normal(size, np.float32)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, U8]:
        for attempt in range(20):
            rng = np.random.default_rng([self._seed, index, attempt])
            found = self._draw(rng)
            if found is not None:
                return found
        raise RuntimeError(f"Sample {index} cannot be drawn.")  # pragma: no cover

    def _draw(self, rng: np.random.Generator) -> dict[str, U8] | None:
        kind = rng.random()
        if kind < _COMPOSED:
            scene = self._composed(rng)
        elif kind < _COMPOSED + _SEGMENTED:
            scene = self._segmented(rng)
        else:
            scene = self._plain(rng)
        if scene is None:
            return None
        exact = False
        if scene.alpha is None:
            selection = self._free_selection(rng)
            alpha = None
        else:
            alpha = scene.alpha
            line = draw_line(rng, alpha)
            if line is None:
                return None
            selection, exact = line.selection, line.exact
            if not exact and rng.random() < 0.15:
                # A line through the subject, as around a face only: no edge to follow there.
                selection = np.minimum(selection, _half_plane(rng, alpha))
            elif not exact and rng.random() < 0.04:
                selection = np.maximum(selection, free_selection(rng, self._side, self._side))
            if rng.random() < 0.13:
                selection, alpha = 1.0 - selection, 1.0 - alpha
        selected = selection >= 0.5
        if not 0.02 < selected.mean() < 0.93:
            return None
        return self._sample(rng, scene.image, selection.astype(np.float32), alpha, exact)

    def _composed(self, rng: np.random.Generator) -> scenes.Scene | None:
        found = self.compose(rng, rng.uniform(0.45, 0.85))
        if found is None:
            return None
        picture, matte = found
        return scenes.Scene(scenes.expose(rng, picture, matte, self._noise), matte)

    def compose(self, rng: np.random.Generator, share: float) -> tuple[U8, F32] | None:
        """Return a picture uint8 (S, S, 3) with a subject and its matte float32 (S, S).

        Args:
            rng: the generator.
            share: of the side that the subject's longer extent takes.

        Returns:
            None where the subject that was drawn cannot be placed.
        """
        material, side = self._material, self._side
        size = share * side
        if material.masked and rng.random() < material.masked_share:
            photo, outline = material.masked[int(rng.integers(len(material.masked)))]
            placed = _place(rng, photo, outline, side, size, border=cv2.BORDER_REPLICATE)
            if placed is None:
                return None
            return placed[0], placed[1].astype(np.float32) / np.float32(255.0)
        behind = scenes.background(rng, material.photos, side)
        picture = behind.astype(np.float32)
        matte: F32 = np.zeros((side, side), np.float32)
        subjects = 1 + int(rng.random() < 0.2)
        for number in range(subjects):
            cutout = material.cutouts[int(rng.integers(len(material.cutouts)))]
            reduced = size * (1.0 if number == 0 else rng.uniform(0.3, 0.8))
            shift = None if number == 0 else rng.uniform(-0.5, 0.5, 2)
            placed = _place(rng, cutout.colour, cutout.alpha, side, reduced, shift)
            if placed is None:
                return None
            alpha = placed[1].astype(np.float32) / np.float32(255.0)
            if rng.random() < 0.3:
                blurred = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.5, 2.0))
                alpha = np.asarray(blurred, np.float32)
            colour = placed[0].astype(np.float32)
            if rng.random() < 0.5:
                colour = scenes.recolour(rng, colour, alpha, picture)
            if number == 1 and rng.random() < 0.7:
                # Another one in the background, which was not selected, behind the first.
                alpha_front = matte
                picture += (alpha * (1 - alpha_front))[..., None] * (colour - picture)
            else:
                # Blended in light, as optics do, or the edge would be told by its arithmetic.
                light = scenes.to_light(np.rint(picture).astype(np.uint8))
                subject = scenes.to_light(np.rint(colour).astype(np.uint8))
                mixed = light + alpha[..., None] * (subject - light)
                picture = scenes.to_encoded(mixed).astype(np.float32)
                matte = np.maximum(matte, alpha) if number else alpha
        return np.rint(picture).astype(np.uint8), matte

    def _segmented(self, rng: np.random.Generator) -> scenes.Scene | None:
        behind = scenes.background(rng, self._material.photos, self._side)
        alpha = scenes.regions_of(rng, behind)
        if alpha is None:
            return None
        return scenes.Scene(scenes.expose(rng, behind, alpha, self._noise), alpha)

    def _plain(self, rng: np.random.Generator) -> scenes.Scene:
        behind = scenes.background(rng, self._material.photos, self._side, blurred=0.1)
        weight = np.ones((self._side, self._side), np.float32)
        return scenes.Scene(scenes.expose(rng, behind, weight, self._noise), None)

    def _free_selection(self, rng: np.random.Generator) -> F32:
        """A selection that follows nothing: of any shape, now and then that of another subject."""
        side = self._side
        if rng.random() < 0.25:
            cutout = self._material.cutouts[int(rng.integers(len(self._material.cutouts)))]
            size = rng.uniform(0.45, 0.9) * side
            placed = _place(rng, cutout.colour, cutout.alpha, side, size)
            if placed is not None:
                return (placed[1] > 127).astype(np.float32)
        selection = free_selection(rng, side, side)
        if rng.random() < 0.2:
            selection = np.maximum(selection, free_selection(rng, side, side))
        return selection

    def _sample(
        self, rng: np.random.Generator, image: U8, selection: F32, alpha: F32 | None, exact: bool
    ) -> dict[str, U8]:
        side = self._side
        distance = signed_distance(selection)
        width = float(np.exp(rng.uniform(np.log(0.012), np.log(0.12)))) * side
        fade = smoothstep((1.0 + distance / np.float32(width)).astype(np.float32))
        fade = np.where(selection >= 0.5, np.float32(1.0), fade)
        if rng.random() < 0.2:
            fade = smoothstep((0.5 + distance / np.float32(width)).astype(np.float32))
        near = np.exp(-np.square(distance / np.float32(0.12 * side)))
        if alpha is None:
            opened, matte = np.ones_like(fade), np.ones_like(fade)
            matte_weight = (fade > 0.02).astype(np.float32) * 0.7
        else:
            opened = _open(selection, alpha)
            matte = alpha
            matte_weight = np.full_like(fade, 0.6) + near
        truth = np.stack([matte, opened, np.full_like(fade, float(exact)), fade])
        weight = np.stack([matte_weight / 2.0, 0.25 + 0.75 * near])
        planes = np.stack([selection * 2.0 - 1.0, np.clip(distance / DISTANCE_RANGE, -1.0, 1.0)])
        return {
            "image": np.ascontiguousarray(image.transpose(2, 0, 1)),
            "planes": _quantised(planes * 0.5 + 0.5),
            "truth": _quantised(truth),
            "weight": _quantised(weight),
        }


def _quantised(planes: np.ndarray[Any, Any]) -> U8:
    return np.asarray(np.rint(np.clip(planes, 0.0, 1.0) * 255.0), np.uint8)


def _place(
    rng: np.random.Generator,
    colour: U8,
    alpha: U8,
    side: int,
    size: float,
    shift: np.ndarray[tuple[int, ...], np.dtype[np.float64]] | None = None,
    border: int = cv2.BORDER_CONSTANT,
) -> tuple[U8, U8] | None:
    """A subject scaled so that its longer extent is about ``size``, in the middle or shifted."""
    rows, columns = np.flatnonzero((alpha > 127).any(1)), np.flatnonzero((alpha > 127).any(0))
    if rows.size < 8 or columns.size < 8:
        return None
    extent = (float(np.ptp(columns)), float(np.ptp(rows)))
    centre = (float(columns.mean()), float(rows.mean()))
    scale = size / max(extent)
    stretch = float(np.exp(rng.uniform(-0.35, 0.35)))
    target = (extent[0] * scale * stretch, extent[1] * scale / stretch)
    jitter = rng.normal(0.0, 0.06, 2) if shift is None else shift
    if shift is None and rng.random() < 0.2:  # partly outside, as many subjects are
        jitter = rng.uniform(-0.3, 0.3, 2)
        target = (target[0] * 1.3, target[1] * 1.3)
    centre = (centre[0] - jitter[0] * side / target[0] * extent[0],
              centre[1] - jitter[1] * side / target[1] * extent[1])  # fmt: skip
    mirror, angle = bool(rng.random() < 0.5), float(rng.normal(0.0, 0.12))
    moved = [
        scenes.warp(plane, side, centre, extent, target, mirror, angle, rule)
        for plane, rule in ((colour, border), (alpha, cv2.BORDER_CONSTANT))
    ]
    return moved[0], moved[1]


def _half_plane(rng: np.random.Generator, alpha: F32) -> F32:
    """Return one side of a straight or bent line through the subject."""
    ys, xs = np.nonzero(alpha > 0.5)
    if xs.size == 0:
        return np.ones_like(alpha)
    at = int(rng.integers(xs.size))
    angle = rng.uniform(0.0, 2.0 * np.pi)
    side = alpha.shape[0]
    y, x = np.mgrid[:side, :side].astype(np.float32)
    along = (x - xs[at]) * np.cos(angle) + (y - ys[at]) * np.sin(angle)
    across = (x - xs[at]) * -np.sin(angle) + (y - ys[at]) * np.cos(angle)
    bent = along + rng.normal(0.0, 0.4) / side * across**2
    return np.asarray(np.clip(bent + 0.5, 0.0, 1.0), np.float32)


def _open(selection: F32, alpha: F32) -> F32:
    """Where the line has no edge to follow, (S, S): 1 beside one deep in the subject or far off."""
    side = alpha.shape[0]
    selected = (selection >= 0.5).astype(np.uint8)
    line = cv2.morphologyEx(selected, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    subject = (alpha > 0.5).astype(np.uint8)
    if not line.any() or not subject.any() or subject.all():
        return np.zeros_like(alpha)
    inside = cv2.distanceTransform(subject, cv2.DIST_L2, 5) / side
    outside = cv2.distanceTransform(1 - subject, cv2.DIST_L2, 5) / side
    cut = np.clip((inside - _CUT_FROM) / (_CUT_TO - _CUT_FROM), 0.0, 1.0)
    far = np.clip((outside - _FAR_FROM) / (_FAR_TO - _FAR_FROM), 0.0, 1.0)
    value = np.maximum(cut, far).astype(np.float32)
    _, labels = cv2.distanceTransformWithLabels(
        1 - line, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros(int(labels.max()) + 1, np.float32)
    table[labels[line > 0]] = value[line > 0]
    return np.asarray(cv2.GaussianBlur(table[labels], (0, 0), 0.015 * side), np.float32)
