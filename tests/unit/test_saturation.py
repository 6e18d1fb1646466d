"""Saturation of what is brightened: of how much, within which limits, and of nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskupe import Enhancer, Transition
from maskupe.areas.coverage import full_coverage
from maskupe.errors import InputError
from maskupe.maps import Window
from maskupe.pixel_layout import LUMA, scale_of
from maskupe.rendering import render
from maskupe.rendering.saturation import STOP, saturate
from tests.rendering_cases import (
    DTYPES,
    FAST,
    KINDS,
    random_areas,
    random_fade,
    random_image,
    random_maps,
    window_around,
)
from tests.unit.test_warmth import enhancer_of, lifting, scene, tone_curves

SIDE = 16
LAYER = Window(0, 0, SIDE, SIDE)
SATURATIONS = st.floats(-1, 1, width=32)


def chroma(colour: np.ndarray) -> np.ndarray:
    """What is left of colours, float (..., 3), without their luma."""
    difference: np.ndarray = colour - (colour @ LUMA.astype(colour.dtype))[..., None]
    return difference


def filled(*colour: float) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), colour, np.float32)


def rendered(image: np.ndarray, gain: float, saturation: float, **more: Any) -> np.ndarray:
    """One pixel of an image of one colour that is multiplied by about this."""
    maps, everything = lifting(gain)["GainGrid"], full_coverage(SIDE, SIDE)
    result: np.ndarray = render(
        maps, image, everything, LAYER, saturation=saturation, threads=1, **more
    )
    return result[5, 7]


# ----------------------------------------------------------------------------- the formula


@given(st.integers(0, 2**32 - 1), SATURATIONS)
def test_luma_and_hue_stay_and_nothing_leaves_the_range(seed: int, saturation: float) -> None:
    rng = np.random.default_rng(seed)
    # Corners of the range too: what is black, white or fully saturated already.
    colour, enhanced = (
        np.clip(rng.random((8, 40, 3)) * 1.4 - 0.2, 0, 1).astype(np.float32) for _ in range(2)
    )
    change = enhanced - colour
    saturate(colour, change, saturation)
    result = colour + change
    assert np.isfinite(result).all()
    assert result.min() >= 0 and result.max() <= 1
    np.testing.assert_allclose(result @ LUMA, enhanced @ LUMA, atol=2e-6)
    wanted, got = chroma(enhanced), chroma(result)
    # The same direction, and no more than twice as long.
    factor = (wanted * got).sum(-1) / np.maximum((wanted * wanted).sum(-1), 1e-12)
    np.testing.assert_allclose(got, factor[..., None] * wanted, atol=2e-6)
    coloured = np.abs(wanted).max(-1) > 1e-3
    low, high = 1 + min(saturation, 0), 1 + max(saturation, 0)
    assert (factor[coloured] >= low - 1e-3).all() and (factor[coloured] <= high + 1e-3).all()
    darker = enhanced @ LUMA <= colour @ LUMA
    np.testing.assert_allclose(result[darker], enhanced[darker], atol=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_more_saturation_is_more_colour(seed: int) -> None:
    rng = np.random.default_rng(seed)
    colour = rng.random((4, 30, 3)).astype(np.float32) * np.float32(0.4)
    lengths = []
    for saturation in (-1.0, -0.4, 0.0, 0.3, 0.7, 1.0):
        change = colour.copy()  # a gain of two
        saturate(colour, change, saturation)
        lengths.append(np.abs(chroma(colour + change)).sum(-1))
    assert (np.diff(lengths, axis=0) >= -1e-6).all()
    assert np.abs(lengths[0]).max() < 1e-6


@given(st.integers(0, 2**32 - 1), SATURATIONS)
def test_gray_stays_gray(seed: int, saturation: float) -> None:
    rng = np.random.default_rng(seed)
    colour, enhanced = (np.repeat(rng.random((5, 9, 1)), 3, 2).astype(np.float32) for _ in "ab")
    change = enhanced - colour
    saturate(colour, change, saturation)
    np.testing.assert_allclose(colour + change, enhanced, atol=1e-6)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize(("gain", "share"), [(1, 0), (1 + STOP / 2, 0.5), (1 + STOP, 1), (3, 1)])
def test_chroma_is_scaled_as_far_as_a_pixel_is_brightened(
    gain: float, share: float, backend: str
) -> None:
    """Where there is room: in full from one stop on."""
    image = filled(0.12, 0.11, 0.1)
    plain = rendered(image, gain, 0.0, backend=backend)
    np.testing.assert_allclose(plain, image[0, 0] * gain, rtol=1e-5)
    for saturation in (-1.0, -0.3, 0.5, 1.0):
        got = rendered(image, gain, saturation, backend=backend)
        wanted = (1 + saturation * share) * chroma(plain)
        np.testing.assert_allclose(chroma(got), wanted, rtol=0.02, atol=1e-6)
        assert abs(got @ LUMA - plain @ LUMA) < 1e-6


def test_colours_near_the_limits_take_less() -> None:
    """Neither clipped nor turned: a strong red gets a little more, a pure one stays."""
    strong = filled(0.2, 0.02, 0.02)
    plain, more = (rendered(strong, 3.0, saturation) for saturation in (0.0, 1.0))
    factor = chroma(more) / chroma(plain)
    assert 1.1 < factor[0] < 1.35 and np.ptp(factor) < 1e-4
    assert more.min() > 0.001
    pure = filled(0.2, 0.0, 0.0)
    np.testing.assert_allclose(rendered(pure, 3.0, 1.0), rendered(pure, 3.0, 0.0), atol=1e-6)


# ---------------------------------------------------------------------------- the renderers


@pytest.mark.parametrize("backend", FAST)
@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(KINDS),
    channels=st.sampled_from([None, 1, 2, 3, 4]),
    width=st.integers(1, 300),
    dtype=st.sampled_from(DTYPES),
    saturation=SATURATIONS,
)
def test_what_must_not_change_keeps_its_bits(
    backend: str,
    seed: int,
    kind: str,
    channels: int | None,
    width: int,
    dtype: type,
    saturation: float,
) -> None:
    rng = np.random.default_rng(seed)
    if dtype == np.float32:  # any bits at all: NaN of every kind, infinities, denormals
        shape = (12, width) if channels is None else (12, width, channels)
        image = rng.integers(0, 2**32, shape, dtype=np.uint32).view(np.float32)
    else:
        image = random_image(rng, 12, width, channels, dtype)
    areas, maps = random_areas(rng, 12, width), random_maps(kind, rng)
    options = {"fade": random_fade(rng), "backend": backend}
    window = window_around(rng, 12, width)
    got = render(maps, image, areas, window, saturation=saturation, **options)
    stored = {1: np.uint8, 2: np.uint16, 4: np.uint32}[image.dtype.itemsize]
    before, after = image.view(stored), got.view(stored)
    untouched = areas.weight == 0
    assert np.array_equal(after[untouched], before[untouched])
    if channels in (2, 4):
        assert np.array_equal(after[..., -1], before[..., -1])
    if channels in (None, 1, 2):
        plain = render(maps, image, areas, window, **options)
        assert np.array_equal(plain.view(stored), after)


@pytest.mark.parametrize("backend", FAST)
@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["AffineGrid", "GainGrid", "CurveMaps", "ToneCurves"]),
    channels=st.sampled_from([3, 4]),
    dtype=st.sampled_from(DTYPES),
    saturation=SATURATIONS,
)
def test_what_was_in_the_range_stays_in_it(
    backend: str, seed: int, kind: str, channels: int, dtype: type, saturation: float
) -> None:
    """Of maps that do not leave it themselves; a table may."""
    rng = np.random.default_rng(seed)
    white = scale_of(np.dtype(dtype))
    image = random_image(rng, 9, 70, channels, dtype).clip(0, int(white))
    assert image.dtype == dtype
    window = window_around(rng, 9, 70)
    clean = rng.random((9, 70, 4)).astype(np.float32)
    for rows in (None, lambda first, last: clean[first:last]):
        got = render(
            *(random_maps(kind, rng), image, random_areas(rng, 9, 70), window),
            saturation=saturation,
            backend=backend,
            clean=rows,
        )
        assert np.isfinite(got).all()
        if rows is None:
            assert got.min() >= 0 and got.max() <= white


# ---------------------------------------------------------------------------- the pipeline


def coloured(dtype: type = np.uint8) -> tuple[np.ndarray, np.ndarray]:
    """A dark reddish disc before something bright and blue, and its selection."""
    image, disc = scene()
    tinted = np.where(disc[..., None], (36, 30, 26), (190, 200, 215))
    assert tinted.shape == image.shape
    white = scale_of(np.dtype(dtype))
    return (tinted * (white / 255)).astype(dtype), disc


@pytest.mark.parametrize("edges", ["auto", "off"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_subject_loses_or_gains_colour_and_c_keeps_its_bits(dtype: type, edges: str) -> None:
    image, disc = coloured(dtype)
    enhancer = Enhancer.load("default")
    transition = Transition(8.0, edges=edges)  # type: ignore[arg-type]
    options: dict[str, Any] = {"transition": transition, "denoise": 0}
    plain = enhancer.enhance(image, disc, **options)
    assert np.array_equal(plain, enhancer.enhance(image, disc, saturation=0.0, **options))
    centre = slice(50, 70), slice(70, 90)

    def colours(pixels: np.ndarray) -> np.ndarray:
        return pixels[centre].mean((0, 1)) / scale_of(pixels.dtype)

    for saturation, factor in ((-1.0, 0.0), (-0.5, 0.5), (0.5, 1.5)):
        result, matte = enhancer.enhance_with_matte(image, disc, saturation=saturation, **options)
        again = enhancer.enhance(image, disc, saturation=saturation, **options)
        assert np.array_equal(result, again)
        assert (matte == 0).sum() > 5000
        assert np.array_equal(result[matte == 0], image[matte == 0])
        np.testing.assert_allclose(
            chroma(colours(result)), factor * chroma(colours(plain)), atol=1.1 / 255
        )
        assert abs(colours(result) @ LUMA - colours(plain) @ LUMA) < 0.5 / 255


def test_without_strength_nothing_changes() -> None:
    image, disc = coloured()
    enhancer = enhancer_of(tone_curves(3.0))
    result = enhancer.enhance(image, disc, strength=0.0, saturation=1.0)
    assert np.array_equal(result, image)


def test_a_part_and_other_planes_are_those_of_the_whole() -> None:
    image, disc = coloured()
    enhancer = enhancer_of(tone_curves(3.0))
    options: dict[str, Any] = {
        "window": Window(0, 0, 160, 120),
        "saturation": -1.0,
        "outputs": ("image", "enhanced", "illumination"),
    }
    whole = enhancer.enhance_region(image, disc, None, **options)
    rows, columns = slice(20, 60), slice(50, 100)
    part = enhancer.enhance_region(image, disc, None, part=(rows, columns), **options)
    assert np.array_equal(part.image, whole.image[rows, columns])
    assert whole.enhanced is not None and whole.illumination is not None
    in_a = whole.areas.plane == 65535
    assert np.array_equal(whole.enhanced[in_a], whole.image[in_a])
    assert np.ptp(whole.image[60, 80].astype(int)) <= 1
    # The input divided by it is the result, but where a channel became darker.
    lighter = in_a & (whole.image > image).all(-1)
    assert lighter[60, 80]
    divided = image / whole.illumination
    np.testing.assert_allclose(divided[lighter], whole.image[lighter], atol=0.01)


@pytest.mark.parametrize("channels", [1, 2])
def test_gray_images_are_as_without(channels: int) -> None:
    image, disc = scene(channels)
    enhancer = enhancer_of(tone_curves(3.0))
    result = enhancer.enhance(image, disc, saturation=-1.0)
    assert np.array_equal(result, enhancer.enhance(image, disc))


def test_noise_in_deep_shadows_is_no_more_than_doubled() -> None:
    """What noise reduction leaves of the noise of colours is not made more of than of colours."""
    rng = np.random.default_rng(3)
    image, disc = coloured()
    noisy = np.clip(image / 4 + rng.normal(0, 2.5, image.shape), 0, 255).astype(np.uint8)
    enhancer = Enhancer.load("default")
    centre = slice(45, 75), slice(65, 95)
    plain, more = (
        chroma(enhancer.enhance(noisy, disc, saturation=s)[centre].astype(float)).std((0, 1))
        for s in (0.0, 1.0)
    )
    assert (more < 2.05 * plain + 0.3).all()


@pytest.mark.parametrize("saturation", [-1.01, 1.01, float("nan"), float("inf")])
def test_out_of_range_is_refused_in_a_sentence(saturation: float) -> None:
    image, disc = scene()
    enhancer = enhancer_of(tone_curves(3.0))
    said = r"^A saturation of .* is out of range\. Use -1, for gray, to 1, for twice the colour\.$"
    for enhance in (enhancer.enhance, enhancer.enhance_with_matte):
        with pytest.raises(InputError, match=said):
            enhance(image, disc, saturation=saturation)
    with pytest.raises(InputError, match=r"^The saturation .* is not a number from -1 to 1\.$"):
        rendered(filled(0.1, 0.2, 0.3), 2.0, saturation)
