"""The preview's pixels, against numpy."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskupe_gimp import source

sys.path.insert(0, str(source()))
from maskupe_plugin import preview_image
from maskupe_plugin.region import Box

shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))


def rgba(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return rng.integers(0, 256, (height, width, 4), np.uint8)


@given(shapes, st.integers(0, 2**32 - 1))
def test_high_bytes(shape: tuple[int, int], seed: int) -> None:
    plane = np.random.default_rng(seed).integers(0, 65536, shape, np.uint16)
    assert preview_image.high_bytes(plane.tobytes()) == (plane >> 8).astype(np.uint8).tobytes()


@given(shapes, st.integers(-3, 12), st.integers(0, 2**32 - 1))
def test_split_view(shape: tuple[int, int], split: int, seed: int) -> None:
    height, width = shape
    rng = np.random.default_rng(seed)
    before, after = rgba(rng, height, width), rgba(rng, height, width)
    expected = after.copy()
    at = min(max(split, 0), width)
    expected[:, :at] = before[:, :at]
    if 0 < at < width:
        expected[:, at - 1] = 255
    shown = preview_image.compose(before.tobytes(), after.tobytes(), width, height, split=split)
    assert bytes(shown) == expected.tobytes()
    assert bytes(preview_image.compose(before.tobytes(), after.tobytes(), width, height)) == (
        after.tobytes()
    )


@given(shapes, st.integers(0, 2**32 - 1))
def test_edges(shape: tuple[int, int], seed: int) -> None:
    mask = np.random.default_rng(seed).integers(0, 2, shape, np.uint8)
    expected = np.zeros(shape, bool)
    expected[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    expected[1:] |= mask[1:] != mask[:-1]
    found = np.zeros(shape, bool)
    for column, row in preview_image.edges(mask.tobytes(), shape[1], shape[0]):
        found[row, column] = True
    assert np.array_equal(found, expected)


def test_outlines_are_drawn_where_the_areas_meet() -> None:
    areas = np.zeros((9, 9), np.uint8)
    areas[1:8, 1:8] = preview_image.B
    areas[3:6, 3:6] = preview_image.A
    drawn = bytearray(9 * 9 * 4)
    preview_image.draw_outlines(drawn, areas.tobytes(), 9, 9)
    pixels = np.frombuffer(bytes(drawn), np.uint8).reshape(9, 9, 4)
    assert tuple(pixels[3, 3]) == (255, 210, 40, 255)  # A's corner, yellow
    assert pixels[1, 1, 3] == 255  # the band's corner
    assert pixels[4, 4].sum() == 0  # inside of A
    assert pixels[2, 2].sum() == 0  # inside of the band


@pytest.mark.parametrize("stops", [-1.0, 0.0, 1.5])
def test_the_gain_is_in_stops_of_linear_light(stops: float) -> None:
    linear = np.full((20, 20, 4), 0.05)
    areas = np.zeros((20, 20), np.uint8)
    areas[5:15, 5:15] = preview_image.A
    lit = linear.copy()
    lit[5:15, 5:15] *= 2.0**stops
    encoded = [
        memoryview(np.rint((1.055 * x ** (1 / 2.4) - 0.055) * 65535).astype(np.uint16).tobytes())
        for x in (linear, lit)
    ]
    gain = preview_image.exposure_gain(*(plane.cast("H") for plane in encoded), areas.tobytes())
    assert gain == pytest.approx(stops, abs=0.01)
    nothing = preview_image.exposure_gain(encoded[0].cast("H"), encoded[1].cast("H"), bytes(400))
    assert nothing is None


boxes = st.builds(Box, st.integers(-4, 4), st.integers(-4, 4), st.integers(1, 6), st.integers(1, 6))


@given(boxes, boxes, st.sampled_from([1, 4]))
def test_a_picture_is_pasted_where_it_belongs(place: Box, where: Box, pixel: int) -> None:
    source = np.arange(place.width * place.height * pixel, dtype=np.uint8)
    canvas = np.full((30, 30, pixel), 255, np.uint8)
    canvas[place.y + 10 : place.bottom + 10, place.x + 10 : place.right + 10] = source.reshape(
        place.height, place.width, pixel
    )
    target = bytearray(b"\xff" * (where.width * where.height * pixel))
    preview_image.paste(source.tobytes(), place, target, where, pixel)
    expected = canvas[where.y + 10 : where.bottom + 10, where.x + 10 : where.right + 10]
    assert bytes(target) == expected.tobytes()


def test_a_tint_is_as_opaque_as_the_effect_is_strong() -> None:
    picture = np.frombuffer(preview_image.tint(bytes([0, 128, 255])), np.uint8).reshape(3, 4)
    assert picture[:, 3].tolist() == [0, 77, 153]
    assert (picture[:, 0] == 255).all() and (picture[:, 1:3] < 64).all()
