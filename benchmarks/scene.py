"""What is rendered in the benchmark: a synthetic dark photograph, a selection, and maps."""

from __future__ import annotations

import math

import cv2
import numpy as np

from maskupe.maps import (
    AffineGrid,
    Array,
    CurveMaps,
    GainGrid,
    Guide,
    LookUpTable,
    Maps,
    ToneCurves,
)
from maskupe.pixel_layout import PIXEL_TYPES

#: Depths by the name they have in the table.
DEPTHS = {f"{dtype.kind}{8 * dtype.itemsize}": dtype for dtype in PIXEL_TYPES}


def photograph(megapixels: float, seed: int = 7) -> Array:
    """Return a dark scene (h, w, 3), 0…1, 3:2: structure at all scales, edges, and sensor noise.

    Its spectrum falls with frequency like a photograph's, which matters to a renderer that
    looks at ranges of neighbouring pixels.
    """
    height = round(math.sqrt(megapixels * 1e6 / 1.5))
    width = round(height * 1.5)
    rng = np.random.default_rng(seed)
    scene = np.zeros((height, width, 3), np.float32)
    for octave in range(2, 10):
        cells = 2**octave
        layer = rng.standard_normal((cells, cells * 3 // 2, 3), dtype=np.float32)
        scene += cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC) / 1.7**octave
    # Objects with hard edges: the sign of a coarse field shifts the level.
    shapes = rng.standard_normal((12, 18), dtype=np.float32)
    shapes = cv2.resize(shapes, (width, height), interpolation=cv2.INTER_CUBIC)
    scene += np.where(shapes > 0.3, np.float32(0.4), np.float32(0))[:, :, None]
    scene = 0.22 + 0.25 * scene
    noise = rng.standard_normal((1024, 1024, 3), dtype=np.float32) * np.float32(0.008)
    for y in range(0, height, 1024):
        for x in range(0, width, 1024):
            part = scene[y : y + 1024, x : x + 1024]
            part += noise[: part.shape[0], : part.shape[1]]
    return np.clip(scene, 0, 1, out=scene)


def white_noise(megapixels: float, seed: int = 7) -> Array:
    """Independent uniform pixels, the worst case: every block of pixels spans the whole range."""
    height = round(math.sqrt(megapixels * 1e6 / 1.5))
    return np.random.default_rng(seed).random((height, round(height * 1.5), 3), dtype=np.float32)


def at_depth(image: Array, depth: str) -> np.ndarray:
    """Return the image as uint8, uint16 or float32."""
    if depth == "f32":
        return image
    kind = DEPTHS[depth]
    return (image * np.iinfo(kind).max + np.float32(0.5)).astype(kind)


def large(megapixels: float, depth: str = "u8") -> np.ndarray:
    """A photograph (h, w, 3) of any size, 3:2: a smaller one repeated beyond six megapixels."""
    times = max(1, math.ceil(math.sqrt(megapixels / 6)))
    part = at_depth(photograph(megapixels / times**2), depth)
    return np.tile(part, (times, times, 1))


def selected_disc(height: int, width: int, share: float) -> np.ndarray:
    """Return a selection uint8 (h, w) as GIMP sends it, of that share of the image.

    1 selects all.
    """
    if share >= 1:
        return np.full((height, width), 255, np.uint8)
    square = share * height * width / math.pi
    y = (np.arange(height, dtype=np.float32) - np.float32(height / 2)) ** 2
    x = (np.arange(width, dtype=np.float32) - np.float32(width / 2)) ** 2
    return (y[:, None] + x[None, :] <= square).astype(np.uint8) * np.uint8(255)


def example_maps(seed: int = 3) -> dict[str, Maps]:
    """Return a plausible map of every kind, in the sizes that the networks have."""
    rng = np.random.default_rng(seed)

    def uniform(low: float, high: float, *shape: int) -> Array:
        return (low + (high - low) * rng.random(shape, dtype=np.float32)).astype(np.float32)

    bins = np.linspace(0.15, 0.9, 8, dtype=np.float32)[None, :, None, None]
    gain_grid = bins + uniform(-0.05, 0.05, 3, 8, 16, 16)
    affine = uniform(-0.05, 0.05, 3, 4, 8, 16, 16)
    for c in range(3):
        affine[c, c] += 0.8
        affine[c, 3] += bins[0] * 0.4
    knots = np.tile(np.linspace(0, 0.94, 16, dtype=np.float32), (3, 1))
    slopes = uniform(-0.2, 0.2, 3, 16)
    slopes[:, 0] = 1
    guide = Guide(
        matrix=np.eye(3, dtype=np.float32) + uniform(-0.05, 0.05, 3, 3),
        bias=uniform(-0.01, 0.01, 3),
        shifts=knots,
        slopes=slopes,
        mix=np.full(3, 1 / 3, np.float32),
        mix_bias=np.zeros(1, np.float32),
    )
    place = np.linspace(0, 1, 1024, dtype=np.float32)
    nodes = np.linspace(0, 1, 33, dtype=np.float32) ** np.float32(0.6)
    lut = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij")[::-1])
    return {
        "ToneCurves": ToneCurves(
            table=np.stack([1 + g * np.exp(-3 * place) for g in (3.0, 3.2, 3.4)]).astype(
                np.float32
            ),
            residual=uniform(0.9, 1.15, 3, 16, 16),
        ),
        "GainGrid": GainGrid(gain_grid),
        "AffineGrid": AffineGrid(affine, guide),
        "CurveMaps": CurveMaps(
            cv2_smooth(uniform(-0.5, -0.1, 24, 256, 256)).reshape(8, 3, 256, 256)
        ),
        "LookUpTable": LookUpTable(np.ascontiguousarray(lut, np.float32)),
    }


def cv2_smooth(planes: Array) -> Array:
    """Return planes (n, h, w) blurred, so that curve maps look like a network's."""
    return np.stack([cv2.GaussianBlur(plane, (0, 0), 3) for plane in planes])
