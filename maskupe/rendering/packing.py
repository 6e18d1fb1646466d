"""Brings a map into the order of memory in which the kernel reads it.

The kernel's headers say what each map's ``map``, ``table`` and ``guide`` hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from maskupe.maps import (
    TONE_OFFSET,
    AffineGrid,
    CurveMaps,
    GainGrid,
    Guide,
    LookUpTable,
    Maps,
    ToneCurves,
)

#: Arrays begin at multiples of this many bytes on the card.
ALIGNMENT = 256

Floats = npt.NDArray[np.float32]

TONE, CURVE, GAIN, AFFINE, TABLE = range(5)


def _nothing() -> Floats:
    """Return what the kernel is pointed to where a map has no such array."""
    return np.zeros(1, np.float32)


@dataclass(frozen=True)
class PackedMap:
    """One map as the kernel wants it.

    Attributes:
        map_number: the kernel's number of the type of map.
        count: curve steps, luma bins, table entries or nodes.
        map: grids with rows and columns first, others as planes.
        shape: (rows, columns) of the map, None where it has none.
        table, guide, knots: where the map has them.
    """

    map_number: int
    count: int
    map: Floats = field(default_factory=_nothing)
    shape: tuple[int, int] | None = None
    table: Floats = field(default_factory=_nothing)
    guide: Floats = field(default_factory=_nothing)
    knots: int = 0


def pack_map(maps: Maps, dtype: np.dtype[Any]) -> PackedMap:
    """Arrange any map for pixels of ``dtype``."""
    if isinstance(maps, ToneCurves):
        return _tone_curves(maps, dtype)
    if isinstance(maps, CurveMaps):
        planes = np.ascontiguousarray(maps.maps)
        return PackedMap(CURVE, planes.shape[0], planes, _rows_columns(planes))
    if isinstance(maps, GainGrid):
        cells = np.ascontiguousarray(maps.grid.transpose(2, 3, 1, 0))
        return PackedMap(GAIN, maps.grid.shape[1], cells, _rows_columns(maps.grid))
    if isinstance(maps, AffineGrid):
        cells = np.ascontiguousarray(maps.grid.transpose(3, 4, 2, 0, 1))
        return PackedMap(
            AFFINE,
            maps.grid.shape[2],
            cells,
            _rows_columns(maps.grid),
            guide=_guide(maps.guide),
            knots=maps.guide.shifts.shape[1],
        )
    return _look_up_table(maps)


def _rows_columns(planes: Floats) -> tuple[int, int]:
    return planes.shape[-2], planes.shape[-1]


def _tone_curves(maps: ToneCurves, dtype: np.dtype[Any]) -> PackedMap:
    gain = maps.table
    if gain.shape[1] == 1:
        gain = np.repeat(gain, 2, axis=1)
    entries = gain.shape[1]
    if dtype == np.uint8:
        colour = np.arange(256, dtype=np.float32) / np.float32(255)
        place = np.sqrt(colour) * np.float32(entries - 1)
        low = np.minimum(place.astype(np.int32), entries - 2)
        part = place - low
        values = gain[:, low] + part * (gain[:, low + 1] - gain[:, low])
        table = (colour + np.float32(TONE_OFFSET)) * values
    else:
        table = np.stack([gain, np.diff(gain, axis=1, append=gain[:, -1:])], axis=2)
    return PackedMap(
        TONE,
        entries,
        np.ascontiguousarray(maps.residual),
        _rows_columns(maps.residual),
        table=np.ascontiguousarray(table, np.float32),
    )


def _guide(guide: Guide) -> Floats:
    """Return matrix, bias and the curves with sorted knots and the lines between them."""
    parts = [guide.matrix.ravel(), guide.bias, guide.mix_bias]
    for shifts, slopes, mix in zip(guide.shifts, guide.slopes, guide.mix, strict=True):
        order = np.argsort(shifts, kind="stable")
        knots = shifts[order]
        steps = slopes[order].astype(np.float64) * float(mix)
        lines = np.concatenate([[0.0], np.cumsum(steps)])
        intercepts = np.concatenate([[0.0], -np.cumsum(steps * knots)])
        parts += [knots, steps, lines, intercepts]
    return np.concatenate([np.asarray(part, np.float32) for part in parts])


def _look_up_table(maps: LookUpTable) -> PackedMap:
    table = maps.table
    if table.shape[-1] == 1:
        table = np.tile(table, (1, 2, 2, 2))
    entries = np.zeros((*table.shape[1:], 4), np.float32)
    entries[..., :3] = table.transpose(1, 2, 3, 0)
    return PackedMap(TABLE, table.shape[-1], table=entries)


def pack(sizes: Mapping[str, int]) -> tuple[dict[str, slice], int]:
    """Return where arrays of so many bytes lie in one block of memory, and how large that is."""
    places, end = {}, 0
    for name, size in sizes.items():
        places[name] = slice(end, end + size)
        end += -(-size // ALIGNMENT) * ALIGNMENT
    return places, end
