"""Lantern: our own network. It reads the light inside the mask and answers with a tone curve.

Why this and not another encoder-decoder: what a photographer calls underexposed is, to the
camera, the same scene with less light. Two exposures of one scene are related pixel by pixel by
the camera's response, so the right answer is mostly *one curve per channel*, and almost all that
is to be found out is which one. That is a question about the pixels inside the mask, so they are
pooled there: a histogram of A in log light, and encoder features averaged over A. Without the
pooling the surroundings drown what matters; on backlit scenes that costs most of the gain.

The curve is a camera's, not a free form. With a response y^g = a·E / (E + a - 1) for light E
(steep at the dark end, a shoulder at the bright one), k times the light takes w = x^g to

    y^g = a·k·w / ((k - 1)·w + a),

so three numbers, (k, g, a), describe the change of exposure, and no curve they give can fold
tones over. A fourth, the toe, is light that is added before: a few levels of 8 bits at most. Near
black there is more noise than picture, and k times the noise is all that a curve through zero
would show; a toe trades it for a little haze, and the more so the larger k is.

A start value for k is *computed*: the one that lifts the mean of A's histogram to the middle
gray of well-exposed pictures. The network says by how much to deviate from it, for
which it also sees a histogram of the whole picture (a dark part of a bright picture is another
case than a picture that is dark all over). It adds small free corrections per channel at knots in
log light, and a low-resolution residual where the light inside A is uneven. The renderer leaves C
alone by construction, and the transition follows from the areas.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskupe import maps
from maskupe.networks.base import LocalNetwork

#: Entries of the tone curve's table.
TABLE = 1024
#: Mean display-encoded value to which the start value of the exposure lifts a dark A.
MIDDLE_GRAY = 0.45
#: What the start value of the exposure makes at least of the mean of A.
LEAST_GAIN = 1.08

_KNOTS = 16
_BINS = 48
_WIDTH = 32
_HIDDEN = 128
_SIDE = 128
# Bounds of the response's exponent and shoulder, wide enough for the curves of real cameras.
_EXPONENT, _EXPONENT_SPAN = 1.2, 0.7
_SHOULDER, _SHOULDER_SPAN = 0.12, 1.5
_BISECTIONS = 14
_EXPOSURE_RANGE = (-1.0, 4.5)
# A whose mean is below this many levels of 8 bits is lifted less than to middle gray.
_BLACK = 3.0
# The toe in levels of 8 bits: what the network may add, and what each EV beyond the free ones adds.
_TOE = 4.0
_TOE_FREE = 3.0
_TOE_PER_EV = 0.4


def log_light(values: Tensor) -> Tensor:
    """Return log2(1 + 255 v) / 8 of display-encoded v in 0…1: 0…1, about two knots per octave."""
    return torch.log2(1.0 + 255.0 * values.clamp(0.0, 1.0)) / 8.0


def expose(power: Tensor, log_exposure: Tensor, shoulder: Tensor) -> Tensor:
    """Return the response's y^g after k = exp(log_exposure) times the light, from w = x^g."""
    k = log_exposure.exp()
    return shoulder * k * power / ((k - 1.0) * power + shoulder)


