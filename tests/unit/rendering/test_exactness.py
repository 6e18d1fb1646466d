"""What must not change keeps its bits, and what depends on where must not depend on how."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskupe.errors import InputError
from maskupe.maps import TONE_OFFSET, ToneCurves, Window
from maskupe.rendering import native_backend, render
from tests.rendering_cases import (
    DTYPES,
    FAST,
    KINDS,
    distance,
    everything,
    random_areas,
    random_image,
    random_maps,
)


def bits(image: np.ndarray) -> np.ndarray:
    return image.view({1: np.uint8, 2: np.uint16, 4: np.uint32}[image.dtype.itemsize])


@pytest.mark.parametrize("backend", FAST)
@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(KINDS),
    channels=st.sampled_from([None, 1, 2, 3, 4]),
    width=st.integers(1, 300),
    dtype=st.sampled_from(DTYPES),
)
def test_area_c_and_alpha_keep_their_bits(backend, seed, kind, channels, width, dtype):
    rng = np.random.default_rng(seed)
    if dtype == np.float32:  # any bits at all: NaN of every kind, infinities, denormals
        shape = (12, width) if channels is None else (12, width, channels)
        image = rng.integers(0, 2**32, shape, dtype=np.uint32).view(np.float32)
    else:
        image = random_image(rng, 12, width, channels, dtype)
    before = image.copy()
    areas = random_areas(rng, 12, width)
    got = render(random_maps(kind, rng), image, areas, Window(0, 0, width, 12), backend=backend)
    assert np.array_equal(bits(image), bits(before))
    untouched = areas.weight == 0
    assert np.array_equal(bits(got)[untouched], bits(image)[untouched])
    if channels in (2, 4):
        assert np.array_equal(bits(got)[..., -1], bits(image)[..., -1])
        transparent = image[..., -1] == 0
        assert np.array_equal(bits(got)[transparent], bits(image)[transparent])


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_strength_zero_is_the_identity(kind, dtype, backend):
    rng = np.random.default_rng(1)
    image = random_image(rng, 20, 31, 3, dtype)
    got = render(
        random_maps(kind, rng),
        image,
        everything(20, 31),
        Window(0, 0, 31, 20),
        strength=0.0,
        backend=backend,
    )
    assert np.array_equal(bits(got), bits(image)) and not np.shares_memory(got, image)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("kind", ["GainGrid", "AffineGrid", "CurveMaps", "ToneCurves"])
def test_brighter_with_strength(kind, backend):
    """Maps that brighten (illumination below one, curves below zero, gains above one)."""
    rng = np.random.default_rng(4)
    maps = random_maps(kind, rng)
    if kind == "CurveMaps":
        maps.maps[:] = -np.abs(maps.maps)
    if kind == "ToneCurves":
        np.maximum(maps.table, 1, out=maps.table)
        np.maximum(maps.residual, 1, out=maps.residual)
    image = np.clip(random_image(rng, 30, 40, 3, np.float32), 0, 1)
    areas, window = everything(30, 40), Window(0, 0, 40, 30)
    last = image
    for strength in (0.1, 0.35, 0.7, 1.0):
        now = render(maps, image, areas, window, strength=strength, backend=backend)
        assert (now >= last - 1e-6).all()
        last = now
    assert (last > image + 1e-3).mean() > 0.3


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_window_is_a_crop_of_the_whole(kind, dtype, backend):
    rng = np.random.default_rng(6)
    maps = random_maps(kind, rng, (7, 9), 8)
    image, areas = random_image(rng, 90, 400, 4, dtype), random_areas(rng, 90, 400)
    whole = render(maps, image, areas, Window(0, 0, 400, 90), backend=backend)
    for y, x, h, w in ((0, 0, 1, 1), (13, 121, 40, 200), (70, 399, 20, 1), (31, 0, 7, 400)):
        rows, columns = slice(y, y + h), slice(x, x + w)
        part = render(
            maps,
            image[rows, columns],
            areas.crop(rows, columns),
            Window(x, y, 400, 90),
            backend=backend,
        )
        scale = 1e-5 * max(1.0, float(np.abs(whole).max())) if dtype == np.float32 else 1
        assert distance(part, whole[rows, columns]) <= scale


@pytest.mark.parametrize("backend", FAST)
def test_values_outside_the_range_survive(backend):
    maps = ToneCurves(np.full((3, 4), 2, np.float32), np.ones((3, 1, 1), np.float32))
    values = np.array([-0.5, 1.7, 1e30, np.inf, -np.inf, np.nan, 0.25], np.float32)
    image = np.repeat(values[None, :, None], 3, axis=2)
    got = render(maps, image, everything(1, 7), Window(0, 0, 7, 1), backend=backend)
    # What the map makes of 0 is added to what lies below it: 2 (0 + o) - o = o.
    o = TONE_OFFSET
    wanted = np.array([o - 0.5, 1.7, 1e30, np.inf, -np.inf, np.nan, 0.5 + o], np.float32)
    np.testing.assert_allclose(got[0, :, 0], wanted, rtol=1e-6)


@pytest.mark.parametrize("backend", FAST)
def test_one_bad_channel_spares_the_others(backend):
    """NaN counts as 0 where the guide of the other channels sees it."""
    rng = np.random.default_rng(3)
    maps = random_maps("AffineGrid", rng)
    image = np.full((4, 4, 3), 0.4, np.float32)
    clean = image.copy()
    image[2, 2, 1], clean[2, 2, 1] = np.nan, 0
    areas, window = everything(4, 4), Window(0, 0, 4, 4)
    got = render(maps, image, areas, window, backend=backend)
    wanted = render(maps, clean, areas, window, backend=backend)
    assert np.isnan(got[2, 2, 1])
    got[2, 2, 1] = wanted[2, 2, 1]
    assert np.array_equal(got, wanted)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("dtype", DTYPES)
def test_in_place_and_strided_arrays_give_the_same(dtype, backend):
    rng = np.random.default_rng(9)
    maps = random_maps("GainGrid", rng)
    image, areas = random_image(rng, 40, 60, 4, dtype), random_areas(rng, 40, 60)
    window = Window(0, 0, 60, 40)
    expected = render(maps, image, areas, window, backend=backend)
    big = np.zeros((80, 120, 4), dtype)
    big[::2, ::2] = image
    strided = render(maps, big[::2, ::2], areas, window, out=big[::2, ::2], backend=backend)
    assert np.array_equal(strided, expected) and np.shares_memory(strided, big)
    assert not big[1::2].any() and not big[:, 1::2].any()
    padded = np.zeros((40, 64, 4), dtype)
    padded[:, 2:62] = image
    render(maps, padded[:, 2:62], areas, window, out=padded[:, 2:62], backend=backend)
    assert np.array_equal(padded[:, 2:62], expected)
    assert not padded[:, :2].any() and not padded[:, 62:].any()


@pytest.mark.parametrize("backend", FAST)
def test_an_own_weight_replaces_the_areas(backend):
    rng = np.random.default_rng(9)
    maps = random_maps("CurveMaps", rng)
    image, areas = random_image(rng, 9, 9, 3, np.uint16), everything(9, 9)
    window = Window(0, 0, 9, 9)
    full = render(maps, image, areas, window, backend=backend).astype(float)
    half = render(
        maps, image, areas, window, weight=np.full((9, 9), 0.5, np.float32), backend=backend
    )
    assert distance(half, (image + full) / 2) <= 1


@pytest.mark.parametrize(
    "change",
    [
        {"image": np.zeros((4, 4, 5), np.uint8)},
        {"image": np.zeros((4, 4, 3), np.float64)},
        {"image": np.zeros((0, 4, 3), np.uint8)},
        {"window": Window(3, 0, 6, 4)},
        {"strength": float("nan")},
        {"strength": -0.1},
        {"weight": np.ones((4, 3), np.float32)},
        {"weight": np.ones((4, 4))},
        {"out": np.zeros((4, 4, 3), np.uint16)},
        {"backend": "abacus"},
        {"maps": ToneCurves(*(np.ones((3, 2, 2), np.float32),) * 2)},
    ],
)
def test_what_does_not_fit_is_refused(change):
    rng = np.random.default_rng(0)
    arguments = {
        "maps": random_maps("GainGrid", rng),
        "image": np.zeros((4, 4, 3), np.uint8),
        "areas": everything(4, 4),
        "window": Window(0, 0, 4, 4),
    } | change
    with pytest.raises(InputError):
        render(**arguments)


@pytest.mark.skipif(
    not native_backend.available(), reason="no compiled kernel in this installation"
)
def test_the_kernel_is_the_default_and_can_be_switched_off(monkeypatch):
    from maskupe.rendering import default_backend

    monkeypatch.delenv("MASKUPE_RENDERER", raising=False)
    assert default_backend() == "native"
    monkeypatch.setenv("MASKUPE_RENDERER", "numpy")
    assert default_backend() == "numpy"
