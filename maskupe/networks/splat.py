"""Bilateral-guided upsampling: a bilateral grid from what was computed at low resolution.

Chen et al., "Bilateral Guided Upsampling" (2016) fit a grid to a low-resolution input and output;
this is its fast form: every pixel is splatted into the cells around it, weighted by its luma, and
the cells are normalised. Differentiable, so a network can be trained through it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

# How much the mean of a place over all lumas counts against one pixel's share of a luma bin:
# little, but bins that no pixel falls into get a sensible value from it.
_PRIOR = 0.02


def splat(values: Tensor, guide: Tensor, depth: int, size: int) -> Tensor:
    """Return a grid that gives the values back when it is sliced by the guide.

    Args:
        values: float (N, C, H, W).
        guide: float (N, H, W) in 0…1.
        depth: number of bins along the guide.
        size: rows and columns of the grid; H and W are multiples of it, at least twice it.

    Returns:
        float (N, C, depth, size, size), within the range of the values.
    """
    n, channels, height, width = values.shape
    bins = torch.arange(depth, device=values.device, dtype=values.dtype).view(1, depth, 1, 1)
    position = (guide * depth - 0.5).clamp(0.0, depth - 1.0).unsqueeze(1)
    shares = (1.0 - (position - bins).abs()).clamp(min=0.0)
    weighted = (values.unsqueeze(2) * shares.unsqueeze(1)).reshape(n, -1, height, width)
    amount = _gather(shares, size).unsqueeze(1)
    total = _gather(weighted, size).reshape(n, channels, depth, size, size)
    mean = total.sum(2, keepdim=True) / amount.sum(2, keepdim=True)
    return (total + _PRIOR * mean) / (amount + _PRIOR)


def _gather(planes: Tensor, size: int) -> Tensor:
    """Return sums of (N, C, H, W) over overlapping tents around the cells: (N, C, size, size)."""
    fine = F.adaptive_avg_pool2d(planes, (2 * size, 2 * size))
    padded = F.pad(fine, (1, 1, 1, 1), mode="replicate")
    # Four half cells, weighted 1 3 3 1: a tent that reaches half-way into the neighbours.
    # Computed where it is needed: a CUDA graph records no copies from the processor's memory.
    steps = torch.arange(4, device=planes.device, dtype=planes.dtype)
    kernel = (4.0 - (2.0 * steps - 3.0).abs()) / 8.0
    count = planes.shape[1]
    across = kernel.view(1, 1, 1, 4).expand(count, 1, 1, 4)
    down = kernel.view(1, 1, 4, 1).expand(count, 1, 4, 1)
    half = F.conv2d(padded, across, stride=(1, 2), groups=count)
    return F.conv2d(half, down, stride=(2, 1), groups=count)