class Lantern(LocalNetwork):
    """The areas and the context in, tone curves and a residual gain out (`ToneCurves`)."""

    bins: Tensor
    levels: Tensor

    map_type = maps.ToneCurves

    def __init__(self) -> None:
        super().__init__()
        widths = (8, _WIDTH // 2, _WIDTH, _WIDTH * 3 // 2, _WIDTH * 2)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.ReLU()]
        top = widths[-1]
        self.encoder = nn.Sequential(*layers, nn.Conv2d(top, top, 3, 1, 1), nn.ReLU())
        described = 3 * top + 8 * _BINS + 12 + 2 + 4
        self.describe = nn.Sequential(
            nn.Linear(described, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU()
        )
        self.response = nn.Linear(_HIDDEN, 3)
        outputs = 1 + 3 + _KNOTS + 3 * _KNOTS
        self.curves = nn.Sequential(nn.Linear(_HIDDEN + 3, 64), nn.ReLU(), nn.Linear(64, outputs))
        self.spread = nn.Linear(_HIDDEN, top)
        self.uneven = nn.Sequential(
            nn.Conv2d(2 * top, 32, 3, 1, 1), nn.ReLU(), nn.Conv2d(32, 3, 3, 1, 1)
        )
        # It starts as the computed exposure alone, which is a sensible answer already.
        for layer in (self.response, self.curves[-1], self.uneven[-1]):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)
        bins = (torch.exp2(8.0 * torch.linspace(0.0, 1.0, _BINS)) - 1.0) / 255.0
        self.register_buffer("bins", bins.clamp(min=1e-6), persistent=False)
        levels = torch.linspace(0.0, 1.0, TABLE).square()
        self.register_buffer("levels", levels, persistent=False)

    def brighten(self, stops: float) -> None:
        """Let every answer have so many EV more light; negative ones are darker.

        The curve's shape stays what was learned: this is for a level that is off on average.
        """
        with torch.no_grad():
            self.curves[-1].bias[0] += stops * math.log(2.0)  # type: ignore[index, operator]

    def predict(self, low: Tensor, areas_low: Tensor) -> tuple[Tensor, ...]:
        """Return table (N, 3, 1024) and residual (N, 3, 8, 8)."""
        seen = F.adaptive_avg_pool2d(low, _SIDE)
        areas = F.adaptive_avg_pool2d(areas_low, _SIDE)
        light = log_light(seen)
        a = areas[:, :1]
        share = a / a.sum((2, 3), keepdim=True).clamp(min=1e-4)
        histogram = _histogram(light, share)
        features = self.encoder(torch.cat([seen, light, areas], dim=1))
        inside = F.adaptive_avg_pool2d(a, features.shape[-1])
        inside = inside / inside.sum((2, 3), keepdim=True).clamp(min=1e-6)
        # The whole picture, as far as it tells what A is in it.
        gray = light.mean(1, keepdim=True)
        everywhere = torch.full_like(a, 1.0 / a[0].numel())
        around = _histogram(gray, everywhere)[:, 0]
        known = self.describe(
            torch.cat(
                [
                    4.0 * histogram.flatten(1),
                    histogram.cumsum(2).flatten(1),
                    *_moments(light, share),
                    *_moments(seen, share),
                    areas.mean((2, 3)),
                    *_moments(features, inside),
                    features.mean((2, 3)),
                    4.0 * around,
                    around.cumsum(1),
                    *_moments(gray, everywhere),
                    *_moments(gray, share),
                ],
                dim=1,
            )
        )
        table = self._table(known, histogram)
        spread = self.spread(known)[..., None, None].expand_as(features)
        uneven = self.uneven(torch.cat([features, spread], dim=1))
        residual = torch.exp(0.5 * torch.tanh(uneven))
        return table, residual

    def _table(self, known: Tensor, histogram: Tensor) -> Tensor:
        """Return the gain of I + offset at the table's levels, (N, 3, 1024)."""
        raw = self.response(known)
        response = torch.tanh(raw[:, :2])
        exponent = _EXPONENT * torch.exp(_EXPONENT_SPAN * response[:, :1])
        shoulder = 1.0 + _SHOULDER * torch.exp(_SHOULDER_SPAN * response[:, 1:])
        toe = _TOE * torch.sigmoid(raw[:, 2:] - 3.0)  # it starts at a fifth of a level
        start = self._start(histogram.mean(1), exponent.detach(), shoulder.detach(), toe.detach())
        toe = toe + _TOE_PER_EV * F.relu(start / math.log(2.0) - _TOE_FREE)
        start = self._start(histogram.mean(1), exponent.detach(), shoulder.detach(), toe.detach())
        predicted = self.curves(torch.cat([known, start, exponent, shoulder], dim=1))
        exposure = start + predicted[:, :1] + 0.5 * predicted[:, 1:4]
        common, own = (
            predicted[:, 4 : 4 + _KNOTS],
            predicted[:, 4 + _KNOTS :].unflatten(1, (3, _KNOTS)),
        )
        knots = 0.3 * (common[:, None] + own)
        corrections = _at_levels(knots, log_light(self.levels))
        power = _with_toe(self.levels, toe[..., None]).clamp(min=1e-4) ** exponent[:, None]
        bright = expose(power, exposure[:, :, None], shoulder[:, None])
        bright = bright.clamp(min=1e-6) ** (1.0 / exponent[:, None])
        offset = maps.TONE_OFFSET
        gain: Tensor = (bright + offset) / (self.levels + offset) * corrections.exp()
        return gain

    def _start(self, histogram: Tensor, exponent: Tensor, shoulder: Tensor, toe: Tensor) -> Tensor:
        """The log exposure that lifts the histogram's mean to where it should be, (N, 1), bisected.

        That is middle gray, and a little more light for what is brighter than that already.
        """
        power = _with_toe(self.bins, toe) ** exponent
        mean = (self.bins * histogram).sum(1, keepdim=True)
        # A night sky is black: below a few levels there is only noise to be lifted to gray.
        seen = (mean * (255.0 / _BLACK)).clamp(1e-3, 1.0).sqrt()
        # Whoever selects something wants to see it lighter, also what is light already.
        target = torch.maximum((LEAST_GAIN * mean).clamp(max=0.9), MIDDLE_GRAY * seen)
        target = torch.maximum(target, mean)
        low = torch.full_like(exponent, _EXPOSURE_RANGE[0])
        high = torch.full_like(exponent, _EXPOSURE_RANGE[1])
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            exposed = expose(power, middle, shoulder).clamp(0.0, 1.0) ** (1.0 / exponent)
            bright = (exposed * histogram).sum(1, keepdim=True) > target
            low, high = torch.where(bright, low, middle), torch.where(bright, middle, high)
        return 0.5 * (low + high)


def _with_toe(values: Tensor, toe: Tensor) -> Tensor:
    """Return values lifted by a toe in levels of 8 bits; white stays white."""
    lift = toe / 255.0
    return lift + (1.0 - lift) * values


def _histogram(light: Tensor, share: Tensor) -> Tensor:
    """Per channel the shares of A in bins of log light, linearly split: (N, C, bins), sum 1."""
    n, channels = light.shape[:2]
    position = light.flatten(2) * (_BINS - 1)
    below = position.floor().clamp(max=_BINS - 2)
    shares = share.flatten(2).expand_as(position)
    above = (position - below) * shares
    rest = shares - above
    index = below.long()
    empty = light.new_zeros(n, channels, _BINS)
    return empty.scatter_add(2, index, rest).scatter_add(2, index + 1, above)


def _moments(planes: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation over A per channel, (N, C) each."""
    mean = (planes * share).sum((2, 3))
    variance = ((planes - mean[..., None, None]).square() * share).sum((2, 3))
    return mean, (variance + 1e-6).sqrt()


def _at_levels(knots: Tensor, light: Tensor) -> Tensor:
    """Return piecewise linear in log light through (N, 3, knots), at T levels: (N, 3, T)."""
    # Which knots a level lies between never changes: a constant matrix does the look-up.
    steps = torch.arange(_KNOTS, device=light.device, dtype=light.dtype)
    weights = (1.0 - (light[None] * (_KNOTS - 1) - steps[:, None]).abs()).clamp(min=0.0)
    return knots @ weights
