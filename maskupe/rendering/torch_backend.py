"""The reference of the renderer, in plain torch: any device, strip by strip.

It is written for the reader: each function is the formula of :mod:`maskupe.maps`, with a look-up
where the formula says look-up. The other backends are tested against it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from maskupe.maps import (
    ILLUMINATION_FLOOR,
    TONE_OFFSET,
    AffineGrid,
    CurveMaps,
    GainGrid,
    Guide,
    Maps,
    ToneCurves,
)
from maskupe.parallel import STRIP_PIXELS, rows_of
from maskupe.pixel_layout import LUMA
from maskupe.rendering.job import Job
from maskupe.rendering.pixels import finish_difference, read_rows, write_rows
from maskupe.rendering.positions import Frame


def prepare(job: Job, device: str) -> tuple[Callable[[int, int], None], int]:
    """The function that renders a strip of rows on ``device``, and how many rows to give it."""
    maps = _to_device(job.maps, torch.device(device))

    def strip(first: int, last: int) -> None:
        image, out, coverage = (p[first:last] for p in (job.image, job.out, job.coverage))
        opened = read_rows(image)
        clean = job.clean(first, last) if job.clean is not None else None
        source = opened.colour if clean is None else clean[..., :3]
        colour = torch.from_numpy(np.ascontiguousarray(source)).to(device).permute(2, 0, 1)
        with torch.inference_mode():
            enhanced = enhance(maps, job.strength, job.frame, first, colour)
            difference = (enhanced - colour).permute(1, 2, 0).contiguous().cpu().numpy()
        finish_difference(job, opened, clean, difference)
        bound = job.bound_rows(first, last)
        write_rows(opened, difference, job.fade.weights(coverage), out, bound)

    return strip, rows_of(STRIP_PIXELS, job.width)


def _to_device(maps: Any, device: torch.device) -> Any:
    """Return the same map or guide with tensors on a device in place of its arrays."""
    changes = {
        field.name: _to_device(value, device)
        if isinstance(value := getattr(maps, field.name), Guide)
        else torch.from_numpy(np.array(value)).to(device)
        for field in fields(maps)
    }
    return replace(maps, **changes)


def enhance(maps: Maps, t: float, frame: Frame, first: int, colour: Tensor) -> Tensor:
    """Return enhanced colours (3, rows, w) of colours (3, rows, w) in 0…1, from row ``first`` on.

    Args:
        maps: a map whose arrays are tensors on the colours' device.
        t: the strength.
        frame: where the region lies.
        first: the region's row at which the strip begins.
        colour: float32 (3, rows, w).
    """
    # The arrays of `maps` are tensors here; its types say numpy, hence the casts to Any.
    parts = cast(Any, maps)
    count = colour.shape[1]
    if isinstance(maps, ToneCurves):
        residual = sample(parts.residual, frame, first, count)
        gain = torch.stack([_curve(parts.table[c], colour[c].sqrt()) for c in range(3)]) * residual
        lifted = (colour + TONE_OFFSET) * gain - TONE_OFFSET
        return torch.maximum(lifted.clamp(0, 1), colour)
    if isinstance(maps, CurveMaps):
        x = colour
        for step in parts.maps:
            x = x + t * sample(step, frame, first, count) * (x * x - x)
        return x.clamp(0, 1)
    if isinstance(maps, GainGrid):
        # Not a product of matrices, whose last bits depend on how many pixels there are.
        luma = sum((float(share) * plane for share, plane in zip(LUMA, colour, strict=True)))
        return _brighten(slice_grid(parts.grid, luma.sqrt(), frame, first), colour, t)
    if isinstance(maps, AffineGrid):
        guide = guide_values(parts.guide, colour)
        affine = slice_grid(parts.grid.flatten(0, 1), guide, frame, first)
        affine = affine.view(3, 4, *guide.shape)
        return _brighten((affine[:, :3] * colour).sum(1) + affine[:, 3], colour, t)
    return colour + t * (_trilinear(parts.table, colour) - colour)


def _axes(
    frame: Frame, first: int, count: int, shape: torch.Size, device: torch.device
) -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
    """Both (cell, share) pairs of linear interpolation, for rows (n, 1) and columns (1, n)."""
    rows, columns = frame.rows(first, first + count, shape[-2]), frame.columns(shape[-1])
    result = []
    for positions, form in ((rows, (-1, 1)), (columns, (1, -1))):
        share = torch.from_numpy(positions.fraction).to(device).view(form)
        low, high = (
            torch.from_numpy(cell).to(device).long().view(form)
            for cell in (positions.low, positions.high)
        )
        result.append([(low, 1 - share), (high, share)])
    return result[0], result[1]


def sample(planes: Tensor, frame: Frame, first: int, count: int) -> Tensor:
    """Return bilinear values (n, count, w) of planes (n, gh, gw) at the region's pixels."""
    rows, columns = _axes(frame, first, count, planes.shape, planes.device)
    return torch.stack([planes[:, y, x] * (sy * sx) for y, sy in rows for x, sx in columns]).sum(0)


