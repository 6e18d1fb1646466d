"""From coverage to weight, and the bound on the light that is added on edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskupe.areas.coverage import Coverage, quantise
from maskupe.areas.rows import FULL
from maskupe.blending.weights import (
    ONSET,
    BlendCurve,
    LightLimit,
    limit_added_light,
    linear,
    perceptual,
)
from maskupe.maps import ToneCurves, Window
from maskupe.pixel_layout import LUMA
from maskupe.rendering import render
from maskupe.rendering.pixels import weights
from tests.rendering_cases import FAST, distance, random_areas, random_fade, random_image


def test_a_fade_keeps_both_ends():
    coverage = np.random.default_rng(4).integers(0, FULL + 1, (20, 30)).astype(np.uint16)
    coverage[:4], coverage[4:8] = 0, FULL
    for fade in (
        linear(),
        perceptual(1.3),
        perceptual(-0.2),
        BlendCurve(linear().ramp ** np.float32(1.7)),
    ):
        weight = fade.weights(coverage)
        assert weight.dtype == np.float32
        assert (weight[:4] == 0).all() and (weight[4:8] == 1).all()
        assert (np.diff(fade.ramp) >= 0).all()
    assert (linear().weights(np.zeros((2, 3), np.uint16)) == 0).all()


@settings(max_examples=100)
@given(seed=st.integers(0, 10**6), most=st.floats(1e-3, 1.5))
def test_a_bound_takes_only_and_only_on_edges(seed, most):
    rng = np.random.default_rng(seed)
    weight = rng.random((9, 30)).astype(np.float32)
    weight[0], weight[1] = 1.0, 0.0
    change = (rng.random((9, 30, 3)) * 1.4 - 0.4).astype(np.float32)
    bound = np.full((9, 30), most, np.float32)
    got = limit_added_light(weight, change, bound)
    added = change @ LUMA
    assert got.dtype == np.float32 and (got >= 0).all() and (got <= weight).all()
    # All of A, what adds less light than the bound, and what becomes darker is left as it is.
    assert np.array_equal(got[0], weight[0])
    free = added <= most - 1e-4
    assert np.allclose(got[free], weight[free], atol=1e-6)
    # Beyond the onset what is added is the weight's share of the bound at most.
    edge = weight <= 1.0 - ONSET
    assert (got * added <= weight * max(most, 0.0) + 1e-5)[edge & (added > 1e-3)].all()


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6))
def test_weights_rise_with_the_bound_and_without_jumps(seed):
    rng = np.random.default_rng(seed)
    weight = np.linspace(0, 1, 2001, dtype=np.float32)[None]
    change = np.broadcast_to(rng.random(3).astype(np.float32), (1, 2001, 3))
    low, high = np.sort(rng.random(2)).astype(np.float32)
    less, more = (
        limit_added_light(weight, change, np.full_like(weight, most)) for most in (low, high)
    )
    assert (less <= more + 1e-6).all()
    assert np.abs(np.diff(less[0])).max() < 0.02


@pytest.mark.parametrize("backend", [*FAST, "torch"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_backend_blends_by_the_weights(backend, dtype):
    """The weight that is shown is the one that was used: image + weight · change."""
    if backend == "torch":
        pytest.importorskip("torch")
    rng = np.random.default_rng(9)
    maps = ToneCurves(np.full((3, 16), 2.5, np.float32), np.ones((3, 2, 2), np.float32))
    image, areas = np.clip(random_image(rng, 40, 70, 3, dtype), 0, None), random_areas(rng, 40, 70)
    window = Window(10, 4, 100, 60)
    fade = BlendCurve(
        linear().ramp, LightLimit(rng.random((6, 9)).astype(np.float32) * 0.3, 15, 8, 50, 33)
    )
    coverage = Coverage(quantise(areas.weight), 3.0)
    full = Coverage(np.full((40, 70), FULL, np.uint16), 3.0)
    enhanced = render(maps, image, full, window, backend=backend)
    weight = weights(coverage, fade, window, image, enhanced)
    assert (weight < fade.weights(coverage.plane)).any()
    got = render(maps, image, coverage, window, fade=fade, backend=backend)
    blended = image + weight[..., None].astype(np.float64) * (enhanced.astype(np.float64) - image)
    steps = {np.uint8: 1.6, np.uint16: 2.0, np.float32: 1e-4}[dtype]
    assert distance(got, blended) <= steps


def test_bounds_of_random_fades_are_met_in_the_backends_tests():
    """The cases of the backends' tests have bounds, or those tests would say nothing of them."""
    fades = [random_fade(np.random.default_rng(seed)) for seed in range(20)]
    assert sum(fade.bound is not None for fade in fades) > 10
