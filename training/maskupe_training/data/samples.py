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

from maskupe_training.data.images import F32, U8
from maskupe_training.data.sources import Exposure, Source
from maskupe_training.data.truth import local_truth
from maskupe_training.masks.sampler import Drawn, MaskSampler


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
        exposure = augment(rng, source.draw(rng), self._augmentation)
        return compose(exposure, self._masks.draw(rng, exposure.image))


def augment(rng: np.random.Generator, exposure: Exposure, how: Augmentation) -> Exposure:
    """The same crop, scaling, mirroring and turn for the input and all candidates."""
    height, width = exposure.image.shape[:2]
    keep = rng.uniform(how.crop, 1.0, 2)
    rows, columns = max(1, round(height * keep[0])), max(1, round(width * keep[1]))
    top = int(rng.integers(height - rows + 1))
    left = int(rng.integers(width - columns + 1))
    mirrored = how.mirror and rng.random() < 0.5
    turns = int(rng.integers(4)) if how.turn else 0
    # Averaging matters only for a real reduction; bilinear is several times faster near 1:1.
    shrinks = min(rows, columns) > 1.5 * how.size
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR

    def apply(picture: U8) -> U8:
        part = picture[top : top + rows, left : left + columns]
        if part.shape[:2] != (how.size, how.size):
            part = np.asarray(
                cv2.resize(part, (how.size, how.size), interpolation=interpolation), np.uint8
            )
        if mirrored:
            part = part[:, ::-1]
        return np.ascontiguousarray(np.rot90(part, turns))

    return Exposure(
        exposure.name,
        apply(exposure.image),
        tuple(apply(picture) for picture in exposure.candidates),
        exposure.fixed,
    )


def truth_of(exposure: Exposure, drawn: Drawn) -> U8:
    """The truth inside A: the reference where there is one, else the local truth."""
    if exposure.fixed:
        return exposure.candidates[0]
    return local_truth(exposure.image, exposure.candidates, drawn.areas.a)


def compose(exposure: Exposure, drawn: Drawn) -> Sample:
    """Puts the truth into A and leaves the input in C; in B the two are blended by the weight."""
    image = exposure.image.astype(np.float32) / np.float32(255.0)
    truth = truth_of(exposure, drawn).astype(np.float32) / np.float32(255.0)
    target = image + drawn.areas.weight[..., None] * (truth - image)
    return Sample(
        np.ascontiguousarray(image.transpose(2, 0, 1)),
        drawn.areas.channels(),
        np.ascontiguousarray(target.transpose(2, 0, 1)),
    )
