"""Zero-DCE's network (Guo et al., "Zero-Reference Deep Curve Estimation", 2020): 79,416 parameters.

Seven 3×3 convolutions of width 32 with symmetric skips predict eight curve maps. The original runs
at full size; here, as in STAR, it sees 256×256 and its maps are enlarged.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskupe.maps import CurveMaps
from maskupe.networks.base import GlobalNetwork

WIDTH = 32
ITERATIONS = 8


class ZeroDCE(GlobalNetwork):
    """Image → eight curve maps of 256×256."""

    map_type = CurveMaps
    image_convs = ("convs.0",)

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, WIDTH, WIDTH, WIDTH, 2 * WIDTH, 2 * WIDTH, 2 * WIDTH)
        outputs = (*[WIDTH] * 6, 3 * ITERATIONS)
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, 3, padding=1) for i, o in zip(inputs, outputs, strict=True)
        )
        for conv in self.convs:
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            nn.init.normal_(conv.weight, std=0.02)
            nn.init.zeros_(conv.bias)

    def predict(self, low: Tensor) -> tuple[Tensor, ...]:
        """See :meth:`GlobalNetwork.predict`: curve maps (N, 8, 3, 256, 256)."""
        down: list[Tensor] = [low]
        for conv in self.convs[:4]:
            down.append(torch.relu(conv(down[-1])))
        # Layers 5, 6, 7 also see what layers 3, 2, 1 made.
        x = torch.relu(self.convs[4](torch.cat([down[3], down[4]], 1)))
        x = torch.relu(self.convs[5](torch.cat([down[2], x], 1)))
        rates = torch.tanh(self.convs[6](torch.cat([down[1], x], 1)))
        return (rates.reshape(-1, ITERATIONS, 3, *rates.shape[2:]),)
