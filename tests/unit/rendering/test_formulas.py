"""Every backend against the formulas, written out pixel by pixel in double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest

from maskupe.maps import TONE_OFFSET, AffineGrid, CurveMaps, GainGrid, Maps, ToneCurves, Window
from maskupe.rendering import render
from tests.rendering_cases import FAST, KINDS, everything, random_image, random_maps


def linear(cells: int, place: float) -> list[tuple[int, float]]:
    """Cells and shares of linear interpolation at a place counted in cells, borders held."""
    place = min(max(place, 0.0), cells - 1.0)
    low = min(math.floor(place), max(cells - 2, 0))
    return [(low, 1 - (place - low)), (min(low + 1, cells - 1), place - low)]


def bilinear(plane: np.ndarray, x: float, y: float) -> float:
    h, w = plane.shape
    return sum(
        sy * sx * float(plane[j, i])
        for j, sy in linear(h, y * h - 0.5)
        for i, sx in linear(w, x * w - 0.5)
    )


def trilinear(planes: np.ndarray, x: float, y: float, z: float) -> float:
    return sum(share * bilinear(planes[k], x, y) for k, share in linear(len(planes), z))


def brighten(illumination: float, colour: float, t: float) -> float:
    return colour / max(min(illumination, 1.0), colour, 1e-3) ** t


def literal(maps: Maps, colour: list[float], x: float, y: float, t: float) -> list[float]:
    """The enhanced colour of one pixel."""
    if isinstance(maps, GainGrid):
        luma = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
        bins = maps.grid.shape[1]
        return [
            brighten(trilinear(maps.grid[c], x, y, math.sqrt(luma) * bins - 0.5), colour[c], t)
            for c in range(3)
        ]
    if isinstance(maps, AffineGrid):
        guide = maps.guide
        value = float(guide.mix_bias[0])
        for c in range(3):
            p = float(guide.bias[c]) + sum(float(guide.matrix[c, j]) * colour[j] for j in range(3))
            value += float(guide.mix[c]) * sum(
                float(a) * max(p - float(s), 0.0)
                for a, s in zip(guide.slopes[c], guide.shifts[c], strict=True)
            )
        z = min(max(value, 0.0), 1.0) * maps.grid.shape[2] - 0.5
        terms = [*colour, 1.0]
        return [
            brighten(
                sum(trilinear(maps.grid[c, j], x, y, z) * terms[j] for j in range(4)), colour[c], t
            )
            for c in range(3)
        ]
    if isinstance(maps, CurveMaps):
        result = list(colour)
        for step in maps.maps:
            result = [v + t * bilinear(step[c], x, y) * (v * v - v) for c, v in enumerate(result)]
        return [min(max(v, 0.0), 1.0) for v in result]
    if isinstance(maps, ToneCurves):
        result = []
        for c, v in enumerate(colour):
            entries = maps.table.shape[1]
            gain = sum(
                share * float(maps.table[c, k]) ** t
                for k, share in linear(entries, math.sqrt(v) * (entries - 1))
            )
            gain *= bilinear(maps.residual[c] ** t, x, y)
            lifted = (v + TONE_OFFSET) * gain - TONE_OFFSET
            result.append(min(max(lifted, 0.0), 1.0))
        return result
    nodes = maps.table.shape[-1]
    r, g, b = (linear(nodes, v * (nodes - 1)) for v in colour)
    return [
        v
        + t
        * (
            sum(
                sr * sg * sb * float(maps.table[c, k, j, i])
                for i, sr in r
                for j, sg in g
                for k, sb in b
            )
            - v
        )
        for c, v in enumerate(colour)
    ]


@pytest.mark.parametrize("backend", ["torch", *FAST])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_every_kind_follows_its_formula(kind, backend, strength):
    if backend == "torch":
        pytest.importorskip("torch")
    rng = np.random.default_rng(11)
    maps = random_maps(kind, rng, (3, 4), 6)
    image = np.clip(random_image(rng, 6, 9, 3, np.float32), 0, 1)
    window = Window(2, 3, 20, 11)
    got = render(maps, image, everything(6, 9), window, strength=strength, backend=backend)
    for row in range(6):
        for column in range(9):
            colour = [float(v) for v in image[row, column]]
            x, y = (window.x + column + 0.5) / 20, (window.y + row + 0.5) / 11
            wanted = literal(maps, colour, x, y, strength)
            assert got[row, column] == pytest.approx(wanted, abs=2e-5, rel=2e-5)


@pytest.mark.parametrize("backend", FAST)
def test_gray_is_the_luma_of_the_enhanced_gray_colour(backend):
    rng = np.random.default_rng(2)
    maps = random_maps("ToneCurves", rng, (3, 3), 64)
    gray = np.clip(random_image(rng, 8, 8, None, np.float32), 0, 1)
    areas, window = everything(8, 8), Window(0, 0, 8, 8)
    colour = render(maps, np.repeat(gray[:, :, None], 3, axis=2), areas, window, backend=backend)
    wanted = colour @ np.array([0.299, 0.587, 0.114], np.float32)
    assert render(maps, gray, areas, window, backend=backend) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("backend", FAST)
def test_golden_numbers(backend):
    """Written by hand: a constant gain of 2, at two strengths."""
    maps = ToneCurves(np.full((3, 16), 2, np.float32), np.ones((3, 2, 2), np.float32))
    image = np.array([[[0.1, 0.3, 0.4], [0.8, 0.0, 1.2]]], np.float32)
    areas, window = everything(1, 2), Window(0, 0, 2, 1)
    full = render(maps, image, areas, window, backend=backend)
    # 2 (I + 1/512) - 1/512 = 2 I + 1/512, so that black is lifted too.
    o = 1 / 512
    assert full[0] == pytest.approx(
        np.array([[0.2 + o, 0.6 + o, 0.8 + o], [1.0, o, 1.2]]), abs=1e-6
    )
    half = render(maps, image, areas, window, strength=0.5, backend=backend)
    assert half[0, 0] == pytest.approx(np.array([0.142230, 0.425073, 0.566495]), abs=1e-6)
