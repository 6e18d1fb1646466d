"""How much of the effect a pixel takes: from its coverage and its tone to the blend weight."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskupe.areas import smoothstep
from maskupe.areastrip import FULL, in_band
from maskupe.layout import LUMA
from maskupe.ramp import bend, even_ramp, position

Float = npt.NDArray[np.float32]

#: Entries of :attr:`Fade.allowed`.
ENTRIES = 256
#: The restriction by tone is complete where the weight has fallen by this much below one.
ONSET = 0.15


@dataclass(frozen=True)
class Fade:
    """The way from coverage to weight: w = min(r, 1 - (1 - m) · smoothstep((1 - r) / ONSET + i)).

    Attributes:
        ramp: float32 (65536,) in 0…1, r for each coverage; 0 at 0 and 1 at the last.
        allowed: float32 (256,) in 0…1, m for a pixel of luma i / 255, linear in between; None
            where tones do not matter.
        inside: i, how far the restriction by tone holds in A as well, 0…1
            (:mod:`maskupe.subject`).
    """

    ramp: Float
    allowed: Float | None = None
    inside: float = 0.0

    @property
    def keeps_a(self) -> bool:
        """Whether every pixel of A takes the whole effect."""
        return self.allowed is None or self.inside == 0.0

    def is_whole(self, coverage: npt.NDArray[np.uint16]) -> bool:
        """Whether all of these pixels take the whole effect."""
        return self.keeps_a and bool(coverage.min() == FULL)

    def weights(self, coverage: npt.NDArray[np.uint16], colour: Float) -> Float:
        """Blend weights.

        Args:
            coverage: uint16 (n, w), see :class:`maskupe.coverage.Coverage`.
            colour: float32 (n, w, 3) in 0…1.

        Returns:
            float32 (n, w): 1 in A, or less if the restriction holds there, 0 in C.
        """
        if not coverage.any():
            return np.zeros(coverage.shape, np.float32)
        weight = np.take(self.ramp, coverage)
        if self.allowed is None:
            return weight
        touched = in_band(coverage) if self.keeps_a else coverage > 0
        if touched.any():
            luma = (colour[touched] @ LUMA) * np.float32(ENTRIES - 1)
            may = np.interp(luma, np.arange(ENTRIES), self.allowed).astype(np.float32)
            own = weight[touched]
            onset = smoothstep((1.0 - own) / np.float32(ONSET) + np.float32(self.inside))
            weight[touched] = np.minimum(own, 1.0 - (1.0 - may) * onset)
        return weight


@functools.cache
def plain() -> Fade:
    """The weight is the coverage."""
    return Fade(np.arange(FULL + 1, dtype=np.float32) * np.float32(1.0 / FULL))


def make_fade(ramp: Float, allowed: Float | None, inside: float = 0.0) -> Fade:
    """A fade of a ramp that is given as 65,536 weights, and perhaps of a restriction by tone."""
    table = np.ascontiguousarray(ramp, np.float32)
    table[0], table[FULL] = 0.0, 1.0
    return Fade(table, allowed, inside)


def even(log_gain: float, allowed: Float | None, inside: float = 0.0) -> Fade:
    """The fade that is even in stops, where the subject's mean gain has that logarithm."""
    return make_fade(bend(_even_ramp(), log_gain), allowed, inside)


@functools.cache
def _even_ramp() -> Float:
    """The even ramp of every coverage, which the gain only bends."""
    return even_ramp(position(plain().ramp))
