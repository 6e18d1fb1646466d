"""An encoder-decoder that predicts pixels, as in "Learning to See in the Dark" (Chen et al. 2018).

Its U-Net with a quarter of the width (480 thousand instead of 7.7 million parameters). It predicts
the enhanced image at 256×256; the illumination I / out that this implies is turned into a
bilateral grid, so that a photograph of any size can be enhanced without losing its detail.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskupe.maps import ILLUMINATION_FLOOR, GainGrid
from maskupe.networks.apply import luma
from maskupe.networks.base import GlobalNetwork
from maskupe.networks.deepupe import Norm, norm_layer
from maskupe.networks.splat import splat

WIDTHS = (16, 32, 64, 128)
GRID_SIZE = 32
LUMA_BINS = 8


def _pair(inputs: int, outputs: int, norm: Norm) -> nn.Sequential:
    """Return two 3×3 convolutions, each with optional norm and leaky ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        norm_layer(norm, outputs),
        nn.LeakyReLU(0.2),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        norm_layer(norm, outputs),
        nn.LeakyReLU(0.2),
    )


class UNet(GlobalNetwork):
    """Image → pixels at 256×256 → grid of illuminations.

    Args:
        norm: normalization in the encoder, where MNorm goes; the original has none.
    """

    map_type = GainGrid
    image_convs = ("encoder.0.0",)
    # One per level: at 256×256 the CNN on the mask costs as much as the level itself.
    norm_places = {  # noqa: RUF012
        "paper": tuple(f"encoder.{level}.4" for level in range(len(WIDTHS)))
    }

    def __init__(self, norm: Norm = "none") -> None:
        super().__init__()
        inputs = (3, *WIDTHS[:-1])
        self.encoder = nn.ModuleList(_pair(i, o, norm) for i, o in zip(inputs, WIDTHS, strict=True))
        pairs = list(zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, stride=2) for i, o in pairs)
        self.decoder = nn.ModuleList(_pair(2 * o, o, "none") for _, o in pairs)
        self.last = nn.Conv2d(WIDTHS[0], 3, 1)

    def pixels(self, low: Tensor) -> Tensor:
        """Return the enhanced image at low resolution, (N, 3, 256, 256) in 0…1."""
        skips: list[Tensor] = []
        x = low
        for level, pair in enumerate(self.encoder):
            x = pair(x if level == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        for up, pair, skip in zip(self.up, self.decoder, skips[-2::-1], strict=True):
            x = pair(torch.cat([up(x), skip], 1))
        return torch.sigmoid(self.last(x))

    def predict(self, low: Tensor) -> tuple[Tensor, ...]:
        """See :meth:`GlobalNetwork.predict`: a grid (N, 3, 8, 32, 32) of illuminations."""
        # A pixel that is not bright up has illumination 1; what would be darkened stays as it is.
        bright = self.pixels(low).clamp(min=ILLUMINATION_FLOOR)
        illumination = (low / bright).clamp(ILLUMINATION_FLOOR, 1.0)
        return (splat(illumination, luma(low).sqrt(), LUMA_BINS, GRID_SIZE),)