def slice_grid(grid: Tensor, guide: Tensor, frame: Frame, first: int) -> Tensor:
    """Trilinear values (n, rows, w) of a grid (n, D, gh, gw) at guide values (rows, w) in 0…1."""
    bins = grid.shape[1]
    z = (guide * bins - 0.5).clamp(0, bins - 1)
    low = z.long().clamp(max=max(bins - 2, 0))
    depth = [(low, 1 - (z - low)), ((low + 1).clamp(max=bins - 1), z - low)]
    rows, columns = _axes(frame, first, guide.shape[0], grid.shape, grid.device)
    result = torch.zeros_like(guide.expand(grid.shape[0], -1, -1))
    for k, sk in depth:
        for y, sy in rows:
            for x, sx in columns:
                result = result + grid[:, k, y, x] * (sk * sy * sx)
    return result


def guide_values(guide: Any, colour: Tensor) -> Tensor:
    """Return the guidance map (rows, w), 0…1, of a guide made of tensors."""
    place = torch.tensordot(guide.matrix, colour, 1) + guide.bias[:, None, None]
    curves = torch.zeros_like(place)
    for k in range(guide.shifts.shape[1]):
        shift, slope = guide.shifts[:, k, None, None], guide.slopes[:, k, None, None]
        curves = curves + slope * (place - shift).relu()
    value: Tensor = torch.tensordot(guide.mix, curves, 1) + guide.mix_bias
    return value.clamp(0, 1)


def _brighten(illumination: Tensor, colour: Tensor, t: float) -> Tensor:
    """Return I / S^t with S bounded by 1, I and the floor."""
    bounded = torch.maximum(illumination.clamp(max=1), colour).clamp(min=ILLUMINATION_FLOOR)
    return colour / bounded**t


def _curve(table: Tensor, place: Tensor) -> Tensor:
    """Linear interpolation of a table (T,) at places 0…1 from its first to its last entry."""
    u = place * (table.shape[0] - 1)
    low = u.long().clamp(max=max(table.shape[0] - 2, 0))
    high = (low + 1).clamp(max=table.shape[0] - 1)
    return table[low] + (u - low) * (table[high] - table[low])


def _trilinear(table: Tensor, colour: Tensor) -> Tensor:
    """Return values (3, rows, w) of a table (3, blue, green, red) at colours (3, rows, w)."""
    nodes = table.shape[-1]
    place = colour * (nodes - 1)
    low = place.long().clamp(max=max(nodes - 2, 0))
    high = (low + 1).clamp(max=nodes - 1)
    share = place - low
    result = torch.zeros_like(colour)
    for r, sr in ((low[0], 1 - share[0]), (high[0], share[0])):
        for g, sg in ((low[1], 1 - share[1]), (high[1], share[1])):
            for b, sb in ((low[2], 1 - share[2]), (high[2], share[2])):
                result = result + table[:, b, g, r] * (sr * sg * sb)
    return result
