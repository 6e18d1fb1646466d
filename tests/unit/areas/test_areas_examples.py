"""The areas A, B and C of examples that can be counted by hand, and of soft selections."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from maskupe.areas.partition import make_areas
from maskupe.areas.transition import AUTO_WIDTH_MIN, SIDES, Transition, auto_width, smoothstep
from maskupe.errors import EmptySelectionError


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
