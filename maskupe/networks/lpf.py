"""Deep local parametric filters (after Moran et al. 2020, "DeepLPF"), small.

A CNN places the filters that a retoucher would draw, elliptical and graduated ones, and says by
how much each brightens, per channel and luma. They are rasterised to a smooth grid of
illuminations. What the original's polynomial filter does everywhere, a base gain does here.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskupe.maps import ILLUMINATION_FLOOR, GainGrid
from maskupe.networks.base import GlobalNetwork

FILTERS = 3
LUMA_BINS = 4
GRID_SIZE = 32
_GAINS = 3 * LUMA_BINS
#: Numbers that place an ellipse (centre, two radii, angle) and a ramp (angle, offset, width).
_ELLIPSE, _RAMP = 5, 3
_SMALLEST = 0.05


class LocalParametricFilters(GlobalNetwork):
    """Image → parameters of filters → grid of illuminations."""

    map_type = GainGrid
    image_convs = ("encoder.0",)

    place_x: Tensor
    place_y: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, o in ((3, 16), (16, 32), (32, 32), (32, 64), (64, 64)):
            layers += [nn.Conv2d(i, o, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(64, 8, 1), nn.Flatten(), nn.Linear(8 * 8 * 8, 128), nn.LeakyReLU(0.2)]
        self.encoder = nn.Sequential(*layers)
        count = FILTERS * (_ELLIPSE + _RAMP + 2 * _GAINS) + _GAINS
        self.parameterise = nn.Linear(128, count)
        nn.init.normal_(self.parameterise.weight, std=0.01)
        # Filters that all start alike would learn alike.
        nn.init.normal_(self.parameterise.bias, std=1.0)
        with torch.no_grad():
            self.parameterise.bias[-_GAINS * (2 * FILTERS + 1) :] = -1.5
        centres = (torch.arange(GRID_SIZE) + 0.5) / GRID_SIZE
        self.register_buffer("place_x", centres.view(1, 1, 1, -1), persistent=False)
        self.register_buffer("place_y", centres.view(1, 1, -1, 1), persistent=False)

    def predict(self, low: Tensor) -> tuple[Tensor, ...]:
        """See :meth:`GlobalNetwork.predict`: a grid (N, 3, 4, 32, 32) of illuminations."""
        numbers = self.parameterise(self.encoder(low))
        sizes = [FILTERS * _ELLIPSE, FILTERS * _RAMP, 2 * FILTERS * _GAINS, _GAINS]
        ellipses, ramps, gains, base = numbers.split(sizes, dim=1)
        masks = torch.cat([self._ellipses(ellipses), self._ramps(ramps)], dim=1)
        # Brightening only, as a logarithm: filters that overlap multiply.
        gains = F.softplus(gains).reshape(-1, 2 * FILTERS, _GAINS)
        lift = torch.einsum("nfyx,nfg->ngyx", masks, gains)
        lift = lift + F.softplus(base)[:, :, None, None]
        illumination = torch.exp(-lift).clamp(min=ILLUMINATION_FLOOR)
        return (illumination.reshape(-1, 3, LUMA_BINS, GRID_SIZE, GRID_SIZE),)

    def _ellipses(self, numbers: Tensor) -> Tensor:
        """Return soft ellipses (N, F, h, w): 1 well inside, ½ on the outline, 0 well outside."""
        x, y, a, b, angle = numbers.reshape(-1, FILTERS, _ELLIPSE, 1, 1).unbind(2)
        across, along = self.place_x - torch.sigmoid(x), self.place_y - torch.sigmoid(y)
        cos, sin = torch.cos(math.pi * angle), torch.sin(math.pi * angle)
        u = (across * cos + along * sin) / (torch.sigmoid(a) + _SMALLEST)
        v = (along * cos - across * sin) / (torch.sigmoid(b) + _SMALLEST)
        return torch.sigmoid(4.0 * (1.0 - (u * u + v * v)))

    def _ramps(self, numbers: Tensor) -> Tensor:
        """Return graduated filters (N, F, h, w): from 0 to 1 across a line of any direction."""
        angle, offset, width = numbers.reshape(-1, FILTERS, _RAMP, 1, 1).unbind(2)
        cos, sin = torch.cos(math.pi * angle), torch.sin(math.pi * angle)
        distance = (
            (self.place_x - 0.5) * cos + (self.place_y - 0.5) * sin - 0.5 * torch.tanh(offset)
        )
        return torch.sigmoid(2.0 * distance / (torch.sigmoid(width) + _SMALLEST))
