"""The matting network: which pixels near a drawn line belong to the subject the line is around.

A small U-Net on the selection's surroundings at 256×256. It sees the picture in display encoding
and in log light (a subject in the shade differs from what is behind it by ratios, not by values),
the selection, and the signed distance to its line. "Like the inside, unlike the outside" is most of
the answer, so it is told so in two ways: it pools what it sees inside and outside of the selection,
and it gets the likelihood ratio of each colour, from histograms of both sides. Its largest level
has half the resolution; a last convolution at full resolution sees the pixels themselves. It starts
as the selection's own ramp.

It answers with three maps, all 0…1: the *matte*, how much of a pixel is subject; *open*, whether
the line runs through something without an edge, so that the effect has to fade out there by
distance; and *exact*, whether the selection is itself the better matte.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

# Planes that are made of the five inputs: R, G, B, selection and signed distance.
_SEEN = 9
# Channels at 128², 64², … 8².
_WIDTHS = (24, 40, 64, 96, 112)
# Channels of the last convolutions, at full resolution.
_FINE = 8
# How steep the ramp is that the network starts with, in logits per unit of the distance.
_START = 6.0

# The histograms of colours: bins of luma, red against green and blue against green, all in octaves,
# the ranges that they cover, and the deviation in bins by which they are smoothed.
_BINS = (48, 24, 24)
_LOWEST = (1.0, -1.5, -1.5)
_HIGHEST = (8.1, 1.5, 1.5)
_SMOOTHED = 1.5
# A colour counts from here on, as a share of a side; likelihood ratios end at this logarithm.
_RARE = 1e-5
_MOST = 4.0
# Up to this signed distance, as a share of its range, a pixel may lie on the wrong side of a line
# drawn by hand.
_DOUBTFUL = 0.2
# What a pixel right beside the line counts, so that small selections have histograms as well.
_LEAST = 0.02


def _conv(before: int, after: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, size, stride, (size - 1) // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    )


class _Depthwise(nn.Conv2d):
    """A convolution of each channel by itself.

    While it is trained on a graphics card it is a sum of shifted products: the gradient of cuDNN's
    own depthwise kernels is many times slower there.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, width, 3, 1, 1, groups=width, bias=False)

    def forward(self, planes: Tensor) -> Tensor:
        """See the class."""
        if not (self.training and planes.is_cuda):
            return super().forward(planes)
        height, width = planes.shape[2:]
        padded = F.pad(planes, (1, 1, 1, 1))
        kernel = self.weight.to(planes.dtype)
        parts = [
            kernel[:, 0, y, x].view(1, -1, 1, 1) * padded[:, :, y : y + height, x : x + width]
            for y in range(3)
            for x in range(3)
        ]
        return sum(parts[1:], parts[0])


def _separable(width: int) -> nn.Sequential:
    """A cheap convolution for the largest levels: each channel by itself, then all together."""
    return nn.Sequential(
        _Depthwise(width),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        _conv(width, width, size=1),
    )


def _seen(planes: Tensor) -> Tensor:
    """Return nine planes (N, 9, H, W), each about -1…1, from the five inputs."""
    colour, rest = planes[:, :3], planes[:, 3:]
    logs = (colour * 255.0 + 2.0).log2()
    red, green, blue = logs[:, 0:1], logs[:, 1:2], logs[:, 2:3]
    light = (red + green + blue) * (1.0 / 3.0)
    opponent = torch.cat([red - green, blue - green], dim=1)
    likely = likelihood_ratio(torch.cat([light, opponent], dim=1), planes[:, 4:5])
    return torch.cat([colour * 2.0 - 1.0, light * 0.25 - 1.25, opponent, rest, likely], dim=1)


