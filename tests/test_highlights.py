"""Highlights: a bright sky beside a lit subject stays as it was; dark surroundings do not."""

from __future__ import annotations

import numpy as np
import pytest

from maskupe.areas import Transition
from maskupe.context import network_input
from maskupe.coverage import Coverage, cover
from maskupe.fade import Fade, plain
from maskupe.highlights import foresee
from maskupe.maps import ToneCurves, Window
from maskupe.rendering import render
from maskupe.rendering.pixels import weights
from maskupe.subject import Subject, find_subject

SIZE = 256
WINDOW = Window(0, 0, SIZE, SIZE)


def lift(gain: float) -> ToneCurves:
    """Tone curves that multiply dark tones by a gain and roll off towards white."""
    levels = np.linspace(0, 1, 256, dtype=np.float32) ** 2
    lit = gain * levels / ((gain - 1) * levels + 1)
    table = (lit + 1 / 512) / (levels + 1 / 512)
    gains = np.repeat(table[None], 3, 0).astype(np.float32)
    return ToneCurves(gains, np.ones((3, 4, 4), np.float32))


def backlit() -> tuple[np.ndarray, np.ndarray]:
    """A dark subject in the left half before a bright sky, and its selection."""
    image = np.full((SIZE, SIZE, 3), 0.7, np.float32)
    rng = np.random.default_rng(3)
    image[:, :128] = 0.05
    image[:, :128] *= rng.uniform(0.7, 1.3, (SIZE, 128, 1))
    mask = np.zeros((SIZE, SIZE), bool)
    mask[:, :128] = True
    return image, mask


def looked_at(image: np.ndarray, areas: Coverage) -> tuple[np.ndarray, Subject]:
    context, shares = network_input(image, areas, None, WINDOW)
    return context, find_subject(context, shares)


def test_a_bright_sky_in_the_band_is_left_alone() -> None:
    image, mask = backlit()
    areas = cover(mask, Transition(40.0))
    maps = lift(8.0)
    effect = foresee(maps, *looked_at(image, areas))
    fade = Fade(plain().ramp, effect.allowed)
    weight = weights(areas, image, fade)
    everywhere = render(maps, image, areas, WINDOW)
    kept = render(maps, image, areas, WINDOW, fade=fade)
    sky = (slice(None), slice(140, 168))
    assert (everywhere - image)[sky].max() > 0.1  # the halo that a weight by distance alone makes
    assert np.abs(kept - image)[sky].max() < 0.01
    assert np.array_equal(kept[areas.a], everywhere[areas.a])
    assert (weight <= areas.weight + 1e-5).all()


def test_dark_surroundings_take_part_in_the_transition() -> None:
    image, mask = backlit()
    image[:, 128:] = 0.03
    areas = cover(mask, Transition(40.0))
    effect = foresee(lift(8.0), *looked_at(image, areas))
    fade = Fade(plain().ramp, effect.allowed)
    weight = weights(areas, image, fade)
    assert np.allclose(weight, areas.weight, atol=1e-5)


def test_tones_of_the_band_keep_their_order() -> None:
    image, mask = backlit()
    image[:, 128:] = np.linspace(0, 1, SIZE, dtype=np.float32)[:, None, None]
    areas = cover(mask, Transition(60.0))
    maps = lift(8.0)
    effect = foresee(maps, *looked_at(image, areas))
    fade = Fade(plain().ramp, effect.allowed)
    result = render(maps, image, areas, WINDOW, fade=fade)
    for column in (130, 150, 170):
        assert np.diff(result[:, column, 0]).min() > -2e-3


def test_the_log_gain_is_that_of_a() -> None:
    image, mask = backlit()
    areas = cover(mask, Transition(0.0))
    maps = lift(6.0)
    effect = foresee(maps, *looked_at(image, areas))
    lit = render(maps, image, areas, WINDOW)
    delta = 4 / 255
    expected = np.log((lit[areas.a] + delta) / (image[areas.a] + delta)).mean()
    assert effect.log_gain == pytest.approx(float(expected), abs=0.02)


def test_a_sky_in_a_careless_selection_is_left_alone_and_has_no_edge() -> None:
    image, mask = backlit()
    image[:, 128:] = 0.7
    mask[:, :190] = True  # a third of it is sky
    areas = cover(mask, Transition(20.0))
    maps = lift(8.0)
    context, subject = looked_at(image, areas)
    effect = foresee(maps, context, subject)
    assert effect.inside == pytest.approx(1.0)
    everywhere = render(maps, image, areas, WINDOW)
    kept = render(
        maps, image, areas, WINDOW, fade=Fade(plain().ramp, effect.allowed, effect.inside)
    )
    sky = (slice(None), slice(130, None))
    assert np.abs(np.diff(everywhere[100, 130:, 0])).max() > 0.01  # an edge where the loop ran
    assert np.abs(kept - image)[sky].max() < 0.01
    # The subject is lit as ever, but for its own few highlights.
    assert np.abs(kept - everywhere)[:, :128].max() < 0.1
    assert np.median(np.abs(kept - everywhere)[:, :128]) == 0.0
    tight = foresee(maps, *looked_at(image, cover(backlit()[1], Transition(20.0))))
    assert effect.log_gain == pytest.approx(tight.log_gain, abs=0.05)
