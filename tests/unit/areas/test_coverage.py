"""Coverage: the areas in one plane, equal to the areas; distances; fades."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from maskupe.areas.coverage import full_coverage, make_coverage, quantise
from maskupe.areas.distance import DistanceField
from maskupe.areas.partition import make_areas
from maskupe.areas.rows import FULL
from maskupe.areas.transition import Transition
from maskupe.errors import EmptySelectionError


def blobs(seed: int, height: int, width: int) -> np.ndarray:
    """Smooth islands, float32 0…1."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.random((height, width)).astype(np.float32), (0, 0), 5)
    return np.asarray((noise - noise.min()) / max(float(np.ptp(noise)), 1e-6), np.float32)


def selection(seed: int, kind: str, height: int, width: int) -> np.ndarray:
    field = blobs(seed, height, width)
    if kind == "bool":
        return field > 0.55
    if kind == "soft":
        return np.clip((field - 0.3) * 2, 0, 1)
    steps = np.clip((field - 0.5) * 40, 0, 1)
    return (
        np.rint(steps * 255).astype(np.uint8)
        if kind == "u8"
        else np.rint(steps * 65535).astype(np.uint16)
    )


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["bool", "u8", "u16", "soft"]),
    height=st.integers(1, 90),
    width=st.integers(1, 130),
    band=st.sampled_from(["auto", 0.0, 3.5, 40.0]),
    side=st.sampled_from(["outside", "inside", "centred"]),
    threads=st.sampled_from([1, 3]),
)
def test_a_coverage_is_the_areas_in_one_plane(seed, kind, height, width, band, side, threads):
    mask, transition = selection(seed, kind, height, width), Transition(band, side)
    try:
        areas = make_areas(mask, transition)
    except EmptySelectionError as error:
        with pytest.raises(EmptySelectionError, match=error.message[:20]):
            make_coverage(mask, transition, threads=threads)
        return
    found = make_coverage(mask, transition, threads=threads)
    assert found.plane.dtype == np.uint16 and found.shape == areas.shape
    assert found.width == areas.width
    for name in ("a", "b", "c"):
        assert np.array_equal(getattr(found, name), getattr(areas, name))
    assert np.abs(found.weight - areas.weight).max() <= 1 / FULL
    part = slice(height // 3, None), slice(0, width // 2 + 1)
    assert np.array_equal(found.crop(*part).a, areas.a[part])


@pytest.mark.parametrize("mask", [np.ones((5, 7), bool), np.full((5, 7), 255, np.uint8)])
def test_everything_selected_takes_no_memory(mask):
    found = make_coverage(mask, Transition(2.0))
    assert found.uniform and found.a.all() and not found.b.any()
    assert found.plane.base is not None and found.plane.strides[0] == 0
    assert (found.weight == 1).all() and full_coverage(5, 7).a.all()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    height=st.integers(1, 70),
    width=st.integers(1, 90),
    share=st.sampled_from([0.0, 0.002, 0.1, 0.7, 1.0]),
    limit=st.sampled_from([0.0, 2.5, 9.0, np.inf]),
    native=st.booleans(),
)
def test_distances_are_exact_up_to_the_limit(seed, height, width, share, limit, native):
    target = np.random.default_rng(seed).random((height, width)) < share
    with pytest.MonkeyPatch.context() as patch:
        if not native:
            patch.setattr("maskupe.areas.distance.load", lambda: None)
        field = DistanceField(target, limit, threads=2)
    got = np.concatenate([field.rows(y, min(y + 7, height)) for y in range(0, height, 7)])
    if not target.any():
        assert np.isinf(got).all()
        return
    exact = distance_transform_edt(~target)
    near = exact <= limit
    squares = np.rint(exact**2).astype(np.float32)
    assert np.array_equal(got[near], np.sqrt(squares)[near])
    assert (got[~near] > limit).all()


def test_quantise_rounds_and_clips():
    values = np.array([[-1, 0, 0.5, 1, 2]], np.float32)
    assert quantise(values).tolist() == [[0, 0, 32768, FULL, FULL]]


def test_counts_are_those_of_the_areas():
    selection = np.zeros((90, 140), np.uint8)
    selection[20:60, 30:100] = 255
    found = make_coverage(selection, Transition(9))
    assert found.counts() == (np.count_nonzero(found.a), np.count_nonzero(found.b))
    assert full_coverage(7, 5).counts() == (35, 0)
