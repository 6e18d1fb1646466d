"""Samples: a picture, a selection's areas and a target, each a pure function of seed and index.

Nothing here has a state that moves: sample i of seed s is always the same, whichever process,
worker or resumed run asks for it. That is what makes a resumed training bit-equal to one that was
never interrupted, and two processes equal to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from maskupe_training.data.images import F32, U8, Bool
from maskupe_training.data.sources import Exposure, Source
from maskupe_training.data.truth import best_candidate, local_truth
from maskupe_training.masks.sampler import Drawn, MaskSampler

# Which frame is best exposed in A is a question of means: one pixel in 4 × 4 answers it.
_GLIMPSE = 4


@dataclass(frozen=True)
class Sample:
    """One training sample.

    Attributes:
        image: float32 (3, H, W), display-encoded, 0…1.
        areas: float32 (2, H, W), 0 or 1: A and B.
        target: float32 (3, H, W): the local truth in A, the input in C, blended in B.
    """

    image: F32
    areas: F32
    target: F32


@dataclass(frozen=True)
class Augmentation:
    """What may be done to a picture before it is used.

    Attributes:
        size: height and width in pixels of what comes out; the picture is squashed to it, as the
            context is when serving.
        crop: smallest share of each side that a random crop keeps; 1 crops nothing.
        mirror: whether half of the pictures are mirrored.
        turn: whether pictures are turned by multiples of 90°.
    """

    size: int = 256
    crop: float = 0.7
    mirror: bool = True
    turn: bool = False


class SampleSet:
    """An endless list of samples (a map-style data set of ``length`` samples for a DataLoader)."""

    def __init__(
        self,
        sources: Sequence[tuple[Source, float]],
        masks: MaskSampler,
        augmentation: Augmentation,
        seed: int,
        length: int,
    ) -> None:
        self._sources = [source for source, _ in sources]
        shares = np.array([share for _, share in sources], float)
        self._shares = shares / shares.sum()
        self._masks = masks
        self._augmentation = augmentation
        self._seed = seed
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, F32]:
        """Sample ``index`` as a dictionary of arrays, which the DataLoader stacks to tensors."""
        sample = self.sample(index)
        return {"image": sample.image, "areas": sample.areas, "target": sample.target}

    def sample(self, index: int) -> Sample:
        """Sample ``index``: a pure function of the seed and the index."""
        rng = np.random.default_rng([self._seed, index])
        source = self._sources[rng.choice(len(self._sources), p=self._shares)]
        exposure = source.draw(rng)
        view = draw_view(rng, exposure.image, self._augmentation)
        image = view.of(exposure.image)
        drawn = self._masks.draw(rng, image)
        return compose(image, view.of(_truth_in_view(exposure, view, drawn.areas.a)), drawn)


@dataclass(frozen=True)
class View:
    """One way to look at a scene, the same for its input and all candidates.

    Attributes:
        rows: the rows of the crop.
        columns: the columns of the crop.
        size: height and width in pixels of what comes out.
        mirrored: whether left and right are swapped.
        turns: how many times it is turned by 90°, counterclockwise.
    """

    rows: slice
    columns: slice
    size: int
    mirrored: bool = False
    turns: int = 0

    def of(self, picture: U8) -> U8:
        """The picture in this view, uint8 (size, size, 3)."""
        part = picture[self.rows, self.columns]
        # Averaging matters only for a real reduction; bilinear is several times faster near 1:1.
        shrinks = min(part.shape[:2]) > 1.5 * self.size
        return self._resized(part, self.size, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)

    def glimpse(self, picture: U8) -> U8:
        """Every few pixels of :meth:`of`, without the cost of the others."""
        part = picture[self.rows, self.columns]
        return self._resized(part, self.size // _GLIMPSE, cv2.INTER_NEAREST)

    def _resized(self, part: U8, size: int, interpolation: int) -> U8:
        if part.shape[:2] != (size, size):
            part = np.asarray(cv2.resize(part, (size, size), interpolation=interpolation), np.uint8)
        if self.mirrored:
            part = np.asarray(cv2.flip(part, 1), np.uint8)
        return np.ascontiguousarray(np.rot90(part, self.turns)) if self.turns else part


def draw_view(rng: np.random.Generator, image: U8, how: Augmentation) -> View:
    """A random crop, mirroring and turn of a picture."""
    height, width = image.shape[:2]
    keep = rng.uniform(how.crop, 1.0, 2)
    rows, columns = max(1, round(height * keep[0])), max(1, round(width * keep[1]))
    top = int(rng.integers(height - rows + 1))
    left = int(rng.integers(width - columns + 1))
    mirrored = bool(how.mirror and rng.random() < 0.5)
    turns = int(rng.integers(4)) if how.turn else 0
    return View(slice(top, top + rows), slice(left, left + columns), how.size, mirrored, turns)


def squashed(exposure: Exposure, size: int) -> Exposure:
    """The whole scene, squashed to a square as the context is when serving."""
    view = View(slice(None), slice(None), size)
    candidates = tuple(view.of(picture) for picture in exposure.candidates)
    return Exposure(exposure.name, view.of(exposure.image), candidates, exposure.fixed)


def truth_of(exposure: Exposure, drawn: Drawn) -> U8:
    """The truth inside A: the reference where there is one, else the local truth."""
    if exposure.fixed:
        return exposure.candidates[0]
    return local_truth(exposure.image, exposure.candidates, drawn.areas.a)


def _truth_in_view(exposure: Exposure, view: View, a: Bool) -> U8:
    """As :func:`truth_of`, not yet in the view: the choice is made on every few pixels of A."""
    if exposure.fixed:
        return exposure.candidates[0]
    seen = a[_GLIMPSE // 2 :: _GLIMPSE, _GLIMPSE // 2 :: _GLIMPSE]
    few = seen.any() and view.size % _GLIMPSE == 0
    look = view.glimpse if few else view.of
    candidates = [look(picture) for picture in exposure.candidates]
    best = best_candidate(look(exposure.image), candidates, seen if few else a)
    return exposure.image if best is None else exposure.candidates[best]


def compose(image: U8, truth: U8, drawn: Drawn) -> Sample:
    """Puts the truth into A and leaves the input in C; in B the two are blended by the weight."""
    before, after = (
        np.ascontiguousarray(picture.transpose(2, 0, 1)).astype(np.float32) / np.float32(255.0)
        for picture in (image, truth)
    )
    target = before + drawn.areas.weight * (after - before)
    return Sample(before, drawn.areas.channels(), target)
