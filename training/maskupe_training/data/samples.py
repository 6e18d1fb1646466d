"""Samples: a picture, a selection's areas and a target, each a pure function of seed and index.

Nothing here has a state that moves: sample i of seed s is always the same, whichever process,
worker or resumed run asks for it. That is what makes a resumed training bit-equal to one that was
never interrupted, and two processes equal to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maskupe.areas.transition import Areas
from maskupe_training.data.ground_truth import truth_of
from maskupe_training.data.images import F32, U8
from maskupe_training.data.sources import Source
from maskupe_training.data.views import Augmentation, View, draw_view
from maskupe_training.masks.sampler import MaskSampler


@dataclass(frozen=True)
class Sample:
    """One training sample, in as few bytes as it has; the device makes planes of it.

    Attributes:
        image: uint8 (H, W, 3), display-encoded.
        truth: uint8 (H, W, 3), what A should look like.
        areas: uint8 (2, H, W), 0 or 1: A and B.
        weight: float32 (H, W), how much of the truth goes into the target: 1 in A, 0 in C.
    """

    image: U8
    truth: U8
    areas: U8
    weight: F32


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

    def __getitem__(self, index: int) -> dict[str, U8 | F32]:
        """Sample ``index`` as a dictionary of arrays, which the DataLoader stacks to tensors."""
        return vars(self.sample(index))

    def sample(self, index: int) -> Sample:
        """Return sample ``index``: a pure function of the seed and the index."""
        rng = np.random.default_rng([self._seed, index])
        source = self._sources[rng.choice(len(self._sources), p=self._shares)]
        exposure = source.draw(rng)
        view = draw_view(rng, exposure.image, self._augmentation)
        image = view.of(exposure.image)
        if exposure.alpha is not None:
            areas = areas_of_matte(view.of(exposure.alpha))
            if not areas.a.any():  # the view shows next to nothing of the subject
                view = View(slice(None), slice(None), self._augmentation.size)
                image = view.of(exposure.image)
                areas = areas_of_matte(view.of(exposure.alpha))
        else:
            areas = self._masks.draw(rng, image).areas
        return Sample(
            _own(image),
            _own(view.of(truth_of(exposure, areas.a, view))),
            np.stack([areas.a, areas.b]).view(np.uint8),
            areas.weight,
        )


def areas_of_matte(alpha: U8) -> Areas:
    """Return the areas that a subject's matte, uint8 (H, W), comes to."""
    weight = alpha.astype(np.float32) / np.float32(255.0)
    a = alpha >= 250
    return Areas(a, (alpha > 4) & ~a, weight, 0.0)


def _own(picture: U8) -> U8:
    """Return a picture that is no view of the cache's, which may not be written to."""
    return np.require(picture, requirements=["C", "W"])
