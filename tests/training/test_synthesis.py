"""Synthesised underexposure: the camera's response, the light that is taken away, the bracket."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskupe.errors import InputError
from maskupe.preprocess.srgb import encode_srgb
from maskupe_training.data.synthesis import (
    SRGB_RESPONSE,
    Response,
    SynthesisRecipe,
    bracket,
    draw_response,
    underexpose,
    undeveloped,
)

LEVELS = np.arange(256, dtype=np.uint8)


@given(st.floats(0.5, 2.5), st.floats(0.005, 2.0))
def test_a_response_is_undone_by_its_inverse(exponent: float, shoulder: float) -> None:
    response = Response(exponent, 1.0 + shoulder)
    light = response.light(LEVELS)
    assert light[0] == 0
    assert light[-1] == pytest.approx(1.0, abs=1e-5)
    assert (np.diff(light) > 0).all()
    assert np.abs(response.encode(light).astype(int) - LEVELS).max() <= 1


def test_the_response_is_the_formula() -> None:
    response = Response(1.2, 1.1)
    light = np.array([0.02, 0.1, 0.5, 1.0], np.float32)
    golden = (1.1 * light / (light + 0.1)) ** (1 / 1.2)
    assert response.encode(light).tolist() == np.rint(golden * 255).astype(int).tolist()
    assert float(response.encode(np.float32(response.middle_gray))) == pytest.approx(127.5, abs=0.6)


def test_a_bracket_holds_the_photograph_itself_and_gets_brighter() -> None:
    photo = np.stack([LEVELS] * 3, axis=-1)[None]
    frames = bracket(photo, [-2.0, 0.0, 1.0], Response(1.2, 1.1))
    assert frames[1] is photo
    means = [float(frame.mean()) for frame in frames]
    assert means == sorted(means)
    twice = Response(1.2, 1.1)
    assert np.array_equal(frames[2], twice.encode(twice.light(photo) * 2))


def test_without_noise_and_cast_a_known_exposure_is_exact() -> None:
    recipe = SynthesisRecipe(
        exposure=(-2.0, -2.0),
        local=0.0,
        read_noise=(0.0, 0.0),
        full_well=(1e12, 1e12),
        colour_cast=0.0,
    )
    response = Response(1.1, 1.05)
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    dark = underexpose(np.random.default_rng(1), photo, recipe, response)
    expected = response.encode(response.light(photo) / 4)
    assert np.abs(dark.astype(int) - expected.astype(int)).max() <= 1


def test_some_pictures_lose_light_without_a_tone_curve() -> None:
    light = np.linspace(0.01, 1.0, 200, dtype=np.float32)
    plain = SRGB_RESPONSE.encode(light).astype(float)
    assert np.abs(plain - encode_srgb(light) * 255).max() < 6
    rng = np.random.default_rng(0)
    recipe = SynthesisRecipe(linear=0.3)
    drawn = [draw_response(rng, recipe) for _ in range(2000)]
    assert np.mean([response is SRGB_RESPONSE for response in drawn]) == pytest.approx(
        0.3, abs=0.04
    )
    cameras = [response for response in drawn if response is not SRGB_RESPONSE]
    assert max(response.exponent for response in cameras) <= 1.6
    # Recipes that do not ask for it draw as before.
    first, second = (
        draw_response(np.random.default_rng(3), one)
        for one in (SynthesisRecipe(), SynthesisRecipe(linear=0.0))
    )
    assert first == second


def test_published_pictures_are_underexposed_less() -> None:
    recipe = SynthesisRecipe(exposure=(-5.0, -4.0), published_exposure=(-0.5, 0.0), local=0.0)
    photo = np.full((40, 40, 3), 140, np.uint8)
    response = draw_response(np.random.default_rng(2), recipe)
    dark = underexpose(np.random.default_rng(3), photo, recipe, response)
    mild = underexpose(np.random.default_rng(3), photo, recipe, response, published=True)
    assert dark.mean() < 60 < 110 < mild.mean()


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_an_undeveloped_photograph_is_flatter_and_paler(flatness: float, colour: float) -> None:
    ramp = np.stack([LEVELS] * 3, axis=-1)[None]
    gray = undeveloped(ramp, flatness, colour)
    assert (np.diff(gray.astype(int), axis=1) >= 0).all()
    assert gray.std() <= ramp.std()
    red = undeveloped(np.array([[[180, 90, 90]]], np.uint8), flatness, colour)[0, 0]
    assert int(red[0]) - int(red[1]) <= 90


def test_a_smoothstep_is_taken_back_and_nothing_where_nothing_was_asked() -> None:
    values = LEVELS / 255.0
    developed = np.rint(255.0 * (3 * values**2 - 2 * values**3)).astype(np.uint8)
    back = undeveloped(np.stack([developed] * 3, axis=-1)[None], 1.0, 1.0)[0, :, 0]
    middle = slice(40, 216)  # the curve is flat at its ends: one level there is many before
    assert np.abs(back.astype(int) - LEVELS)[middle].max() <= 1
    photo = np.random.default_rng(5).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    assert np.array_equal(undeveloped(photo, 0.0, 1.0), photo)


def test_published_pictures_are_undeveloped_as_the_recipe_says() -> None:
    recipe = SynthesisRecipe(
        published_exposure=(0.0, 0.0),
        published_flatness=(0.8, 0.8),
        published_colour=(0.5, 0.5),
        colour_cast=0.0,
    )
    photo = np.random.default_rng(6).integers(20, 236, (60, 60, 3), dtype=np.uint8)
    response = Response(1.2, 1.1)
    seen = underexpose(np.random.default_rng(7), photo, recipe, response, published=True)
    assert np.abs(seen.astype(int) - undeveloped(photo, 0.8, 0.5)).mean() < 6
    assert seen.std() < 0.9 * photo.std()


def test_noise_is_stronger_with_less_light() -> None:
    photo = np.full((200, 200, 3), 128, np.uint8)
    response = Response(1.2, 1.1)

    def relative_noise(exposure: float) -> float:
        recipe = SynthesisRecipe(exposure=(exposure, exposure), local=0.0, colour_cast=0.0)
        light = response.light(underexpose(np.random.default_rng(4), photo, recipe, response))
        return float(light.std() / light.mean())

    assert relative_noise(-4.0) > 1.5 * relative_noise(-1.0)


def test_a_range_the_wrong_way_round_is_refused_in_words() -> None:
    with pytest.raises(InputError, match=r"synthesis\.shoulder"):
        SynthesisRecipe(shoulder=(0.2, 0.1))


@pytest.mark.parametrize("name", ["local", "published", "linear"])
@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_a_share_beyond_one_is_refused_in_words(name: str, value: float) -> None:
    wrong: dict[str, Any] = {name: value}
    with pytest.raises(InputError, match=rf"synthesis\.{name}"):
        SynthesisRecipe(**wrong)
