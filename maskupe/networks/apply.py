"""Applies predicted maps to a full-size image in plain torch: differentiable, on any device.

This is the training path, and the same formulas as in :mod:`maskupe.maps`, to which the fast
renderer is held too. Everything here works on a batch; parts that are the same for the whole
batch (the guide's parameters) come without the leading axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from maskupe.maps import (
    ILLUMINATION_FLOOR,
    TONE_OFFSET,
    AffineGrid,
    CurveMaps,
    GainGrid,
    LookUpTable,
    ToneCurves,
)
from maskupe.networks.autograd_ops import piecewise_linear, quadratic_curves
from maskupe.pixel_layout import LUMA


class Enhanced(NamedTuple):
    """What a network makes of an image.

    Attributes:
        image: float (N, 3, H, W), the enhanced image, display-encoded.
        illumination: float (N, 3, H, W), the illumination S by which the image was divided, in
            (0, 1]; ``None`` where the type of map has none.
        maps: the predicted tensors, in the order of :func:`maskupe.maps.tensor_names`.
    """

    image: Tensor
    illumination: Tensor | None
    maps: tuple[Tensor, ...]


def apply_maps(
    map_type: type,
    maps: Sequence[Tensor],
    image: Tensor,
    areas: Tensor | None = None,
    degree: float = 1.0,
    strength: float = 1.0,
) -> Enhanced:
    """Apply maps to images of any size.

    Args:
        map_type: one of :data:`maskupe.maps.MAP_TYPES`.
        maps: tensors as :func:`maskupe.maps.tensor_names` orders them, with a leading batch axis
            (the guide's parameters without).
        image: float (N, 3, H, W), display-encoded, nominally 0…1; what exceeds the range is
            carried through by adding the difference that the map makes.
        areas: float (N, 2, H, W), A and B; only read where the guide has five inputs.
        degree: the paper's coefficient (Fig. 6): it multiplies the illumination (smaller is
            brighter) or the curve maps (larger is brighter).
        strength: t, 0 is the identity and 1 the network's proposal.
    """
    # Half precision is for the network: here it would band the picture and misplace grid cells.
    with torch.autocast(image.device.type, enabled=False):
        image, *precise = (_at_least_single(value) for value in (image, *maps))
        inside = image.clamp(0.0, 1.0)
        out, illumination = _APPLY[map_type](tuple(precise), inside, areas, degree, strength)
        return Enhanced(out + (image - inside), illumination, tuple(precise))


def _at_least_single(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def slice_grid(grid: Tensor, guide: Tensor) -> Tensor:
    """Slice a bilateral grid (Chen et al. 2007; Gharbi et al. 2017, Eq. 3).

    Args:
        grid: float (N, C, D, h, w).
        guide: float (N, H, W) in 0…1; g samples the luma axis at g · D - 0.5.

    Returns:
        float (N, C, H, W).
    """
    n, height, width = guide.shape
    y = _centres(height, guide).view(1, height, 1).expand(n, height, width)
    x = _centres(width, guide).view(1, 1, width).expand(n, height, width)
    at = torch.stack([x, y, 2.0 * guide - 1.0], dim=-1).unsqueeze(1)
    sampled = F.grid_sample(grid, at, padding_mode="border", align_corners=False)
    return sampled.squeeze(2)


def _centres(count: int, like: Tensor) -> Tensor:
    """Return pixel centres in grid_sample's -1…1."""
    steps = torch.arange(count, device=like.device, dtype=like.dtype)
    return (2.0 * steps + 1.0) / count - 1.0


def guide_map(parameters: Sequence[Tensor], image: Tensor, areas: Tensor | None) -> Tensor:
    """The guidance map of :class:`maskupe.maps.Guide` at the image's size, (N, H, W) in 0…1."""
    matrix, bias, shifts, slopes, mix, mix_bias = parameters
    seen = image
    if matrix.shape[1] > 3:
        if areas is None:
            raise ValueError("This guide sees the areas: pass them together with the image.")
        seen = torch.cat([image, areas.to(image).expand(image.shape[0], -1, -1, -1)], dim=1)
    colour = F.conv2d(seen, matrix[:, :, None, None], bias)
    curved = piecewise_linear(colour, shifts, slopes)
    mixed = F.conv2d(curved, mix.view(1, 3, 1, 1), mix_bias)
    return mixed.squeeze(1).clamp(0.0, 1.0)


_Applied = tuple[Tensor, Tensor | None]


