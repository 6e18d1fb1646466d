"""DeepUPE (Wang et al., "Underexposed Photo Enhancement using Deep Illumination Estimation", 2019).

The sizes are those of the released training graph: an HDRNet (Gharbi et al. 2017) with twelve
global and six local convolutions, which predicts a bilateral grid of affine colour maps that
give the illumination. 998,816 parameters.

Where we differ from the released code, on purpose:

- The illumination is never below ``ILLUMINATION_FLOOR``, so that black pixels are not 0/0, and
  training and serving divide by the same thing (the code adds 0.001 in training only and
  quantises the illumination to 8 bits when serving).
- The low-resolution input is an area average; the code serves with nearest-neighbour.
- Strided convolutions pad by one on each side; TensorFlow's SAME pads at the end only.
- The prediction starts at an illumination of 0.4 everywhere instead of at random: where the
  estimate falls below the image itself, the clamp passes no gradient, so a start that low would
  never recover.
- The chains of convolutions start near the identity (Zagoruyko and Komodakis, "DiracNets", 2017)
  instead of at random, as they have neither norms nor skips: from a random start, what tells a
  dark picture from a darker one is lost within the twelve global ones, and training does not get
  it back.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from maskupe.maps import AffineGrid
from maskupe.networks.base import GlobalNetwork

Norm = Literal["none", "batch", "instance"]

LUMA_BINS = 8
KNOTS = 16
#: The illumination at initialisation.
START = 0.4
# What is added to the identity that the chains of convolutions start from, as a share of He's.
_NOISE = 0.2


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """Return the named normalization of a feature map with that many channels."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    return nn.Identity()


def _conv(inputs: int, outputs: int, stride: int = 1, norm: Norm = "none") -> nn.Sequential:
    """Return convolution 3×3, optional norm, ReLU; the bias gives way to a norm's own."""
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=norm == "none")
    nn.init.kaiming_normal_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    parts: list[nn.Module] = [conv]
    if norm != "none":
        parts.append(norm_layer(norm, outputs))
    return nn.Sequential(*parts, nn.ReLU())


def _near_identity(conv: nn.Conv2d) -> None:
    """Initialise a convolution of as many outputs as inputs to pass on what it gets, nearly."""
    nn.init.kaiming_normal_(conv.weight)
    noise = _NOISE * conv.weight.detach()
    nn.init.dirac_(conv.weight)
    with torch.no_grad():
        conv.weight.add_(noise)


class GuideParameters(nn.Module):
    """The parameters of the guidance map, which is evaluated at full size (112 of them)."""

    def __init__(self) -> None:
        super().__init__()
        # A 1×1 convolution rather than a bare matrix: MConcat grows it like any other one.
        self.colour = nn.Conv2d(3, 3, 1)
        self.shifts = nn.Parameter(torch.arange(KNOTS).repeat(3, 1) / KNOTS)
        self.slopes = nn.Parameter(torch.zeros(3, KNOTS))
        self.mix = nn.Parameter(torch.full((3,), 1.0 / 3.0))
        self.mix_bias = nn.Parameter(torch.zeros(1))
        with torch.no_grad():
            identity = torch.eye(3) + 1e-4 * torch.randn(())
            self.colour.weight.copy_(identity.view(3, 3, 1, 1))
            assert self.colour.bias is not None
            self.colour.bias.zero_()
            self.slopes[:, 0] = 1.0

    def tensors(self) -> tuple[Tensor, ...]:
        """Return the six arrays of :class:`maskupe.maps.Guide`, in its order."""
        assert self.colour.bias is not None
        matrix = self.colour.weight.flatten(1)
        return matrix, self.colour.bias, self.shifts, self.slopes, self.mix, self.mix_bias


class DeepUPE(GlobalNetwork):
    """Image → bilateral grid of affine maps to the illumination.

    Args:
        norm: normalization after splat convolutions 2 to 4 and local convolution 1, the places
            of the released code's batch-norm switch that MNorm uses; the released network has
            none.
    """

    map_type = AffineGrid
    image_convs = ("splat.0.0", "guide.colour")
    norm_places = {"paper": ("splat.1.1", "splat.2.1", "splat.3.1", "local.0.1")}  # noqa: RUF012

    def __init__(self, norm: Norm = "none") -> None:
        super().__init__()
        self.splat = nn.Sequential(
            _conv(3, 8, 2), _conv(8, 16, 2, norm), _conv(16, 32, 2, norm), _conv(32, 64, 2, norm)
        )
        wide = [_conv(64, 64, 2 if i in (0, 6) else 1) for i in range(12)]
        self.global_convs = nn.Sequential(*wide)
        self.global_fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(1024, 256),
            nn.ReLU(),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Linear(128, 64),
        )
        # Convolutions 2 to 6 are a linear chain: no bias, no activation, as released.
        chain = [nn.Conv2d(64, 64, 3, padding=1, bias=False) for _ in range(5)]
        self.local = nn.Sequential(_conv(64, 64, 1, norm), *chain)
        self.prediction = nn.Conv2d(64, 12 * LUMA_BINS, 1)
        self.guide = GuideParameters()
        self._initialise()

    def _initialise(self) -> None:
        for layer in self.global_fc:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
        for layer in (*self.global_convs, *self.local):
            conv = layer[0] if isinstance(layer, nn.Sequential) else layer
            assert isinstance(conv, nn.Conv2d)
            if conv.stride == (1, 1):
                _near_identity(conv)
        nn.init.normal_(self.prediction.weight, std=1e-3)
        assert self.prediction.bias is not None
        with torch.no_grad():
            self.prediction.bias.zero_()
            self.prediction.bias.view(3, 4, LUMA_BINS)[:, 3] = START

    def predict(self, low: Tensor) -> tuple[Tensor, ...]:
        """See :meth:`GlobalNetwork.predict`: the grid (N, 3, 4, 8, 16, 16) and the guide."""
        features = self.splat(low)
        everywhere = self.global_fc(self.global_convs(features))
        fused = torch.relu(self.local(features) + everywhere[:, :, None, None])
        grid = self.prediction(fused)
        return grid.reshape(-1, 3, 4, LUMA_BINS, *grid.shape[2:]), *self.guide.tensors()
