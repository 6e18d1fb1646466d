"""What a network hands to the renderer: a few compact types of map, as plain numpy arrays.

A network sees the context at 256×256 and predicts one of these; the renderer applies it to the
full-size pixels. They are the only interface between the two, so any network whose output can be
written as one of them gets the fast full-size path, on any inference engine.

Coordinates are normalised to the context frame: x = (column + 0.5) / width, y likewise, both in
0…1 over the whole layer. Grids are sampled with cell centres at (i + 0.5) / n and border values
held (torch's ``grid_sample`` with ``align_corners=False, padding_mode="border"``).

Colours are display-encoded, nominally 0…1. In every formula below I is the input clipped to
0…1; what exceeds the range is carried through by adding the *difference* that the map makes, so
values above one and below zero survive. t is the strength: 0 is the identity, 1 the network's
proposal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, TypeAlias, get_args, get_type_hints

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float32]

#: A length that an array must have, or a name: all lengths of a map with the same name are equal,
#: and positive. The shapes stand beside the arrays' types.
Length: TypeAlias = int | str


#: Illumination never falls below this: a gain of at most 1000, and no 0/0 on black pixels.
ILLUMINATION_FLOOR = 1e-3


@dataclass(frozen=True)
class Guide:
    """A full-resolution guidance map with learned curves (DeepUPE; Gharbi et al. 2017, Sec. 3.4).

    guide = clip(mix_bias + Σ_c mix[c] · curve_c(p[c]), 0, 1), with
    p = matrix @ [r, g, b] + bias, curve_c(p) = Σ_k slopes[c, k] · relu(p - shifts[c, k]).

    Attributes:
        matrix: float32 (3, 3). What a network predicts may have two columns more, for A and B as 0
            or 1: see :func:`from_arrays`.
        bias: float32 (3,).
        shifts: float32 (3, K), the curves' knots.
        slopes: float32 (3, K), the slope that each knot adds.
        mix: float32 (3,).
        mix_bias: float32 (1,).
    """

    matrix: Annotated[Array, (3, 3)]
    bias: Annotated[Array, (3,)]
    shifts: Annotated[Array, (3, "knots")]
    slopes: Annotated[Array, (3, "knots")]
    mix: Annotated[Array, (3,)]
    mix_bias: Annotated[Array, (1,)]


@dataclass(frozen=True)
class AffineGrid:
    """A bilateral grid of affine colour maps that give the illumination (DeepUPE).

    S_raw = A(x, y, guide) @ [I; 1]; S = max(min(S_raw, 1), I, floor); out = I / S^t.
    ``degree`` d of the paper's Fig. 6 multiplies S before its use.

    Attributes:
        grid: float32 (3, 4, D, h, w): output channel, input (r, g, b, 1), luma bin, row, column.
        guide: the guidance map; its value g samples the luma axis at g · D - 0.5.
    """

    grid: Annotated[Array, (3, 4, "bins", "rows", "columns")]
    guide: Guide


@dataclass(frozen=True)
class GainGrid:
    """A bilateral grid of illuminations, sliced by luma: S directly, no affine step.

    S = max(min(slice(grid, x, y, luma(I)^(1/2)), 1), I, floor); out = I / S^t, per channel, with
    luma = 0.299 r + 0.587 g + 0.114 b. Networks that predict pixels are turned into this.

    Attributes:
        grid: float32 (3, D, h, w), illumination in (0, 1].
    """

    grid: Annotated[Array, (3, "bins", "rows", "columns")]


@dataclass(frozen=True)
class CurveMaps:
    """Maps of the quadratic light-enhancement curve (Zero-DCE; Guo et al. 2020, Eq. 3).

    x_0 = I; x_{i+1} = x_i + t · r_i · (x_i² - x_i), out = clip(x_n, 0, 1). r < 0 brightens.

    Attributes:
        maps: float32 (n, 3, h, w), r_i in [-1, 1], bilinear between its cells.
    """

    maps: Annotated[Array, ("steps", 3, "rows", "columns")]


#: Tone curves act on I + this, so that they can lift pure black (about half a level of 8 bits).
TONE_OFFSET = 1.0 / 512.0


@dataclass(frozen=True)
class ToneCurves:
    """One tone curve per channel and a smooth low-resolution residual: our own model.

    G_c = table_c(u) · residual_c(x, y) with u = sqrt(I_c) · (T - 1), linear between the entries;
    out_c = max(I_c, clip((I_c + o) · G_c^t - o, 0, 1)) with o = ``TONE_OFFSET``: light is added,
    never taken away. The power t applies to the table's entries (before they are interpolated) and
    to the residual's cells alike, so any strength costs the same.

    Attributes:
        table: float32 (3, T), gain of I + o at I = (i / (T - 1))²; positive.
        residual: float32 (3, h, w), a further gain, bilinear between cells; positive.
    """

    table: Annotated[Array, (3, "entries")]
    residual: Annotated[Array, (3, "rows", "columns")]


@dataclass(frozen=True)
class LookUpTable:
    """A 3D colour look-up table (Zeng et al. 2020).

    out = I + t · (trilinear(table, I) - I); node i of an axis lies at i / (N - 1).

    Attributes:
        table: float32 (3, N, N, N): output channel, then blue, green, red index (red fastest).
    """

    table: Annotated[Array, (3, "nodes", "nodes", "nodes")]


Maps: TypeAlias = AffineGrid | GainGrid | CurveMaps | ToneCurves | LookUpTable

MAP_TYPES: Mapping[str, type] = {
    each.__name__: each for each in (AffineGrid, GainGrid, CurveMaps, ToneCurves, LookUpTable)
}


def shapes_of(map_type: type) -> dict[str, tuple[Length, ...]]:
    """Names of the arrays of a type of map, in order, the guide's written as ``guide.matrix`` …

    Returns:
        With each its shape.
    """
    shapes: dict[str, tuple[Length, ...]] = {}
    for name, hint in get_type_hints(map_type, include_extras=True).items():
        if hint is Guide:
            shapes |= {f"{name}.{part}": shape for part, shape in shapes_of(Guide).items()}
        else:
            shapes[name] = get_args(hint)[-1]
    return shapes


def tensor_names(map_type: type) -> tuple[str, ...]:
    """Return the names alone; see :func:`shapes_of`."""
    return tuple(shapes_of(map_type))


def find_invalid_array(maps: Maps) -> tuple[str, npt.NDArray[Any]] | None:
    """The first array, with its name, that is not float32 or not of the shape that it must have."""
    lengths: dict[str, int] = {}
    for name, shape in shapes_of(type(maps)).items():
        array: npt.NDArray[Any] = attrgetter(name)(maps)
        if array.dtype != np.float32 or array.ndim != len(shape):
            return name, array
        for length, wanted in zip(array.shape, shape, strict=True):
            if isinstance(wanted, str):
                fits = length > 0 and lengths.setdefault(wanted, length) == length
            else:
                fits = length == wanted
            if not fits:
                return name, array
    return None


def from_arrays(map_type: type, arrays: Mapping[str, npt.NDArray[Any]]) -> Maps:
    """Build a map from its named arrays (see :func:`tensor_names`), as contiguous float32.

    A guide that sees the areas (its matrix has five columns) takes every pixel for one of A from
    here on. It would change abruptly where A ends, and so would the picture; what is made of B
    fades out anyway, and a band that is lit like A and fades is smooth.
    """

    def get(name: str) -> Array:
        return np.ascontiguousarray(arrays[name], np.float32)

    values: dict[str, Any] = {name: get(name) for name in shapes_of(map_type) if "." not in name}
    if map_type is AffineGrid:
        guide = {name: get(f"guide.{name}") for name in shapes_of(Guide)}
        matrix = guide["matrix"]
        if matrix.ndim == 2 and matrix.shape[1] == 5:
            guide["matrix"] = np.ascontiguousarray(matrix[:, :3])
            guide["bias"] = guide["bias"] + matrix[:, 3]
        values["guide"] = Guide(**guide)
    result: Maps = map_type(**values)
    return result


@dataclass(frozen=True)
class Window:
    """Where a region lies in the layer that the maps cover, in full-size pixels.

    Attributes:
        x: column of the region's left edge, 0-based.
        y: row of the region's top edge.
        layer_width: width of the whole layer.
        layer_height: height of the whole layer.
    """

    x: int
    y: int
    layer_width: int
    layer_height: int
