"""Denoising: what must not change, that black stays black, and that both forms agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskupe import Enhancer
from maskupe.areas.coverage import full_coverage
from maskupe.denoise import Noise, amounts, clean_source, denoise_scale
from maskupe.denoise.filters import Filter
from maskupe.denoise.noise import GRAIN
from maskupe.errors import CancelledError, InputError
from maskupe.maps import ToneCurves, Window
from maskupe.native import load
from maskupe.parallel import cancellable
from maskupe.rendering import render
from tests.rendering_cases import FAST, KINDS, random_maps
from tests.untrained import write_weights

CURVE = np.clip(np.linspace(0, 6, 256), 0, 1).astype(np.float32)
FULL_NOISE = Noise(1.0, 1.0)
needs_kernel = pytest.mark.skipif(load() is None, reason="there is no compiled kernel")


def dark(shape: tuple[int, ...], dtype: type = np.uint8, sd: float = 2.0, mean: float = 14.0):
    """A dark gradient with waves and noise, in codes of 255."""
    rng = np.random.default_rng(3)
    waves = mean + 4 * np.sin(np.arange(shape[1]) / 15)[None, :, None]
    codes = waves + rng.normal(0, sd, shape)
    if dtype is np.uint8:
        return np.rint(np.clip(codes, 0, 255)).astype(np.uint8)
    if dtype is np.uint16:
        return np.rint(np.clip(codes, 0, 255) * 257).astype(np.uint16)
    return (codes / 255).astype(np.float32)


def whole(shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape[:2], 65535, np.uint16)


def lantern(gain: float = 6.0) -> ToneCurves:
    return ToneCurves(np.full((3, 32), gain, np.float32), np.ones((3, 2, 2), np.float32))


@needs_kernel
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 300),
    channels=st.integers(1, 4),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
    origin=st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
@settings(max_examples=40)
def test_both_forms_agree(height, width, channels, dtype, origin):
    image = dark((height, width, channels), dtype)
    noise = FULL_NOISE
    one, other = (
        clean_source(
            image, whole(image.shape), CURVE, noise=noise, compiled=compiled, origin=origin
        )
        for compiled in (True, False)
    )
    assert one is not None and other is not None
    a, b = one(0, height), other(0, height)
    assert a is not None and b is not None
    assert np.abs(a - b).max() < 1e-4  # a fortieth of a level of 255


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=needs_kernel)])
def test_rows_do_not_depend_on_how_they_are_cut(compiled):
    image = dark((131, 270, 3))
    rows = clean_source(
        image, whole(image.shape), CURVE, noise=FULL_NOISE, compiled=compiled, threads=1
    )
    assert rows is not None
    parts = [rows(first, last) for first, last in ((0, 7), (7, 64), (64, 73), (73, 131))]
    np.testing.assert_allclose(np.concatenate(parts), rows(0, 131), atol=1e-6)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=needs_kernel)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(("top", "left"), [(16, 32), (1, 1), (2, 7), (13, 4), (31, 15)])
def test_the_result_does_not_depend_on_where_the_region_is_cut_out(compiled, dtype, top, left):
    layer = dark((240, 330, 3), dtype)

    def clean(y, x, bottom, right):
        region = np.ascontiguousarray(layer[y:bottom, x:right])
        rows = clean_source(
            region,
            whole(region.shape),
            CURVE,
            noise=FULL_NOISE,
            compiled=compiled,
            origin=(y, x),
        )
        assert rows is not None
        return rows(0, len(region))

    all_of_it, part = clean(0, 0, 240, 330), clean(top, left, 233, 322)
    edge = 64
    inner = part[edge:-edge, edge:-edge]
    rows, columns = slice(top + edge, 233 - edge), slice(left + edge, 322 - edge)
    assert inner.shape == all_of_it[rows, columns].shape and min(inner.shape[:2]) > 70
    np.testing.assert_allclose(inner, all_of_it[rows, columns], atol=2e-6)
    # The noise that there is to remove is a thousand times that.
    before = layer[rows, columns].astype(np.float32) / (255 if dtype is np.uint8 else 1)
    assert np.abs(inner[..., :3] - before).mean() > 2e-3


def test_cells_before_a_region_are_not_taken_for_flat_ones():
    """What lies before it repeats its first pixels, which would make the noise seem less."""
    image = dark((24, 3000, 3), np.float32)
    found = []
    for origin in ((0, 0), (15, 15), (13, 3)):
        rows = clean_source(image, whole(image.shape), CURVE, origin=origin)
        assert isinstance(rows, Filter)
        found.append(rows.black**0.25)
    assert max(found) < 1.1 * min(found)


def test_noise_is_removed_and_waves_stay():
    image = dark((160, 240, 3))
    rows = clean_source(image, whole(image.shape), CURVE)
    assert rows is not None
    clean = rows(0, 160)
    assert clean is not None
    truth = 14 + 4 * np.sin(np.arange(240) / 15)[None, :, None]
    before = np.abs(image - truth).mean()
    after = np.abs(clean[..., :3] * 255 - truth).mean()
    assert after < 0.5 * before


def test_flat_parts_keep_less_grain_than_textured_ones():
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 2, (160, 256, 1)).astype(np.float32)
    truth = np.full((160, 256, 1), 16, np.float32)
    truth[:, 128:] += rng.uniform(-9, 9, (160, 128, 1)).astype(np.float32)
    rows = clean_source((truth + noise) / 255, whole(noise.shape), CURVE)
    assert rows is not None
    clean = rows(0, 160)
    assert clean is not None
    left = clean[..., :1] * 255 - truth

    def kept(part: slice) -> float:
        """Return how much of the noise is in the result."""
        return float((left[:, part] * noise[:, part]).sum() / (noise[:, part] ** 2).sum())

    flat, textured = kept(slice(8, 120)), kept(slice(136, 248))
    assert GRAIN[0] - 0.02 < flat < GRAIN[0] + 0.1
    assert textured > GRAIN[1]


def test_strength_zero_is_off():
    image = dark((40, 50, 3))
    assert clean_source(image, whole(image.shape), CURVE, strength=0.0) is None


def test_nothing_is_done_where_the_gain_is_small():
    image = dark((40, 50, 3))
    identity = np.linspace(0, 1, 256, dtype=np.float32)
    assert clean_source(image, whole(image.shape), identity) is None
    assert clean_source(image, whole(image.shape), CURVE, effect=0.1) is None
    bright = np.full((40, 50, 3), 200, np.uint8)
    assert clean_source(bright, whole(bright.shape), CURVE) is None


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_noise_free_pixels_of_more_than_eight_bits_are_left_alone(dtype):
    assert clean_source(dark((120, 120, 3), dtype, 0.0), whole((120, 120)), CURVE) is None
    assert clean_source(dark((120, 120, 3), dtype, 2.0), whole((120, 120)), CURVE) is not None


@pytest.mark.parametrize("backend", [*FAST, "torch"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_black_stays_black(backend, channels):
    if backend == "torch":
        pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    image = (rng.random((64, 64, channels)) < 0.3).astype(np.uint8)
    if channels in (2, 4):
        image[..., -1] = 255
    window, areas = Window(0, 0, 64, 64), full_coverage(64, 64)
    clean = clean_source(image, areas.plane, CURVE)
    before = render(lantern(30), image, areas, window, backend=backend)
    after = render(lantern(30), image, areas, window, backend=backend, clean=clean)
    colours = slice(0, 1 if channels < 3 else 3)
    assert before[..., colours].mean() > 20
    assert after[..., colours].mean() < 2
    if channels in (2, 4):
        assert (after[..., -1] == 255).all()


@pytest.mark.parametrize("backend", [*FAST, "torch"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_pixels_of_c_and_alpha_keep_their_bits(backend, kind, dtype):
    if backend == "torch":
        pytest.importorskip("torch")
    image = dark((50, 70, 4), dtype)
    plane = np.zeros((50, 70), np.uint16)
    plane[10:30, 5:40] = 65535
    weight = (plane > 0).astype(np.float32)
    areas = full_coverage(50, 70)
    rows = clean_source(image, plane, CURVE, noise=FULL_NOISE)
    window = Window(0, 0, 70, 50)
    maps = random_maps(kind, np.random.default_rng(2))
    out = render(maps, image, areas, window, weight=weight, clean=rows, backend=backend)
    assert np.array_equal(out[..., 3], image[..., 3])
    assert np.array_equal(out[plane == 0], image[plane == 0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_backends_agree_on_clean_rows(kind, dtype, channels):
    pytest.importorskip("torch")
    image = dark((40, 60, channels), dtype)
    maps = random_maps(kind, np.random.default_rng(4))
    areas, window = full_coverage(40, 60), Window(0, 0, 60, 40)
    clean = clean_source(image, areas.plane, CURVE, noise=FULL_NOISE)
    results = [
        render(maps, image, areas, window, clean=clean, backend=name).astype(np.float64)
        for name in ("torch", *FAST)
    ]
    tolerance = {np.uint8: 1, np.uint16: 4, np.float32: 1e-4}[dtype]
    for other in results[1:]:
        assert np.abs(other - results[0]).max() <= tolerance


def test_amounts_follow_the_gain():
    share = amounts(CURVE)
    assert share.dtype == np.float32
    assert share[5] == 1.0
    assert share[250] == 0.0
    assert (np.diff(share) <= 1e-6).all()


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan"), "much"])
def test_other_strengths_are_refused(wrong):
    with pytest.raises(InputError):
        denoise_scale(wrong)


def test_it_can_be_stopped():
    image = dark((64, 64, 3))

    def stop() -> None:
        raise CancelledError("Stopped.")

    with cancellable(stop), pytest.raises(CancelledError):
        clean_source(image, whole(image.shape), CURVE)


def test_the_pipeline_without_denoising_is_what_it_was(tmp_path):
    enhancer = Enhancer.load(write_weights(tmp_path), device="cpu")
    image = dark((90, 120, 3))
    selection = np.zeros((90, 120), np.uint8)
    selection[20:70, 30:90] = 255
    off = enhancer.enhance(image, selection, denoise=0)
    auto = enhancer.enhance(image, selection)
    outside = enhancer.areas(selection).c
    assert np.array_equal(auto[outside], image[outside])
    assert np.array_equal(off[outside], image[outside])
    with pytest.raises(InputError):
        enhancer.enhance(image, selection, denoise=3)
