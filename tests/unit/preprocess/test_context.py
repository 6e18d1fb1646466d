"""What the network sees: averages that equal an independent reference, whole or in part."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskupe.areas.coverage import Coverage, full_coverage
from maskupe.areas.partition import make_areas
from maskupe.areas.transition import Transition
from maskupe.maps import Window
from maskupe.preprocess.context import covered, downscale, network_input


def picture(seed: int, height: int, width: int, dtype: type = np.uint8) -> np.ndarray:
    """Smooth shapes with some noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((6, 7, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    values = np.clip(smooth + rng.normal(0, 0.03, smooth.shape), 0, 1)
    if dtype is np.float32:
        return values.astype(np.float32)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


def overlaps(length: int, total: int, cells: int, start: int = 0) -> np.ndarray:
    """(cells, length): the share of each cell of a whole that each of some of its pixels covers."""
    pixels = start + np.arange(length)
    lines = np.arange(cells + 1)[:, None] * (total / cells)
    within = np.minimum(pixels + 1, lines[1:]) - np.maximum(pixels, lines[:-1])
    return np.maximum(within, 0.0) * (cells / total)


@settings(max_examples=25)
@given(st.integers(1, 900), st.integers(1, 900), st.integers(8, 512), st.integers(0, 9))
def test_shrink_is_an_area_average(height: int, width: int, edge: int, seed: int) -> None:
    image = picture(seed, height, width)
    small = downscale(image, edge)
    assert max(small.shape[:2]) <= max(edge, 1)
    rows = overlaps(height, height, small.shape[0])
    columns = overlaps(width, width, small.shape[1])
    exact = np.einsum("ih,hwc,jw->ijc", rows, image / 255.0, columns, optimize=True)
    assert np.abs(small - exact).max() < 2e-5


def test_shrink_reads_all_depths_alike_and_survives_what_is_not_a_number() -> None:
    image = picture(1, 300, 400, np.uint16)
    as_float = image.astype(np.float32) / 65535
    assert np.allclose(downscale(image, 100), downscale(as_float, 100), atol=1e-6)
    as_float[5, 5] = np.nan
    as_float[6, 6] = np.inf
    as_float[7, 7] = -3.0
    small = downscale(as_float, 100)
    assert np.isfinite(small).all()
    assert small.min() >= 0
    assert small.max() <= 1


def test_cells_are_covered_by_as_much_of_the_pixels_as_falls_into_them() -> None:
    assert np.allclose(covered(25.0, 50, 100.0, 4), [0, 1, 1, 0], atol=1e-6)
    assert np.allclose(covered(10.0, 20, 100.0, 4), [0.6, 0.2, 0, 0], atol=1e-6)
    assert np.allclose(covered(13, 29, 100, 7), overlaps(29, 100, 7, 13).sum(1), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_region_with_context_shows_the_network_what_the_whole_layer_does(channels: int) -> None:
    image = picture(2, 620, 840)
    image = image[..., :1] if channels < 3 else image
    if channels in (2, 4):
        image = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    mask = np.zeros(image.shape[:2], bool)
    mask[200:333, 251:500] = True
    areas = make_areas(mask, Transition(31.0))
    whole, whole_shares = network_input(image, areas, None, Window(0, 0, 840, 620))
    rows, columns = slice(160, 380), slice(200, 540)
    part, part_shares = network_input(
        image[rows, columns],
        areas.crop(rows, columns),
        downscale(image, 512),
        Window(200, 160, 840, 620),
    )
    assert whole.shape == (256, 256, 3)
    inside = whole_shares.sum(0) > 0.01
    assert np.abs(whole - part)[inside].max() < 0.01
    assert np.abs(whole - part).mean() < 0.003
    assert np.abs(whole_shares - part_shares).max() < 1e-4


def test_shares_are_those_of_the_areas_and_transparent_pixels_count_as_neither() -> None:
    mask = np.zeros((512, 512), bool)
    mask[100:200, 100:300] = True
    areas = make_areas(mask, Transition(0.0))
    image = np.zeros((512, 512, 4), np.uint8)
    image[..., 3] = 255
    image[:, :200, 3] = 0
    _, shares = network_input(image, areas, None, Window(0, 0, 512, 512))
    assert shares[0].sum() * 4 == pytest.approx(100 * 100, rel=1e-4)
    assert shares[1].max() == 0


@settings(max_examples=25)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, 300), st.integers(0, 300))
def test_shares_of_a_region_that_is_all_lit_are_those_of_its_pixels(
    height: int, width: int, left: int, above: int
) -> None:
    region = picture(3, height, width)
    around = picture(4, 90, 120)
    window = Window(left, above, left + width + 11, above + height + 5)
    known = full_coverage(height, width)
    counted = Coverage(known.plane.copy(), 0.0)
    assert known.uniform and not counted.uniform
    image, shares = network_input(region, known, around, window)
    image_again, shares_again = network_input(region, counted, around, window)
    assert np.array_equal(image, image_again)
    assert np.abs(shares - shares_again).max() < 2e-5
