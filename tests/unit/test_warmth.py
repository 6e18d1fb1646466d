"""Warmth of the added light: by how much, of what, and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskupe import Enhancer, Transition
from maskupe.areas.coverage import full_coverage
from maskupe.errors import InputError
from maskupe.maps import (
    TONE_OFFSET,
    AffineGrid,
    CurveMaps,
    GainGrid,
    Guide,
    LookUpTable,
    Maps,
    ToneCurves,
    Window,
    tensor_names,
)
from maskupe.pixel_layout import LUMA
from maskupe.rendering import render
from maskupe.warmth import SHIFT, warmed
from tests.rendering_cases import KINDS, random_maps

SIDE = 32
LAYER = Window(0, 0, SIDE, SIDE)


class Fixed:
    """A predictor that always predicts the same maps."""

    name, device = "fixed", "cpu"

    def __init__(self, maps: Maps) -> None:
        self.maps = maps

    def predict(self, context: np.ndarray, shares: np.ndarray) -> Maps:
        return self.maps


def enhancer_of(maps: Maps) -> Enhancer:
    return Enhancer(Fixed(maps), threads=1)  # type: ignore[arg-type]


def tone_curves(gain: float) -> ToneCurves:
    """A gain, half of it by the table and half by the residual."""
    half = np.float32(np.sqrt(gain))
    return ToneCurves(np.full((3, 16), half), np.full((3, 2, 2), half))


def affine_grid(illumination: float) -> AffineGrid:
    grid = np.zeros((3, 4, 4, 4, 4), np.float32)
    grid[:, 3] = illumination
    ones, zeros = np.ones((3, 1), np.float32), np.zeros((3, 1), np.float32)
    mean = np.full(3, 1 / 3, np.float32)
    return AffineGrid(
        grid, Guide(np.eye(3, dtype=np.float32), zeros[:, 0], zeros, ones, mean, zeros[0])
    )


def lifting(gain: float) -> dict[str, Maps]:
    """Maps of every kind that multiply dark gray by about this."""
    nodes = np.linspace(0, 1, 9, dtype=np.float32)
    blue, green, red = np.meshgrid(nodes, nodes, nodes, indexing="ij")
    table = np.minimum(np.stack([red, green, blue]) * np.float32(gain), 1)
    return {
        "ToneCurves": tone_curves(gain),
        "GainGrid": GainGrid(np.full((3, 4, 3, 3), 1 / gain, np.float32)),
        "AffineGrid": affine_grid(1 / gain),
        "CurveMaps": CurveMaps(np.full((4, 3, 2, 2), -0.25 * (gain - 1), np.float32)),
        "LookUpTable": LookUpTable(table),
    }


def gray(level: float) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), level, np.float32)


def rendered(maps: Maps, image: np.ndarray, warmth: float, strength: float = 1.0) -> np.ndarray:
    changed = warmed(maps, warmth, image)
    return render(changed, image, full_coverage(SIDE, SIDE), LAYER, strength=strength, threads=1)


@pytest.mark.parametrize("kind", KINDS)
def test_without_warmth_the_maps_are_those_of_the_network(kind: str) -> None:
    maps = random_maps(kind, np.random.default_rng(1))
    assert warmed(maps, 0.0, gray(0.2)) is maps


@given(st.floats(-1, 1), st.floats(1.5, 4), st.floats(0.02, 0.15), st.sampled_from([0.5, 1.0]))
def test_gains_are_raised_to_the_power(warmth: float, gain: float, level: float, t: float) -> None:
    powers = gain ** (t * (1 + warmth * np.array(SHIFT)))
    offset = TONE_OFFSET
    by_curves = rendered(tone_curves(gain), gray(level), warmth, t)
    np.testing.assert_allclose(by_curves[5, 7], (level + offset) * powers - offset, rtol=2e-5)
    by_grid = rendered(lifting(gain)["GainGrid"], gray(level), warmth, t)
    np.testing.assert_allclose(by_grid[5, 7], level * powers, rtol=2e-5)
    # Where the illumination is the same all over, the first order is exact too.
    by_affine = rendered(affine_grid(1 / gain), gray(level), warmth, t)
    np.testing.assert_allclose(by_affine[5, 7], level * powers, rtol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_dark_gray_becomes_redder_or_bluer_and_keeps_its_luma(kind: str) -> None:
    maps = lifting(3.0)[kind]
    cool, plain, warm = (rendered(maps, gray(0.1), warmth)[5, 7] for warmth in (-1, 0, 1))
    assert plain.max() - plain.min() < 1e-5
    assert warm[0] > warm[1] > warm[2] and cool[0] < cool[1] < cool[2]
    for tinted in (cool, warm):
        assert 1.1 < max(tinted[0] / tinted[2], tinted[2] / tinted[0]) < 1.5
        assert abs(tinted @ LUMA / (plain @ LUMA) - 1) < 0.01
    half = rendered(maps, gray(0.1), 0.5)[5, 7]
    assert plain[0] < half[0] < warm[0] and plain[2] > half[2] > warm[2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("warmth", [-1.0, 1.0])
def test_where_no_light_is_added_nothing_changes(kind: str, warmth: float) -> None:
    colours = np.random.default_rng(2).random((SIDE, SIDE, 3)).astype(np.float32)
    maps = lifting(1.0)[kind]
    plain = rendered(maps, colours, 0.0)
    np.testing.assert_allclose(rendered(maps, colours, warmth), plain, atol=1e-6)


@pytest.mark.parametrize("warmth", [-1.0, 1.0])
def test_what_maps_take_away_is_not_coloured(warmth: float) -> None:
    darker = CurveMaps(np.full((4, 3, 2, 2), 0.3, np.float32))
    table = lifting(1.0)["LookUpTable"]
    assert isinstance(table, LookUpTable)
    for maps in (darker, LookUpTable(table.table * np.float32(0.5))):
        for name in tensor_names(type(maps)):
            changed = getattr(warmed(maps, warmth, gray(0.3)), name)
            assert np.array_equal(changed, getattr(maps, name))


def test_each_part_of_an_affine_grid_has_its_own_gain() -> None:
    """One half of the layer is lifted by 4, the other not: that one keeps its colour."""
    maps = affine_grid(0.25)
    maps.grid[..., 2:] = 0
    maps.grid[:, 3, ..., 2:] = 1.0
    colours = np.random.default_rng(3).uniform(0.05, 0.2, (SIDE, SIDE, 3)).astype(np.float32)
    plain, warm = (rendered(maps, colours, warmth) for warmth in (0.0, 1.0))
    # Beyond the middles of the outer cells, where nothing of their neighbours is read.
    lit, unlit = (slice(None), slice(0, 4)), (slice(None), slice(28, SIDE))
    np.testing.assert_allclose(warm[unlit], plain[unlit], rtol=1e-5)
    expected = np.broadcast_to(4.0 ** np.array(SHIFT), warm[lit].shape)
    np.testing.assert_allclose(warm[lit] / plain[lit], expected, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("warmth", [-1.0, 1.0])
def test_maps_stay_within_what_their_kind_allows(kind: str, warmth: float) -> None:
    rng = np.random.default_rng(4)
    maps = random_maps(kind, rng)
    changed = warmed(maps, warmth, rng.random((SIDE, SIDE, 3)).astype(np.float32))
    assert type(changed) is type(maps)
    if isinstance(changed, AffineGrid):
        arrays = {"grid": (changed.grid, maps.grid)}  # type: ignore[union-attr]
    else:
        arrays = {n: (getattr(changed, n), getattr(maps, n)) for n in tensor_names(type(maps))}
    for name, (new, old) in arrays.items():
        assert new.dtype == np.float32 and new.shape == old.shape, name
        assert np.isfinite(new).all() and not np.array_equal(new, old), name
    if isinstance(changed, CurveMaps):
        assert changed.maps.min() >= -1
    if isinstance(changed, LookUpTable):
        assert isinstance(maps, LookUpTable)
        assert changed.table.max() <= max(1, maps.table.max())


# ---------------------------------------------------------------------------- the pipeline


def scene(channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A dark gray disc before something bright, and its selection."""
    y, x = np.mgrid[:120, :160]
    disc = np.hypot(y - 60, x - 80) < 35
    image = np.where(disc, 30, 200).astype(np.uint8)
    return np.repeat(image[..., None], channels, axis=2), disc


