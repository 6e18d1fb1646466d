"""Ways to look at a scene: a crop, squashed to a square, mirrored, turned; the same for all frames.

The square is what the network sees of a photograph when it serves.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from maskupe_training.data.images import U8
from maskupe_training.data.sources import Exposure

#: :meth:`View.subsample` takes every fourth pixel of every fourth row.
SUBSAMPLE = 4


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
        """Return the picture in this view, uint8 (size, size, 3)."""
        part = picture[self.rows, self.columns]
        # Averaging matters only for a real reduction; bilinear is several times faster near 1:1.
        shrinks = min(part.shape[:2]) > 1.5 * self.size
        return self._resized(part, self.size, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)

    def subsample(self, picture: U8) -> U8:
        """Return one pixel in 4 × 4 of :meth:`of`, without the cost of the others."""
        part = picture[self.rows, self.columns]
        return self._resized(part, self.size // SUBSAMPLE, cv2.INTER_NEAREST)

    def _resized(self, part: U8, size: int, interpolation: int) -> U8:
        if part.shape[:2] != (size, size):
            part = np.asarray(cv2.resize(part, (size, size), interpolation=interpolation), np.uint8)
        if self.mirrored:
            part = np.asarray(cv2.flip(part, 1), np.uint8)
        return np.ascontiguousarray(np.rot90(part, self.turns)) if self.turns else part


def draw_view(rng: np.random.Generator, image: U8, how: Augmentation) -> View:
    """Return a random crop, mirroring and turn of a picture."""
    height, width = image.shape[:2]
    keep = rng.uniform(how.crop, 1.0, 2)
    rows, columns = max(1, round(height * keep[0])), max(1, round(width * keep[1]))
    top = int(rng.integers(height - rows + 1))
    left = int(rng.integers(width - columns + 1))
    mirrored = bool(how.mirror and rng.random() < 0.5)
    turns = int(rng.integers(4)) if how.turn else 0
    return View(slice(top, top + rows), slice(left, left + columns), how.size, mirrored, turns)


def squashed(exposure: Exposure, size: int) -> Exposure:
    """Return the whole scene, squashed to a square as the context is when serving."""
    view = View(slice(None), slice(None), size)
    candidates = tuple(view.of(picture) for picture in exposure.candidates)
    return Exposure(exposure.name, view.of(exposure.image), candidates, exposure.fixed)
