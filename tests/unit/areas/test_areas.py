"""The areas A, B and C: properties over random selections, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from maskupe.areas.partition import make_areas
from maskupe.areas.transition import MAX_WIDTH, SIDES, Transition, selection_as_float
from maskupe.errors import EmptySelectionError, InputError

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
TRANSITIONS = st.builds(
    Transition,
    width=st.one_of(st.just("auto"), st.floats(0, 12, allow_nan=False)),
    side=st.sampled_from(SIDES),
    edges=st.one_of(st.sampled_from(["auto", "off"]), st.floats(0, 20, allow_nan=False)),
)


@st.composite
def hard_selections(draw):
    """Islands of every shape: a few rectangles and discs, some punched out again."""
    height, width = draw(SIZES)
    rows, columns = np.mgrid[0:height, 0:width]
    mask = np.zeros((height, width), bool)
    for _ in range(draw(st.integers(1, 4))):
        y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        reach = draw(st.floats(0, max(height, width)))
        if draw(st.booleans()):
            piece = (rows - y) ** 2 + (columns - x) ** 2 <= reach**2
        else:
            piece = (abs(rows - y) <= reach) & (abs(columns - x) <= draw(st.integers(0, 10)))
        mask = mask & ~piece if draw(st.integers(0, 3)) == 0 else mask | piece
    return mask


@st.composite
def soft_selections(draw):
    """Feathered selections: a hard one, blurred."""
    mask = draw(hard_selections()).astype(np.float32)
    return np.clip(ndimage.gaussian_filter(mask, draw(st.floats(0.5, 6))), 0, 1)


SELECTIONS = st.one_of(hard_selections(), soft_selections())


def areas_or_none(selection, transition):
    try:
        return make_areas(selection, transition)
    except EmptySelectionError:
        return None


@given(SELECTIONS, TRANSITIONS)
def test_a_b_and_c_partition_the_image(selection, transition):
    areas = areas_or_none(selection, transition)
    if areas is None:
        return
    total = areas.a.astype(int) + areas.b + areas.c
    assert (total == 1).all()
    assert areas.a.any()
    assert areas.shape == selection.shape
    assert areas.weight.dtype == np.float32


@given(SELECTIONS, TRANSITIONS)
def test_the_weight_is_one_in_a_zero_in_c_and_between_in_b(selection, transition):
    areas = areas_or_none(selection, transition)
    if areas is None:
        return
    assert (areas.weight[areas.a] == 1).all()
    assert (areas.weight[areas.c] == 0).all()
    assert ((areas.weight[areas.b] >= 0) & (areas.weight[areas.b] <= 1)).all()


@given(hard_selections(), TRANSITIONS)
def test_the_weight_falls_with_the_distance(selection, transition):
    areas = areas_or_none(selection, transition)
    if areas is None or selection.all():
        return
    outward = ndimage.distance_transform_edt(~selection)
    inward = ndimage.distance_transform_edt(selection)
    signed = outward - inward  # rises from the middle of the selected set to far outside
    order = np.argsort(signed, axis=None, kind="stable")
    weight = areas.weight.ravel()[order]
    distance = signed.ravel()[order]
    # OpenCV's exact distance transform is exact to float32.
    apart = np.diff(distance) > 1e-3
    assert (np.diff(weight)[apart] <= 1e-5).all()


@given(SELECTIONS, TRANSITIONS)
def test_nothing_happens_beyond_the_reach_that_is_told_beforehand(selection, transition):
    selection = np.pad(selection, 30)
    areas = areas_or_none(selection, transition)
    if areas is None:
        return
    rows, columns = np.nonzero(selection)
    box = (int(np.ptp(rows)) + 1) * (int(np.ptp(columns)) + 1)
    reach = transition.reach(box, min(selection.shape))
    touched_rows, touched_columns = np.nonzero(~areas.c)
    assert rows.min() - reach <= touched_rows.min() and touched_rows.max() <= rows.max() + reach
    assert columns.min() - reach <= touched_columns.min()
    assert touched_columns.max() <= columns.max() + reach


@given(hard_selections(), st.floats(0, 12), st.sampled_from(SIDES))
def test_the_areas_are_those_of_an_independent_distance_transform(selection, width, side):
    if not selection.any():
        return
    grow = {"outside": width, "inside": 0.0, "centred": width / 2}[side]
    shrink = width - grow
    outward = ndimage.distance_transform_edt(~selection)
    # Beyond the image's border nothing is known, so it erodes nothing.
    inward = np.full(selection.shape, np.inf)
    if not selection.all():
        inward = ndimage.distance_transform_edt(selection)
    close = np.abs(inward - shrink) < 1e-3, np.abs(outward - grow) < 1e-3
    expected_a = selection & (inward > shrink)
    if not (expected_a & ~close[0]).any():
        return
    areas = make_areas(selection, Transition(width, side))
    np.testing.assert_array_equal(areas.a[~close[0]], expected_a[~close[0]])
    unclear = close[0] | close[1]
    expected_c = ~selection & (outward > grow)
    np.testing.assert_array_equal(areas.c[~unclear], expected_c[~unclear])


@settings(max_examples=50)
@given(
    SELECTIONS,
    TRANSITIONS,
    st.integers(-9, 9),
    st.integers(-9, 9),
)
def test_a_selection_moved_moves_its_areas(selection, transition, down, right):
    margin = 40
    canvas = np.pad(selection, margin)
    moved = np.roll(canvas, (down, right), axis=(0, 1))
    before = areas_or_none(canvas, transition)
    after = areas_or_none(moved, transition)
    assert (before is None) == (after is None)
    if before is None:
        return
    for name in ("a", "b", "weight"):
        expected = np.roll(getattr(before, name), (down, right), axis=(0, 1))
        np.testing.assert_allclose(getattr(after, name), expected, atol=1e-6)
    assert after.width == pytest.approx(before.width)


@given(hard_selections(), TRANSITIONS, st.sampled_from([np.bool_, np.uint8, np.uint16, float]))
def test_every_dtype_means_the_same(selection, transition, dtype):
    top = np.iinfo(dtype).max if dtype in (np.uint8, np.uint16) else 1
    stated = selection.astype(dtype) * (top if dtype != np.bool_ else True)
    first, second = areas_or_none(selection, transition), areas_or_none(stated, transition)
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        np.testing.assert_array_equal(first.weight, second.weight)


@given(hard_selections(), TRANSITIONS)
def test_the_band_lies_on_the_side_that_was_asked_for(selection, transition):
    areas = areas_or_none(selection, transition)
    if areas is None:
        return
    if transition.side == "outside":
        np.testing.assert_array_equal(areas.a, selection)
    elif transition.side == "inside":
        np.testing.assert_array_equal(areas.a | areas.b, selection)
    else:
        assert not (areas.a & ~selection).any()
        assert not (areas.c & selection).any()


# -------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("width", [-1, float("nan"), float("inf"), MAX_WIDTH * 2, "wide"])
def test_widths_that_cannot_be(width):
    with pytest.raises(InputError):
        Transition(width)


def test_sides_that_cannot_be():
    with pytest.raises(InputError, match="outside, inside, centred"):
        Transition(side="above")  # type: ignore[arg-type]


@pytest.mark.parametrize("edges", [-1, float("nan"), float("inf"), MAX_WIDTH * 2, "far", ""])
def test_reaches_for_following_edges_that_cannot_be(edges):
    with pytest.raises(InputError, match="for following edges"):
        Transition(edges=edges)


@pytest.mark.parametrize(
    ("edges", "expected"),
    [("off", 0.0), (0, 0.0), ("auto", 50.0), (7.5, 7.5), (400, 400.0)],
)
def test_how_far_edges_are_followed(edges, expected):
    transition = Transition("auto", "inside", edges)
    assert transition.edge_reach(500 * 500, 1000) == expected
    assert transition.follows_edges == (expected > 0)
    assert transition.reach(500 * 500, 1000) == int(np.ceil(expected)) + 1


def test_the_automatic_reach_for_edges_has_bounds():
    assert Transition().edge_reach(10 * 10, 1000) == 8.0
    assert Transition().edge_reach(500 * 500, 100) == 25.0


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((3, 3, 3)),
        np.zeros((0, 3)),
        np.zeros(5),
        np.full((3, 3), np.nan),
        np.full((3, 3), 2.0),
        np.full((3, 3), -0.5),
        np.zeros((3, 3), np.int32),
        np.zeros((3, 3), complex),
    ],
)
def test_selections_that_cannot_be(mask):
    with pytest.raises(InputError):
        selection_as_float(mask)
    with pytest.raises(InputError):
        make_areas(mask)


def test_rounding_of_float_selections_is_forgiven():
    mask = np.array([[1.0005, -0.0005]], np.float32)
    values = selection_as_float(mask)
    assert values.min() == 0 and values.max() == 1