@pytest.mark.parametrize("edges", ["auto", "off"])
def test_the_subject_is_coloured_and_c_keeps_its_bits(edges: str) -> None:
    image, disc = scene()
    enhancer = Enhancer.load("default")
    transition = Transition(8.0, edges=edges)  # type: ignore[arg-type]
    options = {"transition": transition, "denoise": 0}
    plain = enhancer.enhance(image, disc, **options)
    assert np.array_equal(plain, enhancer.enhance(image, disc, warmth=0.0, **options))
    centre = slice(50, 70), slice(70, 90)
    lumas, reds = [plain[centre] @ LUMA], []
    for warmth in (-1.0, 1.0):
        result, matte = enhancer.enhance_with_matte(image, disc, warmth=warmth, **options)
        assert np.array_equal(result, enhancer.enhance(image, disc, warmth=warmth, **options))
        assert (matte == 0).sum() > 5000
        assert np.array_equal(result[matte == 0], image[matte == 0])
        red, _, blue = result[centre].mean((0, 1)) / plain[centre].mean((0, 1))
        reds.append(red / blue)
        lumas.append(result[centre] @ LUMA)
    gain = plain[centre].mean() / image[centre].mean()
    assert gain > 2
    # The model's own gain differs a little between channels and with the offset.
    np.testing.assert_allclose(reds, gain ** (np.array([-1, 1]) * (SHIFT[0] - SHIFT[2])), rtol=0.03)
    assert max(abs(luma.mean() / lumas[0].mean() - 1) for luma in lumas) < 0.01


