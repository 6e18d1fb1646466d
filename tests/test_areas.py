"""The areas A, B and C: properties over random selections, and examples counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from maskupe.areas import (
    AUTO_WIDTH_MIN,
    MAX_WIDTH,
    SIDES,
    Transition,
    auto_width,
    make_areas,
    selection_as_float,
    smoothstep,
)
from maskupe.errors import EmptySelectionError, InputError

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
TRANSITIONS = st.builds(
    Transition,
    width=st.one_of(st.just("auto"), st.floats(0, 12, allow_nan=False)),
    side=st.sampled_from(SIDES),
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


@settings(deadline=None)
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


@settings(deadline=None)
@given(SELECTIONS, TRANSITIONS)
def test_the_weight_is_one_in_a_zero_in_c_and_between_in_b(selection, transition):
    areas = areas_or_none(selection, transition)
    if areas is None:
        return
    assert (areas.weight[areas.a] == 1).all()
    assert (areas.weight[areas.c] == 0).all()
    assert ((areas.weight[areas.b] >= 0) & (areas.weight[areas.b] <= 1)).all()


@settings(deadline=None)
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


@settings(deadline=None)
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


@settings(deadline=None)
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


@settings(deadline=None, max_examples=50)
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


@settings(deadline=None)
@given(hard_selections(), TRANSITIONS, st.sampled_from([np.bool_, np.uint8, np.uint16, float]))
def test_every_dtype_means_the_same(selection, transition, dtype):
    top = np.iinfo(dtype).max if dtype in (np.uint8, np.uint16) else 1
    stated = selection.astype(dtype) * (top if dtype != np.bool_ else True)
    first, second = areas_or_none(selection, transition), areas_or_none(stated, transition)
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        np.testing.assert_array_equal(first.weight, second.weight)


@settings(deadline=None)
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


# ------------------------------------------------------------------------ examples by hand


def row(values: str) -> np.ndarray:
    return np.array([[character == "#" for character in values]])


def drawn(areas) -> str:
    return "".join(
        "A" if a else "B" if b else "." for a, b in zip(areas.a[0], areas.b[0], strict=True)
    )


@pytest.mark.parametrize(
    ("width", "side", "expected"),
    [
        (0, "outside", "....AAAAAA......"),
        (0, "inside", "....AAAAAA......"),
        (2, "outside", "..BBAAAAAABB...."),
        (2, "inside", "....BBAABB......"),
        (4, "centred", "..BBBBAABBBB...."),
        (1.5, "outside", "...BAAAAAAB....."),
        (100, "outside", "BBBBAAAAAABBBBBB"),
    ],
)
def test_bands_by_hand(width, side, expected):
    assert drawn(make_areas(row("....######......"), Transition(width, side))) == expected


def test_islands_and_holes():
    areas = make_areas(row(".##......###..##."), Transition(1))
    assert drawn(areas) == "BAAB....BAAABBAAB"
    areas = make_areas(row("###..####.###"), Transition(1, "inside"))
    assert drawn(areas) == "AAB..BAAB.BAA"


def test_the_image_border_has_no_band():
    assert drawn(make_areas(row("####......"), Transition(2, "inside"))) == "AABB......"
    assert drawn(make_areas(row("####......"), Transition(2))) == "AAAABB...."


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("width", ["auto", 0, 5, 1000])
def test_everything_selected_is_all_a(side, width):
    areas = make_areas(np.ones((7, 9), bool), Transition(width, side))
    assert areas.a.all() and (areas.weight == 1).all()


def test_a_single_pixel():
    mask = np.zeros((21, 21), bool)
    mask[10, 10] = True
    areas = make_areas(mask)
    assert areas.a.sum() == 1
    assert areas.width == AUTO_WIDTH_MIN
    assert areas.b[10, 14] and not areas.b[10, 15]


def test_nothing_selected_is_an_error_in_words():
    for mask in (np.zeros((5, 5), bool), np.full((5, 5), 0.49, np.float32)):
        with pytest.raises(EmptySelectionError, match="no pixel is selected"):
            make_areas(mask)
    with pytest.raises(EmptySelectionError, match="leaves nothing"):
        make_areas(row("..###.."), Transition(3, "inside"))


def test_automatic_width_is_a_fifth_of_the_radius_within_bounds():
    assert auto_width(round(math.pi * 100**2), 1000) == pytest.approx(20, rel=1e-3)
    assert auto_width(4, 1000) == AUTO_WIDTH_MIN
    assert auto_width(10**6, 100) == 25
    widths = [auto_width(n, 500) for n in range(1, 200_000, 997)]
    assert widths == sorted(widths)


def test_the_short_side_of_the_whole_image_bounds_a_window():
    window = np.zeros((40, 40), bool)
    window[5:35, 5:35] = True
    assert make_areas(window, short_side=4).width == 1.0
    assert make_areas(window, short_side=4000).width == AUTO_WIDTH_MIN


def test_the_weight_is_smooth_at_both_ends():
    mask = np.zeros((5, 400), bool)
    mask[:, :100] = True
    weight = make_areas(mask, Transition(200)).weight[2].astype(np.float64)
    slope = np.diff(weight)
    assert abs(slope).max() < 1.6 / 200  # smoothstep's steepest slope is 1.5 / width
    assert abs(slope[98:100]).max() < 1e-4 and abs(slope[299:302]).max() < 1e-4
    assert abs(np.diff(slope)).max() < 7 / 200**2  # and its bend 6 / width²


def test_smoothstep_against_its_formula():
    x = np.linspace(-1, 2, 301, dtype=np.float32)
    clipped = np.clip(x.astype(float), 0, 1)
    np.testing.assert_allclose(smoothstep(x), 3 * clipped**2 - 2 * clipped**3, atol=1e-6)


# ------------------------------------------------------------------------- soft selections


def feathered(sigma: float = 6.0) -> np.ndarray:
    mask = np.zeros((80, 80), np.float32)
    mask[20:60, 20:60] = 1
    return np.clip(ndimage.gaussian_filter(mask, sigma), 0, 1)


def test_the_same_selection_gives_the_same_bits_wherever_it_lies_in_memory():
    rows, columns = np.mgrid[0:90, 0:110]
    disc = np.hypot(rows - 40, columns - 50) < 21.3
    first = make_areas(disc, Transition(17.7)).weight
    for shift in range(64):
        moved = np.zeros(disc.size + shift, bool)[shift:].reshape(disc.shape)
        moved[:] = disc
        np.testing.assert_array_equal(make_areas(moved, Transition(17.7)).weight, first)


def test_an_antialiased_edge_counts_as_hard():
    rows, columns = np.mgrid[0:80, 0:80]
    distance = np.hypot(rows - 40, columns - 40)
    smooth = np.clip(25.5 - distance, 0, 1).astype(np.float32)
    areas = make_areas(smooth, Transition(3))
    np.testing.assert_array_equal(areas.a, smooth >= 0.5)


def test_a_feathered_selection_is_its_own_transition():
    mask = feathered()
    areas = make_areas(mask)
    assert (mask[areas.a] > 0.998).all()
    assert (mask[areas.c] < 0.002).all()
    inside_b = areas.b
    np.testing.assert_allclose(areas.weight[inside_b], smoothstep(mask)[inside_b], atol=1e-6)
    # Along a line from the middle outwards it only falls.
    assert (np.diff(areas.weight[40, 40:]) <= 1e-6).all()


@pytest.mark.parametrize("width", [3, 10, 30])
def test_an_explicit_width_widens_or_narrows_a_soft_selection(width):
    mask = feathered()
    own = make_areas(mask).weight
    outside = make_areas(mask, Transition(width, "outside")).weight
    inside = make_areas(mask, Transition(min(width, 12), "inside")).weight
    assert (outside >= own - 1e-6).all()
    assert (inside <= own + 1e-6).all()
    assert (np.diff(outside[40, 40:]) <= 1e-6).all()


def test_a_feather_narrower_than_the_automatic_width_is_widened_to_it():
    """Else a smoothed outline would end in a visible seam of two or three pixels."""
    mask = np.zeros((300, 300), np.float32)
    mask[50:250, 50:250] = 1
    mask = np.clip(ndimage.gaussian_filter(mask, 1.2), 0, 1)
    areas = make_areas(mask)
    wanted = auto_width(int((mask >= 0.5).sum()), min(mask.shape))
    assert areas.width == pytest.approx(wanted)
    away = ndimage.distance_transform_edt(~areas.a)
    assert wanted - 1 < away[areas.b].max() <= wanted + 1e-3
    assert (areas.a == (mask >= 1 - 1 / 512)).all()
    assert areas.b[(mask > 1 / 512) & ~areas.a].all()


def test_a_feather_wider_than_the_selection_still_has_an_a():
    faint = feathered(25)
    mask = faint / faint.max() * np.float32(0.8)
    areas = make_areas(mask)
    assert areas.a.any() and areas.a[40, 40]
    assert areas.b.any()


# -------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("width", [-1, float("nan"), float("inf"), MAX_WIDTH * 2, "wide"])
def test_widths_that_cannot_be(width):
    with pytest.raises(InputError):
        Transition(width)


def test_sides_that_cannot_be():
    with pytest.raises(InputError, match="outside, inside, centred"):
        Transition(side="above")  # type: ignore[arg-type]


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