def likelihood_ratio(colour: Tensor, distance: Tensor) -> Tensor:
    """Return how much likelier each pixel's colour is inside of a line than outside.

    Args:
        colour: (N, 3, H, W) in octaves: luma, red against green, blue against green.
        distance: (N, 1, H, W), the signed distance to the line, -1…1.

    Returns:
        (N, 1, H, W) in -1…1, the logarithm of the ratio over :data:`_MOST`.
    """
    count, size = colour.shape[0], math.prod(_BINS)
    index = torch.zeros_like(colour[:, 0], dtype=torch.long)
    for axis, (bins, lowest, highest) in enumerate(zip(_BINS, _LOWEST, _HIGHEST, strict=True)):
        place = (colour[:, axis] - lowest) * (bins / (highest - lowest))
        index = index * bins + place.clamp(0.0, bins - 1.0).long()
    index = index.flatten(1)
    # Beside a line drawn by hand, pixels may lie on the wrong side of it.
    side = distance.flatten(1) * (1.0 / _DOUBTFUL)
    inside, outside = ((part.clamp(0.0, 1.0) + _LEAST * (part > 0)) for part in (side, -side))
    weights = torch.stack([inside, outside], dim=1)
    both = index[:, None].expand(count, 2, index.shape[1])
    histograms = weights.new_zeros(count, 2, size).scatter_add(2, both, weights)
    histograms = _smoothed(histograms.view(count * 2, *_BINS)).view(count, 2, size)
    shares = histograms / (histograms.sum(2, keepdim=True) + 1e-6) + _RARE
    ratios = (shares[:, 0] / shares[:, 1]).log().clamp(-_MOST, _MOST) * (1.0 / _MOST)
    return ratios.gather(1, index).view_as(distance)


def _smoothed(histogram: Tensor) -> Tensor:
    """Return histograms (N, bins…) blurred along each of their axes."""
    luma, red, blue = (_blurring(bins, histogram) for bins in _BINS)
    along_blue = (histogram.flatten(0, 2) @ blue).view_as(histogram)
    along_red = red @ along_blue
    blurred: Tensor = (luma @ along_red.flatten(2)).view_as(histogram)
    return blurred


def _blurring(bins: int, histogram: Tensor) -> Tensor:
    """Return the matrix (bins, bins) of a Gaussian blur, of the histogram's dtype."""
    # Made where it is used: a CUDA graph cannot record a copy from the processor.
    steps = torch.arange(bins, dtype=histogram.dtype, device=histogram.device)
    weights = torch.exp(-0.5 * ((steps[:, None] - steps) / _SMOOTHED).square())
    return weights / weights.sum(1, keepdim=True)


class Matting(nn.Module):
    """Planes (N, 5, 256, 256) in, (N, 3, 256, 256) out: matte, open and exact, each 0…1."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d, e = _WIDTHS
        self.stem = nn.Sequential(_conv(_SEEN, a, stride=2, size=4), _separable(a))
        self.down = nn.ModuleList(
            nn.Sequential(_conv(before, after, 2), _conv(after, after))
            for before, after in ((a, b), (b, c), (c, d), (d, e))
        )
        self.pooled = nn.Sequential(nn.Linear(2 * d, e), nn.ReLU(), nn.Linear(e, e))
        self.narrow = nn.ModuleList(
            _conv(before, after, size=1) for before, after in ((b, a), (c, b), (d, c), (e, d))
        )
        self.up = nn.ModuleList([_separable(a), _separable(b), _conv(c, c), _conv(d, d)])
        # Four pixels of each map at every place of the largest level.
        self.head = nn.Conv2d(a, 12, 3, 1, 1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor([0.0, -1.5, -2.0]).repeat_interleave(4))
        last = nn.Conv2d(_FINE, 1, 3, 1, 1, bias=False)
        nn.init.zeros_(last.weight)
        self.fine = nn.Sequential(_conv(_SEEN + 1, _FINE), last)

    def forward(self, planes: Tensor) -> Tensor:
        """See the class."""
        return self.logits(planes).sigmoid()

    def logits(self, planes: Tensor) -> Tensor:
        """Return the same before the sigmoid, which losses are taken of."""
        seen = _seen(planes)
        levels = [self.stem(seen)]
        for layer in self.down:
            levels.append(layer(levels[-1]))
        x = levels[-1] + self._context(levels[-2], planes[:, 3:4])
        for narrow, up, level in zip(
            reversed(self.narrow), reversed(self.up), reversed(levels[:-1]), strict=True
        ):
            x = up(F.interpolate(narrow(x), scale_factor=2, mode="nearest") + level)
        logits = F.pixel_shuffle(self.head(x), 2)
        matte = logits[:, :1] + _START * planes[:, 4:5]
        matte = matte + self.fine(torch.cat([seen, matte * (1.0 / _START)], dim=1))
        return torch.cat([matte, logits[:, 1:]], dim=1)

    def _context(self, features: Tensor, selection: Tensor) -> Tensor:
        """Return what is seen inside and outside of the selection on average, as (N, e, 1, 1)."""
        share = F.avg_pool2d(selection, selection.shape[-1] // features.shape[-1])
        means = [
            (features * part).sum((2, 3)) / (part.sum((2, 3)) + 1e-3)
            for part in (share, 1.0 - share)
        ]
        context: Tensor = self.pooled(torch.cat(means, dim=1))
        return context[..., None, None]
