"""No halos: in the transition band, what is brighter than the subject is left alone.

A dark subject before a bright sky is the case that the product exists for. There the band B lies
in the sky, and a weight that knows distances only spreads the brightening into it: the eye sees a
glow around the subject before it sees anything else. So the weight in B also looks at the pixel.
A tone that the model would lift beyond the lit subject's own highlights is lifted less; tones as
bright as those are not lifted at all. Towards A the restriction fades out, since A was selected
and its edge may run through a sky, where nothing must break; unless a part of A is such a sky
itself (:mod:`maskupe.subject`), which the restriction then holds for as well.

The limit is a smooth curve over luma, not a threshold: tones keep their order and some contrast.
Here it is found out; :mod:`maskupe.fade` says how it meets the weight.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from maskupe.areas import Areas
from maskupe.fade import ENTRIES as _ENTRIES
from maskupe.layout import LUMA
from maskupe.maps import Maps, Window
from maskupe.metrics import GAIN_DELTA
from maskupe.rendering import processor_backend, render
from maskupe.subject import Subject

Float = npt.NDArray[np.float32]

#: The lit subject's highlights: this quantile of the luma that the model gives A.
HIGHLIGHT_QUANTILE = 0.90
#: The same where the restriction holds in A as well and would flatten the subject's own highlights.
INSIDE_QUANTILE = 0.95
#: Up to this share of that luma a tone is lifted as the model wants; above, the curve bends.
_KNEE = 0.9
# How much a cell of B, A and C tells of what the model does to the band's tones.
_CELL_WEIGHTS = (1.0, 0.3, 1e-3)


@dataclass(frozen=True)
class Effect:
    """What a model does to a layer, as far as the band has to know.

    Attributes:
        log_gain: mean over A's subject of log((Ŷ + 4/255) / (I + 4/255)).
        allowed: float32 (256,) in 0…1: for luma i / 255 the share of the model's change that a
            pixel of B may take.
        inside: how far that holds in A as well, 0…1.
        curve: float32 (256,), the mean luma 0…1 that luma i / 255 gets.
    """

    log_gain: float
    allowed: Float
    inside: float = 0.0
    curve: Float = field(default_factory=lambda: np.linspace(0, 1, _ENTRIES, dtype=np.float32))


def foresee(maps: Maps, context: Float, subject: Subject) -> Effect:
    """Tries the maps on what the network saw.

    Args:
        maps: what the model predicted.
        context: float32 (n, n, 3), the layer as the network saw it, 0…1.
        subject: what of A is to be lit up, and the areas.
    """
    shares = np.stack([subject.marked, subject.shares[1]])
    size = context.shape[0]
    everything = np.ones((size, size), bool)
    marked = Areas(shares[0] >= 0.5, shares[1] >= 0.5, everything.astype(np.float32), 0.0)
    window, backend = Window(0, 0, size, size), processor_backend()
    lit = render(maps, context, marked, window, threads=1, backend=backend)
    inside = shares[0] >= min(0.5, float(shares[0].max()))
    delta = np.float32(GAIN_DELTA)
    gain = np.log((lit[inside] + delta) / (context[inside] + delta))
    quantile = HIGHLIGHT_QUANTILE + subject.apart * (INSIDE_QUANTILE - HIGHLIGHT_QUANTILE)
    after = lit @ LUMA
    highlight = float(np.quantile(after[inside], quantile))
    of_b, of_a, of_c = _CELL_WEIGHTS
    weights = of_b * shares[1] + of_a * shares[0] + of_c
    model = _mean_curve((context @ LUMA).ravel(), after.ravel(), weights.ravel())
    allowed = _allowed(model, highlight)
    return Effect(float(gain.mean()), allowed, subject.apart, model.astype(np.float32))


def _allowed(model: Float, highlight: float) -> Float:
    """The table of :class:`Effect`, from the luma that the model gives each, and a limit."""
    luma = np.linspace(0.0, 1.0, _ENTRIES, dtype=np.float32)
    # From where the model reaches the knee, a line to where luma itself is the highlight.
    reached = np.flatnonzero(model >= _KNEE * highlight)
    start = int(reached[0]) if reached.size else _ENTRIES - 1
    end = max(highlight, float(luma[start]) + 1e-3)
    line = model[start] + (end - model[start]) * (luma - luma[start]) / (end - luma[start])
    limit = np.where(np.arange(_ENTRIES) < start, model, np.maximum(line, luma))
    change = model - luma
    ratio = np.where(change > 1e-3, (np.minimum(limit, model) - luma) / np.maximum(change, 1e-3), 0)
    table = np.where(np.arange(_ENTRIES) < start, 1.0, np.clip(ratio, 0.0, 1.0))
    result: Float = table.astype(np.float32)
    return result


def _mean_curve(before: Float, after: Float, weights: Float) -> Float:
    """Mean of ``after`` where ``before`` has each of 256 values; gaps are filled linearly."""
    index = np.minimum((before * (_ENTRIES - 1) + 0.5).astype(np.intp), _ENTRIES - 1)
    total = np.bincount(index, weights, _ENTRIES)
    mean = np.bincount(index, weights * after, _ENTRIES)
    known = np.flatnonzero(total > 0)
    curve = np.interp(np.arange(_ENTRIES), known, mean[known] / total[known])
    # White stays white: beyond the brightest tone met, the curve runs to the corner.
    brightest = int(known[-1])
    rest = np.arange(brightest, _ENTRIES)
    if rest.size > 1:
        share = (rest - brightest) / (_ENTRIES - 1 - brightest)
        curve[rest] = curve[brightest] + share * (1.0 - curve[brightest])
    kernel = np.array([0.25, 0.5, 0.25])
    smooth = np.convolve(np.pad(curve, 1, mode="edge"), kernel, mode="valid")
    result: Float = smooth.astype(np.float32)
    return result
