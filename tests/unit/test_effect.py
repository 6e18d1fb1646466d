"""What a model does to the subject, and that no edge outshines what lies on both sides of it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskupe import Enhancer, Transition
from maskupe.effect import BOUND_SIZE, predict_effect
from maskupe.maps import LookUpTable, ToneCurves, Window
from maskupe.matting.matte import make_matte
from maskupe.matting.surroundings import surroundings_of
from maskupe.pixel_layout import GAIN_DELTA, LUMA
from tests.matte_cases import told


class Gain:
    """A model that multiplies all light by one number."""

    name, device = "gain", "cpu"

    def __init__(self, gain: float) -> None:
        table = np.full((3, 16), gain, np.float32)
        self.maps = ToneCurves(table, np.ones((3, 1, 1), np.float32))

    def predict(self, context: np.ndarray, shares: np.ndarray) -> ToneCurves:
        return self.maps


def scene(
    seed: int, blur: float, noise: float, subject: float = 118.0, behind: float = 175.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A dark shape before something bright, its matte, and a polygon drawn around it by hand."""
    rng = np.random.default_rng(seed)
    height, width = 360, 420
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    radius = 95 * (1 + 0.15 * np.sin(3 * angles + rng.uniform(0, 6)))
    outline = np.stack([210 + radius * np.cos(angles), 180 + 1.2 * radius * np.sin(angles)], 1)
    alpha = np.zeros((height, width), np.float32)
    cv2.fillPoly(alpha, [np.rint(outline).astype(np.int32)], 1.0)
    alpha = cv2.GaussianBlur(alpha, (0, 0), blur)
    picture = behind + alpha * (subject - behind)
    picture = np.repeat(picture[..., None], 3, axis=2) + rng.normal(0, noise, (height, width, 3))
    corners = outline[:: int(rng.integers(12, 18))]
    outwards = corners - outline.mean(0)
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    drawn = corners + outwards * rng.normal(2.0, 3.0, (len(corners), 1))
    selection = np.zeros((height, width), np.uint8)
    cv2.fillPoly(selection, [np.rint(drawn).astype(np.int32)], 255)
    return np.rint(np.clip(picture, 0, 255)).astype(np.uint8), alpha, selection


def luma(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) @ LUMA


@pytest.mark.parametrize("gain", [1.2, 1.48, 1.9])
@settings(max_examples=6)
@given(
    seed=st.integers(0, 1000), blur=st.floats(1.0, 3.0), noise=st.sampled_from([0.0, 2.0]),
    kind=st.sampled_from(["lasso", "exact"]),
)  # fmt: skip
def test_no_edge_outshines_both_of_its_sides(gain, seed, blur, noise, kind):
    """With what the true matte says in the network's place: by 5 % at most, and some noise."""
    image, alpha, selection = scene(seed, blur, noise)
    if kind == "exact":
        selection = np.rint(alpha * 255).astype(np.uint8)
    height, width = alpha.shape
    window = Window(0, 0, width, height)
    frame = surroundings_of(image, selection, None, window, Transition()).frame
    part = alpha[frame.y : frame.y + frame.height, frame.x : frame.x + frame.width]
    seen = cv2.resize(part, (256, 256), interpolation=cv2.INTER_AREA)
    enhancer = Enhancer(Gain(gain), threads=1, matting=lambda: told(lambda _: seen, 0.0, 0.0))  # type: ignore[arg-type]
    result = enhancer.enhance(image, selection)
    lit = np.percentile(luma(result)[alpha > 0.999], 99.9)
    limit = max(np.percentile(luma(image)[alpha < 0.001], 99.9), lit)
    assert luma(result).max() <= 1.05 * limit + 3 * noise
    assert lit > 110 * gain


@pytest.mark.parametrize("noise", [0.0, 1.5])
@pytest.mark.parametrize("blur", [1.0, 2.0, 3.0])
def test_the_default_lights_no_rim(blur, noise):
    image, alpha, selection = scene(3, blur, noise)
    enhancer = Enhancer.load("default", device="cpu", threads=1)
    result = luma(enhancer.enhance(image, selection))
    lit = np.percentile(result[alpha > 0.999], 99.9)
    behind = np.percentile(luma(image)[alpha < 0.001], 99.9)
    assert result.max() <= max(behind, lit) + 5


def test_the_gain_is_the_subjects_mean_and_the_bound_what_it_gets():
    rng = np.random.default_rng(0)
    image = rng.integers(40, 90, (300, 300, 3)).astype(np.uint8)
    selection = np.zeros((300, 300), bool)
    selection[100:220, 80:200] = True
    window = Window(0, 0, 300, 300)
    seen = surroundings_of(image, selection, None, window, Transition())
    matte = make_matte(seen, told(lambda planes: planes[3], 0.0, 0.0), window)
    assert matte is not None
    context = cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    inside = cv2.resize(selection.astype(np.float32), (256, 256), interpolation=cv2.INTER_AREA)
    maps = Gain(1.6).maps
    found = predict_effect(maps, context, np.stack([inside, 0 * inside]), matte, window)
    one = (context + 1 / 512) * 1.6 - 1 / 512
    chosen = inside >= 0.5
    wanted = np.log((one + GAIN_DELTA) / (context + GAIN_DELTA))[chosen].mean()
    assert found.log_gain == pytest.approx(wanted, abs=1e-3)
    assert found.bound is not None
    plane = found.bound.plane
    assert plane.shape == (BOUND_SIZE, BOUND_SIZE) and plane.dtype == np.float32
    bound = found.bound
    assert (bound.x, bound.y, bound.width, bound.height) == tuple(matte.frame)
    added = (one - context) @ LUMA
    assert abs(float(np.median(plane)) - float(added[chosen].mean())) < 0.03
    assert predict_effect(maps, context, np.stack([inside, inside]), None, window).bound is None


def test_a_table_that_goes_below_black_has_an_effect_like_any_other():
    context = np.random.default_rng(0).random((256, 256, 3)).astype(np.float32)
    shares = np.stack([np.ones((256, 256)), np.zeros((256, 256))]).astype(np.float32)
    maps = LookUpTable(np.full((3, 2, 2, 2), -0.1, np.float32))
    found = predict_effect(maps, context, shares, None, Window(0, 0, 256, 256))
    assert np.isfinite(found.log_gain) and found.log_gain < 0
