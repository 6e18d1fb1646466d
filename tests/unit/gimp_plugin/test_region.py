"""The plug-in's arithmetic against the daemon's rule for the areas."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskupe.areas import transition
from maskupe.areas.region import region_of
from maskupe.areas.transition import Transition
from maskupe.errors import InputError
from maskupe.photo_job import parse_edges
from maskupe_gimp import source

sys.path.insert(0, str(source()))
from maskupe_plugin import region
from maskupe_plugin.region import Box

sizes = st.integers(1, 60)
widths = st.one_of(st.just("auto"), st.floats(0, 80))
sides = st.sampled_from(transition.SIDES)
reaches = st.one_of(st.sampled_from(["auto", "off"]), st.floats(0, 80))


@given(st.integers(1, 10**9), st.integers(1, 10**5))
def test_auto_width_is_the_daemons(pixels: int, short: int) -> None:
    assert region.auto_width(pixels, short) == transition.auto_width(pixels, short)


@given(reaches, st.integers(1, 10**9), st.integers(1, 10**5))
def test_how_far_edges_are_followed_is_the_daemons(edges: Any, pixels: int, short: int) -> None:
    expected = Transition(edges=edges).edge_reach(pixels, short)
    assert region.edge_reach(edges, pixels, short) == expected


@given(widths, sides, reaches, sizes, sizes, st.integers(1, 10**5))
def test_reach_is_the_daemons(
    width: Any, side: Any, edges: Any, w: int, h: int, short: int
) -> None:
    expected = Transition(width, side, edges).reach(w * h, short)
    assert region.reach(width, side, edges, Box(3, 4, w, h), short) == expected


@given(widths, sides, reaches, st.data())
def test_the_region_is_the_command_lines(
    width: Any, side: Any, edges: Any, data: st.DataObject
) -> None:
    height, columns = data.draw(sizes), data.draw(sizes)
    x, y = data.draw(st.integers(0, columns - 1)), data.draw(st.integers(0, height - 1))
    w, h = data.draw(st.integers(1, columns - x)), data.draw(st.integers(1, height - y))
    selection = np.zeros((height, columns), np.uint8)
    selection[y : y + h, x : x + w] = 255
    bounds = Box(x, y, w, h)
    margin = region.reach(width, side, edges, bounds, min(height, columns))
    box = region.padded(bounds, margin, columns, height)
    expected = region_of(selection, Transition(width, side, edges))
    assert (slice(box.y, box.bottom), slice(box.x, box.right)) == expected


@given(st.integers(1, 524288), st.integers(1, 524288))
def test_the_context_is_halved_until_it_fits(width: int, height: int) -> None:
    columns, rows, step = region.context_size(width, height, 1024)
    assert (columns, rows) == (max(1, width // step), max(1, height // step))
    assert step.bit_count() == 1
    assert max(columns, rows) <= 1024
    assert step == 1 or max(width, height) // (step // 2) > 1024


@given(st.integers(-50, 50), st.integers(-50, 50), sizes, sizes)
def test_boxes(x: int, y: int, w: int, h: int) -> None:
    box = Box(x, y, w, h)
    assert box.moved(5, -7).moved(-5, 7) == box
    common = box.within(Box(0, 0, 30, 30))
    assert common.inside(30, 30) or common.width == 0 or common.height == 0
    assert box.inside(30, 30) == (common == box)


@pytest.mark.parametrize("side", transition.SIDES)
def test_a_selection_is_seen_from_beyond_its_edge(side: str) -> None:
    assert region.reach(0.0, side, "off", Box(0, 0, 10, 10), 100) == 1


@given(st.one_of(reaches, st.text()))
def test_an_argument_for_edges_means_what_the_command_line_takes(edges: Any) -> None:
    text = str(edges)
    try:
        expected = Transition(edges=parse_edges(text) if text.strip() else "auto").edges
    except InputError:
        with pytest.raises(ValueError):
            region.read_edges(text, transition.MAX_WIDTH)
        return
    assert region.read_edges(text, transition.MAX_WIDTH) == expected
    with pytest.raises(ValueError):
        region.read_edges("6", 5.0)


def test_lengths_are_scaled_and_words_are_not() -> None:
    assert region.scaled(40.0, 0.25) == 10.0
    assert [region.scaled(word, 0.25) for word in ("auto", "off")] == ["auto", "off"]
