"""Samples: a picture, a selection's areas and a target, each a pure function of seed and index.

Nothing here has a state that moves: sample i of seed s is always the same, whichever process,
worker or resumed run asks for it. That is what makes a resumed training bit-equal to one that was
never interrupted, and two processes equal to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maskupe_training.data.images import F32, U8
from maskupe_training.data.sources import Source
from maskupe_training.data.truth import truth_of
from maskupe_training.data.views import Augmentation, draw_view
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
        return compose(image, view.of(truth_of(exposure, drawn.areas.a, view)), drawn)


def compose(image: U8, truth: U8, drawn: Drawn) -> Sample:
    """Puts the truth into A and leaves the input in C; in B the two are blended by the weight."""
    before, after = (
        np.ascontiguousarray(picture.transpose(2, 0, 1)).astype(np.float32) / np.float32(255.0)
        for picture in (image, truth)
    )
    target = before + drawn.areas.weight * (after - before)
    return Sample(before, drawn.areas.channels(), target)
