"""The fast backends against the torch reference, on random problems of every shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskupe.maps import Window
from maskupe.native import library
from maskupe.rendering import native_backend, render
from tests.rendering_cases import (
    DTYPES,
    FAST,
    KINDS,
    TOLERANCE,
    distance,
    everything,
    random_areas,
    random_fade,
    random_image,
    random_maps,
    window_around,
)

pytest.importorskip("torch")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.one_of(st.just(1), st.integers(1, 40)),
    width=st.one_of(st.just(1), st.integers(1, 300)),
    channels=st.sampled_from([None, 1, 2, 3, 4]),
    dtype=st.sampled_from(DTYPES),
    strength=st.sampled_from([1.0, 0.5, 0.13]),
    saturation=st.sampled_from([0.0, 1.0, -0.6]),
    grid=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    count=st.integers(1, 10),
    fades=st.booleans(),
)
def test_backends_agree_with_torch(
    kind, seed, height, width, channels, dtype, strength, saturation, grid, count, fades
):
    rng = np.random.default_rng(seed)
    maps = random_maps(kind, rng, grid, count)
    image = random_image(rng, height, width, channels, dtype)
    where = random_areas(rng, height, width)
    window = window_around(rng, height, width)
    options = {"strength": strength, "saturation": saturation}
    options["fade"] = random_fade(rng) if fades else None
    expected = render(maps, image, where, window, backend="torch", **options)
    for backend in FAST:
        got = render(maps, image, where, window, backend=backend, **options)
        assert got.shape == image.shape and got.dtype == image.dtype
        # A gain can be a thousand: float rounding counts relative to the largest value there.
        scale = max(1.0, float(np.abs(expected).max())) if dtype == np.float32 else 1.0
        assert distance(got, expected) <= TOLERANCE[image.dtype] * scale, backend


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("kind", KINDS)
def test_network_sized_maps_agree_with_torch(kind, backend):
    rng = np.random.default_rng(5)
    grid, count = {
        "CurveMaps": ((64, 64), 8),
        "ToneCurves": ((16, 16), 1024),
        "LookUpTable": ((1, 1), 33),
    }.get(kind, ((16, 16), 8))
    maps = random_maps(kind, rng, grid, count)
    for dtype in DTYPES:
        image = random_image(rng, 97, 203, 3, dtype)
        areas = random_areas(rng, 97, 203)
        window = Window(13, 5, 900, 700)
        expected = render(maps, image, areas, window, strength=0.8, backend="torch")
        got = render(maps, image, areas, window, strength=0.8, backend=backend)
        assert distance(got, expected) <= TOLERANCE[image.dtype] * (2 if dtype == np.float32 else 1)


@pytest.mark.skipif(
    not native_backend.available(), reason="no compiled kernel in this installation"
)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_builds_for_older_processors_agree_with_the_reference(kind, dtype, monkeypatch):
    """All that run here are the same source: each must give the same picture."""
    paths = [path for path in library.candidates() if path.is_file()]
    rng = np.random.default_rng(8)
    maps = random_maps(kind, rng)
    areas, window = random_areas(rng, 50, 333), Window(0, 0, 333, 50)
    for channels in (3, 4):
        image = random_image(rng, 50, 333, channels, dtype)
        for where in (areas, everything(50, 333)):
            expected = render(maps, image, where, window, backend="torch")
            for path in paths:
                opened = library.open_library(path)
                monkeypatch.setattr(native_backend, "load", lambda opened=opened: opened)
                got = render(maps, image, where, window, backend="native")
                scale = max(1.0, float(np.abs(expected).max())) if dtype == np.float32 else 1.0
                assert distance(got, expected) <= TOLERANCE[image.dtype] * scale, path.name
