"""Random but well-conditioned rendering problems, shared by the renderer's tests."""

from __future__ import annotations

import numpy as np

from maskupe.areas.transition import Areas
from maskupe.blending.weights import BlendCurve, LightLimit, linear
from maskupe.maps import (
    AffineGrid,
    CurveMaps,
    GainGrid,
    Guide,
    LookUpTable,
    Maps,
    ToneCurves,
    Window,
)
from maskupe.rendering import native_backend

KINDS = ("AffineGrid", "GainGrid", "CurveMaps", "ToneCurves", "LookUpTable")
DTYPES = (np.uint8, np.uint16, np.float32)
#: The backends that can run here; the compiled one is missing only where no compiler was.
FAST = ["numpy", "native"] if native_backend.available() else ["numpy"]

#: How far two backends may lie apart: a rounding step of integers, float32 rounding else. At 16
#: bits a level is 1.5e-5, so that float rounding shows as one level.
TOLERANCE = {np.dtype(np.uint8): 1, np.dtype(np.uint16): 1, np.dtype(np.float32): 1e-5}


def uniform(rng: np.random.Generator, low: float, high: float, *shape: int) -> np.ndarray:
    return (low + (high - low) * rng.random(shape)).astype(np.float32)


def random_maps(
    kind: str,
    rng: np.random.Generator,
    grid: tuple[int, int] = (5, 4),
    count: int = 8,
) -> Maps:
    """A map of a kind: ``grid`` its (rows, columns), ``count`` its bins, steps, entries or nodes.

    Tables bend gently, as a network's do: an entry that differs wildly from its neighbour would
    make the result depend on the last bit of the square root that finds the place.
    """
    h, w = grid
    if kind == "GainGrid":
        return GainGrid(uniform(rng, 0.05, 1.1, 3, count, h, w))
    if kind == "CurveMaps":
        return CurveMaps(uniform(rng, -1, 0.4, count, 3, h, w))
    if kind == "ToneCurves":
        steps = uniform(rng, -4, 4, 3, count) / max(count, 8)
        return ToneCurves(
            np.maximum(2.5 + np.cumsum(steps, axis=1), 0.3).astype(np.float32),
            uniform(rng, 0.5, 1.5, 3, h, w),
        )
    if kind == "LookUpTable":
        return LookUpTable(uniform(rng, -0.1, 1.1, 3, count, count, count))
    guide = Guide(
        uniform(rng, -0.3, 0.6, 3, 3),
        uniform(rng, -0.1, 0.1, 3),
        uniform(rng, -0.2, 1, 3, 7),
        uniform(rng, -0.5, 0.7, 3, 7),
        uniform(rng, -0.3, 1, 3),
        uniform(rng, -0.1, 0.2, 1),
    )
    return AffineGrid(uniform(rng, -0.2, 0.6, 3, 4, count, h, w), guide)


def random_areas(rng: np.random.Generator, height: int, width: int) -> Areas:
    """Areas in blocks, so that rows have runs of weight 0, of 1 and in between."""
    cells = rng.integers(0, 3, (-(-height // 5), -(-width // 9)))
    kind = np.kron(cells, np.ones((5, 9), int))[:height, :width]
    a, b = kind == 1, kind == 2
    weight = np.where(a, 1, np.where(b, rng.random((height, width)), 0)).astype(np.float32)
    return Areas(a, b, weight, 3.0)


def random_fade(rng: np.random.Generator) -> BlendCurve:
    """A ramp that rises, and mostly a bound on the light that is added on edges.

    The bound's rectangle lies anywhere about the layers of :func:`window_around`.
    """
    ramp = linear().ramp ** np.float32(rng.uniform(0.5, 2))
    if rng.random() < 0.2:
        return BlendCurve(ramp)
    rows, columns = (int(value) for value in rng.integers(1, 20, 2))
    left, top = (int(value) for value in rng.integers(0, 60, 2))
    width, height = (int(value) for value in rng.integers(1, 400, 2))
    plane = uniform(rng, 0.0, 0.6, rows, columns)
    return BlendCurve(ramp, LightLimit(plane, left, top, width, height))


def everything(height: int, width: int) -> Areas:
    ones = np.ones((height, width), bool)
    return Areas(ones, ~ones, np.ones((height, width), np.float32), 0.0)


def random_image(
    rng: np.random.Generator, height: int, width: int, channels: int | None, dtype: type
) -> np.ndarray:
    """Pixels, floats also a little outside 0…1; ``channels`` None gives (h, w). Some alpha is 0."""
    shape = (height, width) if channels is None else (height, width, channels)
    image = rng.random(shape).astype(np.float32)
    if dtype == np.float32:
        image = (image * 1.3 - 0.15).astype(np.float32)
    else:
        image = np.round(image * np.iinfo(dtype).max).astype(dtype)
    if channels in (2, 4):
        image[..., -1][rng.random((height, width)) < 0.3] = 0
    return image


def window_around(rng: np.random.Generator, height: int, width: int) -> Window:
    """Somewhere in a larger layer."""
    left, top, right, bottom = (int(value) for value in rng.integers(0, 40, 4))
    return Window(left, top, left + width + right, top + height + bottom)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference, as a number of levels or of float32 units."""
    if one.size == 0:
        return 0.0
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())