def test_what_was_tried_before_is_not_taken_for_another_warmth() -> None:
    """The fade and the bound on edges are remembered, and are those of the warmth asked for."""
    image, disc = scene()
    fresh = [Enhancer.load("default").enhance(image, disc, warmth=w) for w in (1.0, -1.0, 0.0)]
    one = Enhancer.load("default")
    again = [one.enhance(image, disc, warmth=w) for w in (1.0, -1.0, 0.0)]
    for first, second in zip(fresh, again, strict=True):
        assert np.array_equal(first, second)
    assert not np.array_equal(fresh[0], fresh[1])


@pytest.mark.parametrize("channels", [1, 2])
def test_gray_images_are_as_without(channels: int) -> None:
    image, disc = scene(channels)
    enhancer = enhancer_of(tone_curves(3.0))
    warm = enhancer.enhance(image, disc, warmth=1.0)
    assert np.array_equal(warm, enhancer.enhance(image, disc))


@pytest.mark.parametrize("warmth", [-1.01, 1.01, float("nan"), float("inf")])
def test_out_of_range_is_refused_in_a_sentence(warmth: float) -> None:
    image, disc = scene()
    enhancer = enhancer_of(tone_curves(3.0))
    said = r"^A warmth of .* is out of range\. Use -1, for cooler light, to 1, for warmer\.$"
    for enhance in (enhancer.enhance, enhancer.enhance_with_matte):
        with pytest.raises(InputError, match=said):
            enhance(image, disc, warmth=warmth)
    with pytest.raises(InputError, match=said):
        enhancer.enhance_region(image, disc, None, window=Window(0, 0, 160, 120), warmth=warmth)
