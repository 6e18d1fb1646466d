"""Batch norms whose statistics are those of the whole batch, however many processes share it.

PyTorch's ``SyncBatchNorm`` needs CUDA. This one runs wherever ``torch.distributed`` does, so that
what many GPUs do is tested on processors, and it needs no scale and shift, which
:class:`~maskupe.conditioning.mnorm.MNorm` takes from its norms.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from maskupe.conditioning.local import replace_submodule


class SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """A batch norm over all processes of the default group, each with equally many values."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (N, C, H, W); while training by the moments of all processes' batches."""
        if not self.training:
            return super().forward(input)
        # Sums of half precision values would overflow, or lose the small ones.
        wide = input.to(torch.promote_types(input.dtype, torch.float32))
        mean = _averaged(wide.mean((0, 2, 3)))
        centred = wide - mean[:, None, None]
        # The squares of what is left, in a second pass: E[x²] - E[x]² cancels.
        variance = _averaged(centred.square().mean((0, 2, 3)))
        self._follow(mean, variance, dist.get_world_size() * input.numel() // input.shape[1])
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        out = centred * scale[:, None, None]
        if self.bias is not None:
            out = out + self.bias[:, None, None]
        return out.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics as PyTorch's batch norms do: by the unbiased variance."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum
        if share is None:
            share = 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        unbiased = variance * (count / max(1, count - 1))
        self.running_var.lerp_(unbiased.to(self.running_var), share)


def synchronise_norms(module: nn.Module) -> None:
    """Put synchronised norms in place of a module's batch norms; keys and values stay."""
    for name, norm in list(module.named_modules()):
        if not isinstance(norm, nn.BatchNorm2d) or isinstance(norm, SynchronisedBatchNorm2d):
            continue
        synchronised = SynchronisedBatchNorm2d(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
        )
        # The very parameters: an optimizer, or a running average, may know them already.
        synchronised._parameters = norm._parameters
        synchronised._buffers = norm._buffers
        replace_submodule(module, name, synchronised.train(norm.training))


def _averaged(values: Tensor) -> Tensor:
    return cast(Tensor, _Sum.apply(values)) / dist.get_world_size()  # type: ignore[no-untyped-call]


class _Sum(torch.autograd.Function):
    """The sum over all processes; so each one's values have a part in all processes' losses."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total
