"""Image-adaptive 3D look-up tables (Zeng et al. 2020): a small CNN weighs basis tables.

Three tables of 33³ entries, the identity and two that start at zero; the image's table is their
weighted sum. The paper's regularizers (sparse weights, smooth and monotonous tables) are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskupe.maps import LookUpTable
from maskupe.networks.base import GlobalNetwork

TABLES = 3
NODES = 33
WIDTHS = (16, 32, 64, 128, 128)


def identity_table() -> Tensor:
    """The table (3, N, N, N) that changes nothing: output channel, blue, green, red index."""
    levels = torch.linspace(0.0, 1.0, NODES)
    blue, green, red = torch.meshgrid(levels, levels, levels, indexing="ij")
    return torch.stack([red, green, blue])


class Lut3D(GlobalNetwork):
    """Image → one 3D look-up table."""

    map_type = LookUpTable
    image_convs = ("encoder.0",)
    # Convolution, leaky ReLU, norm: the last stage has no norm.
    norm_places = {"paper": ("encoder.2", "encoder.5", "encoder.8", "encoder.11")}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = (3, *WIDTHS[:-1])
        for i, o in zip(inputs, WIDTHS, strict=True):
            layers += [nn.Conv2d(i, o, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
            if len(layers) < 3 * len(WIDTHS) - 1:
                layers.append(nn.InstanceNorm2d(o, affine=True))
        self.encoder = nn.Sequential(*layers, nn.Dropout(0.5))
        self.weigh = nn.Conv2d(WIDTHS[-1], TABLES, 8)
        assert self.weigh.bias is not None
        nn.init.normal_(self.weigh.weight, std=1e-4)
        nn.init.ones_(self.weigh.bias)
        tables = torch.zeros(TABLES, 3, NODES, NODES, NODES)
        tables[0] = identity_table()
        self.tables = nn.Parameter(tables)

    def predict(self, low: Tensor) -> tuple[Tensor, ...]:
        """See :meth:`GlobalNetwork.predict`: the table (N, 3, 33, 33, 33)."""
        weights = self.weigh(self.encoder(low)).flatten(1)
        table = weights @ self.tables.flatten(1)
        return (table.reshape(-1, 3, NODES, NODES, NODES),)