class _Bounded(torch.autograd.Function):
    """max(min(raw, 1), floor), through which a little of the gradient passes outside too.

    A clamp has none there: a network that once predicts S above 1, or below I, everywhere would
    answer with the identity for ever.
    """

    LEAK = 0.1

    @staticmethod
    def forward(ctx: Any, raw: Tensor, floor: Tensor) -> Tensor:
        """Return float (N, 3, H, W) of the same shape."""
        ctx.save_for_backward((raw > 1.0) | (raw < floor))
        return torch.maximum(raw.clamp(max=1.0), floor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of ``raw``."""
        (outside,) = ctx.saved_tensors
        return torch.where(outside, _Bounded.LEAK * gradient, gradient), None


def _divide(raw: Tensor, image: Tensor, degree: float, strength: float) -> _Applied:
    """Return S = max(min(raw, 1), I, floor), then I / (degree · S)^t."""
    floor = image.clamp(min=ILLUMINATION_FLOOR)
    illumination: Tensor = _Bounded.apply(raw, floor)  # type: ignore[no-untyped-call]
    divisor = illumination if degree == 1.0 else degree * illumination
    if strength != 1.0:
        divisor = divisor**strength
    return image / divisor, illumination


def _affine_grid(
    maps: tuple[Tensor, ...], image: Tensor, areas: Tensor | None, degree: float, strength: float
) -> _Applied:
    grid, *guide = maps
    n, _, _, depth, height, width = grid.shape
    flat = grid.reshape(n, 12, depth, height, width)
    coefficients = slice_grid(flat, guide_map(guide, image, areas))
    coefficients = coefficients.reshape(n, 3, 4, *image.shape[2:])
    raw = (coefficients[:, :, :3] * image.unsqueeze(1)).sum(2) + coefficients[:, :, 3]
    return _divide(raw, image, degree, strength)


def _gain_grid(
    maps: tuple[Tensor, ...], image: Tensor, areas: Tensor | None, degree: float, strength: float
) -> _Applied:
    return _divide(slice_grid(maps[0], luma(image).sqrt()), image, degree, strength)


def luma(image: Tensor) -> Tensor:
    """Return 0.299 r + 0.587 g + 0.114 b of (N, 3, H, W), as (N, H, W)."""
    red, green, blue = image.unbind(1)
    r, g, b = LUMA.tolist()
    return cast(Tensor, r * red + g * green + b * blue)


def _curve_maps(
    maps: tuple[Tensor, ...], image: Tensor, areas: Tensor | None, degree: float, strength: float
) -> _Applied:
    size = (image.shape[2], image.shape[3])
    rates = _resize(maps[0].flatten(1, 2), size).reshape(*maps[0].shape[:3], *size)
    if degree * strength != 1.0:
        rates = rates * (degree * strength)
    return quadratic_curves(image, rates).clamp(0.0, 1.0), None


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def _tone_curves(
    maps: tuple[Tensor, ...], image: Tensor, areas: Tensor | None, degree: float, strength: float
) -> _Applied:
    table, residual = maps
    if strength != 1.0:
        table, residual = table**strength, residual**strength
    n, _, height, width = image.shape
    # A table is an image of one row to grid_sample; its rows' coordinate plays no part.
    column = 2.0 * image.sqrt().reshape(n * 3, height, width) - 1.0
    at = torch.stack([column, torch.zeros_like(column)], dim=-1)
    rows = table.reshape(n * 3, 1, 1, -1)
    curve = F.grid_sample(rows, at, padding_mode="border", align_corners=True)
    gain = curve.reshape(n, 3, height, width) * _resize(residual, (height, width))
    gain = gain / degree**strength
    lifted = (image + TONE_OFFSET) * gain - TONE_OFFSET
    return torch.maximum(lifted.clamp(0.0, 1.0), image), 1.0 / gain


def _look_up_table(
    maps: tuple[Tensor, ...], image: Tensor, areas: Tensor | None, degree: float, strength: float
) -> _Applied:
    # grid_sample's (x, y, z) are the table's last to first axes: red, green, blue.
    at = (2.0 * image - 1.0).permute(0, 2, 3, 1).unsqueeze(1)
    looked_up = F.grid_sample(maps[0], at, padding_mode="border", align_corners=True).squeeze(2)
    return image + (degree * strength) * (looked_up - image), None


_APPLY: dict[type, Callable[..., _Applied]] = {
    AffineGrid: _affine_grid,
    GainGrid: _gain_grid,
    CurveMaps: _curve_maps,
    ToneCurves: _tone_curves,
    LookUpTable: _look_up_table,
}
