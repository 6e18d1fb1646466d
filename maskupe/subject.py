"""What of A is the subject: a careless selection of something dark holds bright surroundings too.

Who draws a loop around a backlit person selects some of the sky as well. Lighting up that sky
burns it out, and it ends where the loop ran. And a model that looks at all of A sees a picture
that is lit well enough. So A's tones are divided into a dark and a bright part. Where the two are
far apart, each dense in itself, and the bright one needs no light, the dark one is the subject:
what is to be brighter is judged by it (:mod:`maskupe.highlights`), and where A as a whole would
pass as lit, the network is shown more of the subject and less of the rest.

Selections whose tones run evenly from dark to bright have no such gap, and none of this applies to
them. In between it fades, so that a selection that grows pixel by pixel makes nothing jump.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskupe.areas import smoothstep
from maskupe.layout import LUMA

Float = npt.NDArray[np.float32]

#: Distance of the two parts' mean tones in octaves of display-encoded luma: up to the first they
#: are one, from the second on two. So are the following: nothing at the first, all at the second.
GAP = (2.2, 3.4)
#: Share of the tones' variance that the division explains: 1 for two single tones, 0.64 for a bell.
DIVIDED = (0.55, 0.72)
#: Mean luma of the bright part.
BRIGHT = (0.42, 0.55)
#: Share of A that either part must have.
SHARE = (0.004, 0.03)
#: The product of the rises above: half of a division would leave half of an edge in the sky.
LIKELY = (0.25, 0.6)
#: Mean of a selection: up to the first it is dark, from the second on it passes as lit.
LIT = (0.21, 0.31)
#: Mean luma of the dark part, falling: one that is lit is no underexposed subject.
DARK = (LIT[1], LIT[0])
#: How much less of the bright part the network then sees. With all of it gone the subject would be
#: exposed as if it stood alone, and outshine what is behind it.
HIDDEN = 0.6

_BINS = 64
_OCTAVES = 8.0
# Octaves over which a tone passes from the dark part to the bright one.
_SOFT = 0.5


@dataclass(frozen=True)
class Subject:
    """The part of A that is to be lit up.

    Attributes:
        shares: float32 (2, n, n), the shares of A and B in each cell as the network should see
            them.
        marked: float32 (n, n), the share of the subject in each cell.
        apart: how far the rest of A is something else, 0…1; 0 where all of A is the subject.
    """

    shares: Float
    marked: Float
    apart: float


def find_subject(context: Float, shares: Float) -> Subject:
    """Divides A into its subject and its bright surroundings, where it has any.

    The division is Otsu's (1979), on a histogram of log luma.

    Args:
        context: float32 (n, n, 3), the layer as the network sees it, 0…1.
        shares: float32 (2, n, n), the shares of A and B in each cell.
    """
    everything = Subject(shares, shares[0], 0.0)
    inside = shares[0] > 0
    weights = shares[0][inside]
    luma = np.clip(context[inside] @ LUMA, 0.0, 1.0)
    tones = np.log2(1.0 + 255.0 * luma)
    if luma.size < 2:
        return everything
    threshold, divided = _divide(tones, weights)
    bright = weights * (tones > threshold)
    share = float(bright.sum() / weights.sum())
    if not 0.0 < share < 1.0:
        return everything
    dark = weights - bright
    dark_tone, bright_tone = np.average(tones, weights=dark), np.average(tones, weights=bright)
    likely = (
        _rise(bright_tone - dark_tone, GAP)
        * _rise(divided, DIVIDED)
        * _rise(np.average(luma, weights=bright), BRIGHT)
        * _rise(np.average(luma, weights=dark), DARK)
        * _rise(min(share, 1.0 - share), SHARE)
    )
    apart = _rise(likely, LIKELY)
    if apart == 0.0:
        return everything
    belongs = 1.0 - apart * smoothstep((tones - threshold) / np.float32(_SOFT) + np.float32(0.5))
    marked = shares[0].copy()
    marked[inside] = weights * belongs
    lit = _rise(np.average(luma, weights=weights), LIT)
    seen = shares.copy()
    seen[0] += np.float32(HIDDEN * lit) * (marked - shares[0])
    return Subject(seen, marked, apart)


def _divide(tones: Float, weights: Float) -> tuple[float, float]:
    """Otsu's threshold, and the share of the variance that lies between the two parts."""
    place = np.minimum((tones * (_BINS / _OCTAVES)).astype(np.intp), _BINS - 1)
    count = np.bincount(place, weights, _BINS) / weights.sum()
    centres = (np.arange(_BINS) + 0.5) * (_OCTAVES / _BINS)
    below, moment = count.cumsum(), (count * centres).cumsum()
    mean = moment[-1]
    variance = float((count * (centres - mean) ** 2).sum())
    inner = (below > 1e-4) & (below < 1.0 - 1e-4)
    if not inner.any() or variance <= 0.0:
        return _OCTAVES, 0.0
    between = np.zeros(_BINS)
    between[inner] = (mean * below - moment)[inner] ** 2 / (below * (1.0 - below))[inner]
    # Over a gap without tones all thresholds are as good: the middle one.
    best = np.flatnonzero(between >= 0.999 * between.max())
    threshold = (float(best.mean()) + 1.0) * (_OCTAVES / _BINS)
    return threshold, float(between.max()) / variance


def _rise(value: float, ends: tuple[float, float]) -> float:
    """0 at the first end, 1 at the second, smooth in between."""
    return float(smoothstep(np.array((value - ends[0]) / (ends[1] - ends[0]), np.float32)))
