"""Which part of the layer a magnified preview shows."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskupe_gimp import source

sys.path.insert(0, str(source()))
from maskupe_plugin.region import Box
from maskupe_plugin.viewport import ZOOMS, Viewport, next_zoom, part_to_render

sides = st.tuples(st.integers(1, 900), st.integers(1, 900))
zooms = st.sampled_from(ZOOMS)
places = st.tuples(st.floats(-200, 1200), st.floats(-200, 1200))
viewports = st.builds(Viewport, sides, sides, zooms, places)


@given(viewports)
def test_what_is_shown_lies_in_the_layer_and_fits_into_the_room(view: Viewport) -> None:
    layer = Box(0, 0, *view.layer)
    assert layer.holds(view.box)
    for shown, length, room in zip(view.size, view.layer, view.room, strict=True):
        assert 1 <= shown <= max(room, view.zoom)
        # No more room is left than a pixel of the layer takes, unless all of the layer is seen.
        assert shown >= min(room - view.zoom, length * view.zoom - 1)


@given(viewports, st.integers(-3000, 3000), st.integers(-3000, 3000))
def test_beyond_the_edge_there_is_nothing_and_the_way_back_begins_at_once(
    view: Viewport, dx: int, dy: int
) -> None:
    far = view.moved(1e9, 1e9)
    assert (far.box.x, far.box.y) == (0, 0)
    assert view.moved(-1e9, -1e9).box.right == view.layer[0]
    step = max(1.0, view.zoom)
    room = view.layer[0] - view.box.width
    assert far.moved(-4 * step, 0).box.x == min(room, round(4 * step / view.zoom))


@given(viewports, zooms, st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_the_pixel_under_the_pointer_stays(
    view: Viewport, zoom: float, across: float, down: float
) -> None:
    # A layer so large that its edges are far.
    view = replace(view, layer=(10**6, 10**6), centre=(5e5, 5e5))
    x, y = across * view.size[0], down * view.size[1]
    before, zoomed = view.at(x, y), view.zoomed(zoom, x, y)
    # Where the picture does not fill the room it is centred in it, at both zooms.
    x += (zoomed.size[0] - view.size[0]) / 2
    y += (zoomed.size[1] - view.size[1]) / 2
    assert zoomed.at(x, y) == pytest.approx(before, abs=1.0)


def test_the_zoom_goes_by_steps_down_to_the_fitted_view() -> None:
    assert [next_zoom(zoom, 1, 0.13) for zoom in (0.13, 0.5, 1.0, 16.0)] == [0.5, 1.0, 2.0, 16.0]
    assert [next_zoom(zoom, -1, 0.13) for zoom in (2.0, 1.0, 0.5)] == [1.0, 0.5, None]
    # A small picture is magnified in the fitted view.
    assert (next_zoom(3.0, 1, 3.0), next_zoom(4.0, -1, 3.0)) == (4.0, None)


@given(
    st.builds(Box, st.integers(0, 90), st.integers(0, 90), st.integers(1, 60), st.integers(1, 60)),
    st.builds(Box, st.integers(0, 90), st.integers(0, 90), st.integers(1, 60), st.integers(1, 60)),
    st.integers(1, 5000),
)
def test_what_is_rendered_holds_what_is_seen(seen: Box, region: Box, most: int) -> None:
    part = part_to_render(seen, region, most)
    common = seen.within(region)
    if not common.width or not common.height:
        assert not part.width or not part.height
        return
    assert region.holds(part) and part.holds(common)
    assert part.width * part.height <= max(most, common.width * common.height)
