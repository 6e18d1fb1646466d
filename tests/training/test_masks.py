"""Selections: the shapes that are drawn, their shares, what recipes may ask for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskupe.errors import InputError
from maskupe_training.data.images import write_rgb
from maskupe_training.masks import shapes
from maskupe_training.masks.sampler import KINDS, MaskRecipe, MaskSampler, paper_circle

IMAGE = np.random.default_rng(0).integers(0, 90, (96, 80, 3), dtype=np.uint8)


def sampler(root: Path, **keys: object) -> MaskSampler:
    recipe = {"kinds": dict.fromkeys(KINDS, 1.0), "silhouettes": ("masks",)} | keys
    return MaskSampler(MaskRecipe(**recipe), root)  # type: ignore[arg-type]


@given(st.integers(0, 10**6), st.integers(60, 300), st.integers(60, 300))
@settings(max_examples=30)
def test_the_paper_s_circles_have_the_paper_s_radii(seed: int, height: int, width: int) -> None:
    selection, transition = paper_circle(np.random.default_rng(seed), height, width)
    reference = np.random.default_rng(seed)
    short = min(height, width)
    radius = reference.uniform(short / 3, short / 2)
    outer = reference.uniform(1.1 * radius, 1.3 * radius)
    x, y = reference.uniform(0, width - 1), reference.uniform(0, height - 1)
    assert short / 3 <= radius <= short / 2
    assert transition.width == pytest.approx(outer - radius)
    assert 0.1 * radius <= transition.width <= 0.3 * radius  # type: ignore[operator]
    assert transition.side == "outside"
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(columns - x, rows - y)
    assert selection[distance < radius - 2.5].min(initial=1.0) == 1.0
    assert selection[distance > radius + 2.5].max(initial=0.0) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_within_its_coverage(data_root: Path, kind: str) -> None:
    found = sampler(data_root, coverage=(0.02, 0.8))
    for seed in range(8):
        drawn = found.draw(np.random.default_rng(seed), IMAGE, kind)
        assert drawn.kind == kind
        assert drawn.selection.shape == (96, 80)
        assert drawn.selection.dtype == np.float32
        assert drawn.selection.min() >= 0.0 and drawn.selection.max() <= 1.0
        share = drawn.areas.a.mean()
        assert kind == "whole" or 0.02 <= share <= 0.8


def test_the_same_generator_state_gives_the_same_selection(data_root: Path) -> None:
    found = sampler(data_root)
    for seed in range(20):
        one = found.draw(np.random.default_rng(seed), IMAGE)
        two = sampler(data_root).draw(np.random.default_rng(seed), IMAGE)
        assert one.kind == two.kind and one.transition == two.transition
        np.testing.assert_array_equal(one.selection, two.selection)


def test_shares_of_softness_sides_and_widths_are_kept(data_root: Path) -> None:
    found = sampler(
        data_root,
        kinds={"blob": 1.0},
        soft=0.0,
        automatic_width=0.0,
        hard_edge=1.0,
        sides={"inside": 1.0},
    )
    for seed in range(5):
        drawn = found.draw(np.random.default_rng(seed), IMAGE)
        assert drawn.transition.width == 0.0 and drawn.transition.side == "inside"
        assert not drawn.areas.b.any()
    soft = sampler(data_root, kinds={"blob": 1.0}, soft=1.0, feather=(0.05, 0.06))
    drawn = soft.draw(np.random.default_rng(0), IMAGE)
    partial = (drawn.selection > 0.05) & (drawn.selection < 0.95)
    assert partial.mean() > 0.05


def test_dark_regions_are_darker_than_the_rest() -> None:
    image = np.full((100, 100, 3), 200, np.uint8)
    image[30:70, 20:80] = 20
    mask = shapes.dark_region(np.random.default_rng(0), image) > 0.5
    assert image[mask].mean() < 0.5 * image[~mask].mean()


def test_a_silhouette_has_the_outline_s_shape() -> None:
    outline = np.zeros((50, 40), np.uint8)
    outline[16:34, 17:23] = 255
    mask = shapes.silhouette(np.random.default_rng(1), outline, 120, 100)
    rows, columns = np.nonzero(mask > 0.5)
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(3.0, rel=0.15)


def test_masks_that_are_never_drawn_need_not_be_there(tmp_path: Path) -> None:
    without = sampler(tmp_path, kinds={"blob": 1.0, "silhouette": 0.0})
    assert without.draw(np.random.default_rng(0), IMAGE).kind == "blob"


def test_folders_without_masks_and_flat_masks_are_named(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    with pytest.raises(InputError, match=r"masks has no mask files.*masks\.silhouettes"):
        sampler(tmp_path)
    write_rgb(tmp_path / "masks" / "flat.png", np.full((20, 20, 3), 255, np.uint8))
    flat = sampler(tmp_path, kinds={"silhouette": 1.0})
    with pytest.raises(InputError, match=r"flat\.png is the same everywhere"):
        flat.draw(np.random.default_rng(0), IMAGE)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"kinds": {"star": 1.0}}, "no 'star'"),
        ({"kinds": {"blob": 0.0}}, "share of 0"),
        ({"kinds": {"blob": -1.0}}, "share of 0 or more"),
        ({"sides": {"left": 1.0}}, "no 'left'"),
        ({"kinds": {"silhouette": 1.0}, "silhouettes": ()}, "names no folder"),
        ({"coverage": (0.5, 0.1)}, "coverage"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(keys: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        MaskRecipe(**keys)  # type: ignore[arg-type]


def test_impossible_coverage_is_said_not_searched_forever(data_root: Path) -> None:
    found = sampler(data_root, kinds={"paper_circle": 1.0}, coverage=(0.98, 1.0))
    with pytest.raises(InputError, match="No selection of kind 'paper_circle'"):
        found.draw(np.random.default_rng(0), IMAGE)
