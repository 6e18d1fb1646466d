"""MNorm, the paper's Method 2, Eq. (1): normalization layers modulated by the mask.

MNorm(h, M) = γ(M) · (h - μ) / σ + β(M), with γ and β from a two-layer CNN on the mask at the
layer's resolution. The idea follows spatially-adaptive normalization (Park et al. 2019).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from maskupe.conditioning.local import (
    ConditionedModule,
    ConditionedNetwork,
    conditioned,
    replace_submodule,
)
from maskupe.conditioning.mask_context import mask_at

#: Normalization layers that MNorm can take over.
NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, nn.InstanceNorm2d, nn.GroupNorm, nn.LayerNorm)

#: Width of the hidden layer of the CNN on the mask.
HIDDEN = 32

Predicate = Callable[[str, nn.Module], bool]


class MNorm(nn.Module):
    """A normalization whose scale and shift the mask decides.

    It starts as the norm it replaces: the CNN's last weights are zero, and its biases are what
    the norm had learned as scale and shift.

    Args:
        norm: a layer of :data:`NORMS`; its statistics are kept.
        token_grid: rows and columns of the tokens that a LayerNorm over (N, T, C) sees; by
            default the square root of T each.
        hidden: width of the CNN's hidden layer.
        channels: k, the number of the mask's channels.
    """

    def __init__(
        self,
        norm: nn.Module,
        token_grid: tuple[int, int] | None = None,
        hidden: int = HIDDEN,
        channels: int = 2,
    ) -> None:
        super().__init__()
        scale, shift = getattr(norm, "weight", None), getattr(norm, "bias", None)
        features = _features(norm)
        self.base = copy.deepcopy(norm)
        self.base.register_parameter("weight", None)
        self.base.register_parameter("bias", None)
        for flag in ("affine", "elementwise_affine"):
            if hasattr(self.base, flag):
                setattr(self.base, flag, False)
        self.token_grid = token_grid
        last = nn.Conv2d(hidden, 2 * features, 3, padding=1)
        self.encoder = nn.Sequential(nn.Conv2d(channels, hidden, 3, padding=1), nn.ReLU(), last)
        with torch.no_grad():
            last.weight.zero_()
            last.bias.zero_()  # type: ignore[union-attr]
            # γ = 1 + Δγ, so an untouched norm of scale one and shift zero needs no bias.
            if scale is not None:
                last.bias[:features] = scale - 1.0  # type: ignore[index]
            if shift is not None:
                last.bias[features:] = shift  # type: ignore[index]
        buffers = list(norm.parameters()) + list(norm.buffers())
        if buffers:
            self.to(buffers[0].device)
        self.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (N, C, H, W), or for a LayerNorm (N, T, C) or (N, H, W, C)."""
        normalized = self.base(x)
        if not isinstance(self.base, nn.LayerNorm):
            modulation = self.encoder(mask_at(x.shape[2], x.shape[3], x))
        else:
            rows, columns = self._grid(x)
            modulation = self.encoder(mask_at(rows, columns, x)).permute(0, 2, 3, 1)
            modulation = modulation.reshape(*x.shape[:-1], -1)
        axis = -1 if isinstance(self.base, nn.LayerNorm) else 1
        delta_gamma, beta = modulation.chunk(2, dim=axis)
        return cast(Tensor, (1.0 + delta_gamma) * normalized + beta)

    def _grid(self, x: Tensor) -> tuple[int, int]:
        """Return rows and columns of what a LayerNorm sees."""
        if x.ndim == 4:
            return x.shape[1], x.shape[2]
        if x.ndim != 3:
            raise ValueError(f"MNorm cannot place the mask on a tensor of {x.ndim} axes.")
        tokens = x.shape[1]
        side = math.isqrt(tokens)
        rows, columns = self.token_grid or (side, side)
        if rows * columns != tokens:
            raise ValueError(
                f"{tokens} tokens are not a grid of {rows}×{columns}. "
                "Say what they are: mnorm(g, token_grid=(rows, columns))."
            )
        return rows, columns


def _features(norm: nn.Module) -> int:
    if isinstance(norm, nn.GroupNorm):
        return norm.num_channels
    if isinstance(norm, nn.LayerNorm):
        if len(norm.normalized_shape) != 1:
            raise ValueError("MNorm can take over a LayerNorm over the channels only.")
        return norm.normalized_shape[0]
    if isinstance(norm, NORMS):
        return cast(int, norm.num_features)
    raise ValueError(f"MNorm cannot take over a {type(norm).__name__}.")


def mnorm(
    network: nn.Module,
    where: Predicate | None = None,
    token_grid: tuple[int, int] | None = None,
    hidden: int = HIDDEN,
    channels: int = 2,
) -> ConditionedNetwork | ConditionedModule:
    """Turn g() into f(): MNorm in place of the normalization layers that ``where`` picks.

    At first f(I, M) = g(I), for any M.

    Args:
        network: g(), any module with normalization layers; it is copied, not changed.
        where: called with the name and the module of each layer of :data:`NORMS`; None for all.
        token_grid: see :class:`MNorm`; by default the ``token_grid`` of the layer's parent
            module, where it has one.
        hidden: see :class:`MNorm`.
        channels: k, the number of the mask's channels (2 in the paper: A and B).

    Returns:
        A :class:`ConditionedNetwork` around one of our networks, else a :class:`ConditionedModule`.

    Raises:
        ValueError: if there is no layer to replace.
    """
    network = copy.deepcopy(network)
    norms = {name: m for name, m in network.named_modules() if isinstance(m, NORMS)}
    chosen = [name for name, module in norms.items() if where is None or where(name, module)]
    if not chosen:
        found = ", ".join(norms) or "none"
        raise ValueError(f"MNorm found no normalization layer to replace (there are: {found}).")
    for name in chosen:
        parent = network.get_submodule(name.rpartition(".")[0])
        grid = token_grid or getattr(parent, "token_grid", None)
        replace_submodule(network, name, MNorm(norms[name], grid, hidden, channels))
    return conditioned(network, "mnorm")
