"""STAR-DCE (Zhang et al., "STAR: A Structure-aware Lightweight Transformer", 2021).

Zero-DCE's curves (Guo et al. 2020) from a two-branch long- and short-range transformer over 32×32
tokens of width 16 (width 32 in the paper's counting of both branches together), mean head.
11,112 parameters: the public code counts 16,384 more, a positional embedding that it never uses.

Faithful where it decides the function: the first kernel is 2×2 with stride 3 and padding 1, the
attention is scaled by width^-1/2 (not the head's), and the curve maps are enlarged with aligned
corners. Written for export: the 86→32 adaptive pooling is two constant matrices.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskupe.maps import CurveMaps
from maskupe.networks.base import GlobalNetwork
from maskupe.networks.deepupe import Norm, norm_layer
from maskupe.preprocess.context import NETWORK_SIZE

WIDTH = 16
HEADS = 8
TOKENS = 32
ITERATIONS = 8


def pooling_matrix(inputs: int, outputs: int) -> Tensor:
    """Return adaptive average pooling along one axis as a matrix (outputs, inputs)."""
    matrix = torch.zeros(outputs, inputs)
    for row in range(outputs):
        first, last = row * inputs // outputs, -(-(row + 1) * inputs // outputs)
        matrix[row, first:last] = 1.0 / (last - first)
    return matrix


class MeanHead(nn.Module):
    """Tokenization: 2×2 convolution with stride 3, ReLU, adaptive average to 32×32 tokens."""

    pooling: Tensor

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, WIDTH, 2, stride=3, padding=1)
        self.norm = norm_layer(norm, WIDTH)
        size = NETWORK_SIZE // 3 + 1
        self.register_buffer("pooling", pooling_matrix(size, TOKENS), persistent=False)

    def forward(self, low: Tensor) -> Tensor:
        """Return (N, 3, 256, 256) → (N, 16, 32, 32)."""
        features = torch.relu(self.conv(low))
        pooled = self.pooling @ features @ self.pooling.T
        return cast(Tensor, self.norm(pooled))


class LongRange(nn.Module):
    """One pre-norm transformer block over the tokens, without positional encoding."""

    #: The tokens' rows and columns, which MNorm needs to place the mask.
    token_grid = (TOKENS, TOKENS)

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (N, T, 16) → (N, T, 16)."""
        tokens = tokens + self._attention(self.norm1(tokens))
        return cast(Tensor, tokens + self.mlp(self.norm2(tokens)))

    def _attention(self, tokens: Tensor) -> Tensor:
        # (N, T, 3·16) → q, k, v of (N, 8, T, 2)
        split = self.qkv(tokens).unflatten(2, (3, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4)
        query, key, value = split.unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, scale=WIDTH**-0.5)
        return cast(Tensor, self.out(mixed.transpose(1, 2).flatten(2)))


class StarDCE(GlobalNetwork):
    """Image → eight curve maps of 256×256.

    Args:
        norm: normalization of the tokens after the mean head, the place where the paper puts
            its one MNorm; the public network has none there.
    """

    map_type = CurveMaps
    image_convs = ("head.conv",)
    norm_places = {  # noqa: RUF012
        "paper": ("head.norm",),
        "all": ("head.norm", "long_range.norm1", "long_range.norm2"),
    }

    def __init__(self, norm: Norm = "none") -> None:
        super().__init__()
        self.head = MeanHead(norm)
        self.long_range = LongRange()
        self.short_range = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.curves = nn.Conv2d(2 * WIDTH, 3 * ITERATIONS, 3, padding=1)
        for conv in (self.head.conv, self.short_range, self.curves):
            nn.init.normal_(conv.weight, std=0.02)

    def predict(self, low: Tensor) -> tuple[Tensor, ...]:
        """See :meth:`GlobalNetwork.predict`: curve maps (N, 8, 3, 256, 256)."""
        pooled = self.head(low)
        tokens = self.long_range(pooled.flatten(2).transpose(1, 2))
        far = tokens.transpose(1, 2).unflatten(2, (TOKENS, TOKENS))
        rates = self.curves(torch.cat([far, self.short_range(pooled)], dim=1))
        size = (NETWORK_SIZE, NETWORK_SIZE)
        rates = torch.tanh(F.interpolate(rates, size, mode="bilinear", align_corners=True))
        return (rates.reshape(-1, ITERATIONS, 3, *size),)
