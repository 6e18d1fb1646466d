"""The matting network: which pixels near a drawn line belong to the subject the line is around.

A small U-Net on the selection's surroundings at 256×256. It sees the picture in display encoding
and in log light (a subject in the shade differs from what is behind it by ratios, not by values),
the selection, and the signed distance to its line. Like the tone network it pools what it sees
inside and outside of the selection: "like the inside, unlike the outside" is most of the answer. It
starts as the selection's own ramp.

It answers with three maps, all 0…1: the *matte*, how much of a pixel is subject; *open*, whether
the line runs through something without an edge, so that the effect has to fade out there by
distance; and *exact*, whether the selection is itself the better matte.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

# Planes that are made of the five inputs: R, G, B, selection and signed distance.
_SEEN = 8
# Channels at 128², 64², … 8².
_WIDTHS = (24, 40, 64, 96, 112)
# How steep the ramp is that the network starts with, in logits per unit of the distance.
_START = 6.0


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
    """Return eight planes (N, 8, H, W), each about -1…1, from the five inputs."""
    colour, rest = planes[:, :3], planes[:, 3:]
    logs = (colour * 255.0 + 2.0).log2()
    red, green, blue = logs[:, 0:1], logs[:, 1:2], logs[:, 2:3]
    light = (red + green + blue) * (0.25 / 3.0) - 1.25
    return torch.cat([colour * 2.0 - 1.0, light, red - green, blue - green, rest], dim=1)


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

    def forward(self, planes: Tensor) -> Tensor:
        """See the class."""
        return self.logits(planes).sigmoid()

    def logits(self, planes: Tensor) -> Tensor:
        """Return the same before the sigmoid, which losses are taken of."""
        levels = [self.stem(_seen(planes))]
        for layer in self.down:
            levels.append(layer(levels[-1]))
        x = levels[-1] + self._context(levels[-2], planes[:, 3:4])
        for narrow, up, level in zip(
            reversed(self.narrow), reversed(self.up), reversed(levels[:-1]), strict=True
        ):
            x = up(F.interpolate(narrow(x), scale_factor=2, mode="nearest") + level)
        logits = F.pixel_shuffle(self.head(x), 2)
        ramp = _START * planes[:, 4:5]
        return torch.cat([logits[:, :1] + ramp, logits[:, 1:]], dim=1)

    def _context(self, features: Tensor, selection: Tensor) -> Tensor:
        """Return what is seen inside and outside of the selection on average, as (N, e, 1, 1)."""
        share = F.avg_pool2d(selection, selection.shape[-1] // features.shape[-1])
        means = [
            (features * part).sum((2, 3)) / (part.sum((2, 3)) + 1e-3)
            for part in (share, 1.0 - share)
        ]
        context: Tensor = self.pooled(torch.cat(means, dim=1))
        return context[..., None, None]
