"""Warmth of the added light: a network's maps, changed so that red gains more and blue less.

Channel c's gain is raised to the power e_c = 1 + warmth · ``SHIFT[c]``, so what is not brightened
keeps its colour. The renderers know nothing of it: they get other maps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from maskupe.maps import (
    ILLUMINATION_FLOOR,
    AffineGrid,
    CurveMaps,
    GainGrid,
    Maps,
    ToneCurves,
    Window,
)
from maskupe.pixel_layout import LUMA
from maskupe.rendering import render_small
from maskupe.rendering.numpy_backend import guide_cells, guide_values
from maskupe.rendering.positions import Positions, axis_positions

Float = npt.NDArray[np.float32]

# How far the exponents of red and green, and of green and blue, lie apart at warmth 1: in the ratio
# of warmer and cooler daylight (CIE D, 5000 to 6500 K) in sRGB. With equal weight on red and blue
# warm light would be pink.
_STEPS = (0.095, 0.155)
#: What is added to the exponents of r, g, b at warmth 1: their mean, weighted by luma, is 0, so a
#: gray subject keeps its brightness.
SHIFT = tuple(
    step - float(_STEPS[0] * LUMA[0] - _STEPS[1] * LUMA[2]) for step in (_STEPS[0], 0.0, -_STEPS[1])
)
# Below this share of a context pixel a cell of a grid is not read by anything.
_UNREAD = 1e-6


def warmed(maps: Maps, warmth: float, context: Float) -> Maps:
    """Return maps that add warmer or cooler light.

    Exact for :class:`ToneCurves`, and for :class:`GainGrid` at its nodes. The other kinds do not
    hold a gain: in :class:`CurveMaps` and :class:`.LookUpTable` e_c multiplies what is added in
    place of its logarithm, and what darkens stays. In :class:`AffineGrid` the illumination S is
    affine in the colour and so cannot be raised to a power: each cell is multiplied by
    S₀^(e_c - 1) instead, with S₀ the geometric mean of S over those pixels of the context that
    read the cell. That is exact where S = S₀.

    Args:
        maps: what the network predicted.
        warmth: -1…1; positive is warmer, 0 returns ``maps`` itself.
        context: float32 (n, n, 3), the layer as the network saw it, 0…1.
    """
    if warmth == 0:
        return maps
    exponents = 1.0 + np.float32(warmth) * np.array(SHIFT, np.float32)
    if isinstance(maps, ToneCurves):
        return ToneCurves(
            maps.table ** exponents[:, None], maps.residual ** exponents[:, None, None]
        )
    each = exponents[:, None, None, None]
    if isinstance(maps, GainGrid):
        # A power needs positive numbers, and what is darker the renderer does not use.
        return GainGrid(np.maximum(maps.grid, np.float32(ILLUMINATION_FLOOR)) ** each)
    if isinstance(maps, CurveMaps):
        changed = np.maximum(maps.maps * exponents[:, None, None], np.float32(-1))
        return CurveMaps(np.where(maps.maps < 0, changed, maps.maps))
    if isinstance(maps, AffineGrid):
        logarithms = _mean_log_illumination(maps, context)
        factors = np.exp((exponents - 1)[:, None, None, None] * logarithms)
        return replace(maps, grid=maps.grid * factors[:, None])
    nodes = maps.table.shape[-1]
    axis = np.arange(nodes, dtype=np.float32) / np.float32(nodes - 1)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    identity = np.stack([red, green, blue])
    changed = identity + each * (maps.table - identity)
    bounds = min(0.0, float(maps.table.min())), max(1.0, float(maps.table.max()))
    return replace(
        maps, table=np.where(maps.table > identity, np.clip(changed, *bounds), maps.table)
    )


def _mean_log_illumination(maps: AffineGrid, context: Float) -> Float:
    """Return the mean logarithm of S over the context's pixels that read each cell of a grid.

    Returns:
        float32 (3, D, h, w), at most 0; 0 in cells that no pixel reads, and of black.
    """
    size = context.shape[0]
    enhanced = render_small(maps, context, Window(0, 0, size, size))
    known = (context > 0) & (enhanced > 0)
    illumination = np.divide(context, enhanced, out=np.ones_like(context), where=known)
    logarithms = np.minimum(np.log(np.maximum(illumination, np.float32(ILLUMINATION_FLOOR))), 0)
    shape = maps.grid.shape[2:]
    dark, light, part = guide_cells(guide_values(maps.guide, context), shape[0])
    rows, columns = (axis_positions(0, size, size, cells) for cells in shape[1:])
    total, amount = np.zeros((3, np.prod(shape))), np.zeros((3, np.prod(shape)))
    # The reverse of the trilinear look-up: every pixel gives to the eight cells that it reads.
    for tone, tone_share in ((dark, 1 - part), (light, part)):
        for row, row_share in _ends(rows):
            for column, column_share in _ends(columns):
                cell = ((tone * shape[1] + row[:, None]) * shape[2] + column).ravel()
                share = tone_share * row_share[:, None] * column_share
                for channel in range(3):
                    weight = (share * known[..., channel]).ravel()
                    values = weight * logarithms[..., channel].ravel()
                    amount[channel] += np.bincount(cell, weight, amount.shape[1])
                    total[channel] += np.bincount(cell, values, amount.shape[1])
    mean = np.divide(total, amount, out=np.zeros_like(total), where=amount > _UNREAD)
    return mean.astype(np.float32).reshape(3, *shape)


def _ends(axis: Positions) -> tuple[tuple[npt.NDArray[np.int32], Float], ...]:
    """Return the cells on both sides of each pixel of an axis, with their shares."""
    return (axis.low, 1 - axis.fraction), (axis.high, axis.fraction)
