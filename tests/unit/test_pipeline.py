"""The pipeline: bits of C and alpha, regions equal to the whole, options, threads, errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskupe import Enhancer, Transition
from maskupe.areas.coverage import Coverage, make_coverage
from maskupe.areas.region import region_of
from maskupe.areas.transition import Areas
from maskupe.errors import CancelledError, EmptySelectionError, InputError, UnknownModelError
from maskupe.maps import Window
from maskupe.matting.matte import Predict
from maskupe.preprocess.context import CONTEXT_EDGE, downscale
from maskupe.rendering.illumination import illumination
from tests.matte_cases import told
from tests.untrained import HAS_TORCH, write_weights


@pytest.fixture(scope="module")
def enhancer(tmp_path_factory: pytest.TempPathFactory) -> Enhancer:
    return Enhancer.load(write_weights(tmp_path_factory.mktemp("weights")), device="cpu")


def photo(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    rng = np.random.default_rng(5)
    coarse = rng.random((5, 6, channels)).astype(np.float32) * 0.3
    values = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    values = np.clip(values.reshape(height, width, channels), 0, 1)
    if channels in (2, 4):
        values[..., -1] = rng.random((height, width)) > 0.1
    if dtype is np.float32:
        return values.astype(np.float32)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


def disc(height: int, width: int, radius: float = 0.25) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.hypot(y - height * 0.4, x - width * 0.6) < radius * min(height, width)


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([np.uint8, np.uint16, np.float32]),
    st.integers(1, 4),
    st.integers(20, 140),
    st.integers(20, 140),
    st.sampled_from(["outside", "inside", "centred"]),
    st.floats(0.0, 2.0),
    st.sampled_from(["off", "auto"]),
)
def test_c_and_alpha_keep_their_bits(
    enhancer: Enhancer,
    dtype: type,
    channels: int,
    h: int,
    w: int,
    side: str,
    strength: float,
    edges: str,
) -> None:
    image = photo(h, w, channels, dtype)
    mask = disc(h, w)
    transition = Transition(2.0, side, edges)  # type: ignore[arg-type]
    result = enhancer.enhance(image, mask, strength=strength, transition=transition)
    areas: Areas | Coverage = enhancer.areas(mask, transition)
    if edges == "auto":
        areas = enhancer.enhance_region(
            image, mask, None, window=Window(0, 0, w, h), strength=strength, transition=transition
        ).areas
    assert result.shape == image.shape
    assert result.dtype == image.dtype
    assert np.array_equal(result[areas.c], image[areas.c])
    if channels in (2, 4):
        assert np.array_equal(result[..., -1], image[..., -1])
        assert np.array_equal(result[image[..., -1] == 0], image[image[..., -1] == 0])
    if strength == 0:
        assert np.array_equal(result, image)


@pytest.mark.parametrize("whole", [False, True])
def test_the_matte_is_the_weight_with_which_the_effect_was_blended_in(
    enhancer: Enhancer, whole: bool
) -> None:
    image = photo(160, 200, dtype=np.float32)
    mask = None if whole else disc(160, 200)
    options = {"strength": 0.8, "transition": Transition(20.0, "centred")}
    result, matte = enhancer.enhance_with_matte(image, mask, **options)
    assert np.array_equal(result, enhancer.enhance(image, mask, **options))
    region = enhancer.enhance_region(
        image, mask, None, window=Window(0, 0, 200, 160), outputs=("image", "enhanced"), **options
    )
    assert matte.dtype == np.float32 and matte.shape == (160, 200)
    assert matte.min() >= 0 and matte.max() == 1
    assert (matte == 0).any() != whole
    assert np.array_equal(result[matte == 0], image[matte == 0])
    blended = image + matte[..., None] * (region.enhanced - image)
    np.testing.assert_allclose(result, blended, atol=1e-5)


@pytest.mark.parametrize("denoise", [-0.1, 1.1, float("nan"), float("inf"), "much", ""])
def test_noise_reductions_that_cannot_be(enhancer: Enhancer, denoise: object) -> None:
    image, mask = photo(60, 70), disc(60, 70)
    for enhance in (enhancer.enhance, enhancer.enhance_with_matte):
        with pytest.raises(InputError, match="noise reduction"):
            enhance(image, mask, denoise=denoise)
    with pytest.raises(InputError, match="noise reduction"):
        window = Window(0, 0, 70, 60)
        enhancer.enhance_region(image, mask, None, window=window, denoise=denoise)


@pytest.mark.parametrize("denoise", [0, 0.5, 1.0, "auto"])
def test_noise_reductions_that_can_be(enhancer: Enhancer, denoise: object) -> None:
    image, mask = photo(60, 70), disc(60, 70)
    result = enhancer.enhance(image, mask, denoise=denoise)
    assert np.array_equal(result, enhancer.enhance_with_matte(image, mask, denoise=denoise)[0])


def test_it_does_something_in_a_and_more_with_more_strength(enhancer: Enhancer) -> None:
    image, mask = photo(200, 240), disc(200, 240)
    means = [
        float(enhancer.enhance(image, mask, strength=t)[mask].mean()) for t in (0.0, 0.5, 1.0, 1.5)
    ]
    assert means == sorted(means)
    assert means[-1] > means[0] + 5


def test_a_two_dimensional_image_is_one_of_a_single_channel(enhancer: Enhancer) -> None:
    image, mask = photo(90, 80, 1), disc(90, 80)
    flat = enhancer.enhance(image[..., 0], mask)
    assert np.array_equal(flat, enhancer.enhance(image, mask)[..., 0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_region_with_context_gives_what_the_whole_layer_gives(
    enhancer: Enhancer, dtype: type
) -> None:
    image, mask = photo(700, 900, 3, dtype), disc(700, 900, 0.12)
    whole = enhancer.enhance_region(image, mask, None, window=Window(0, 0, 900, 700)).image
    rows, columns = region_of(mask, Transition())
    assert rows.stop - rows.start < 500
    part = enhancer.enhance_region(
        image[rows, columns],
        mask[rows, columns],
        downscale(image, CONTEXT_EDGE),
        window=Window(columns.start, rows.start, 900, 700),
    ).image
    level = 1.0 if dtype is np.uint8 else (257.0 if dtype is np.uint16 else 1 / 255)
    # A trained network, which there is without PyTorch, brightens more, and so do its roundings.
    most = level if HAS_TORCH else 3 * level
    difference = whole[rows, columns].astype(np.float64) - part.astype(np.float64)
    assert np.abs(difference).max() <= most
    assert np.array_equal(enhancer.enhance(image, mask)[rows, columns], part)


def test_no_selection_lights_up_the_whole_layer(enhancer: Enhancer) -> None:
    image = photo(120, 150)
    everything = np.ones((120, 150), bool)
    assert np.array_equal(enhancer.enhance(image), enhancer.enhance(image, everything))


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from(["auto", 0.0, 3.5, 20.0]))
def test_the_region_holds_all_of_a_and_b(seed: int, width: object) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((90, 120), np.float32)
    for _ in range(rng.integers(1, 4)):
        y, x = rng.integers(0, 90), rng.integers(0, 120)
        mask[y : y + rng.integers(1, 40), x : x + rng.integers(1, 40)] = 1
    transition = Transition(width)  # type: ignore[arg-type]
    areas = Enhancer.areas(None, mask, transition)  # type: ignore[arg-type]
    rows, columns = region_of(mask, transition)
    outside = np.ones(mask.shape, bool)
    outside[rows, columns] = False
    assert not ((areas.a | areas.b) & outside).any()


def test_many_threads_get_the_same_answers(enhancer: Enhancer) -> None:
    images = [photo(80 + i, 90, 3) for i in range(6)]
    masks = [disc(80 + i, 90) for i in range(6)]
    alone = [enhancer.enhance(image, mask) for image, mask in zip(images, masks, strict=True)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(enhancer.enhance, images * 3, masks * 3))
    assert all(np.array_equal(a, b) for a, b in zip(alone * 3, together, strict=True))


def test_progress_can_cancel_and_nothing_is_changed(enhancer: Enhancer) -> None:
    image = photo(400, 500)
    before = image.copy()

    def stop(_: float) -> None:
        raise CancelledError("Stopped.")

    with pytest.raises(CancelledError):
        enhancer.enhance(image, disc(400, 500), progress=stop)
    assert np.array_equal(image, before)


def test_progress_rises_through_the_stages_and_can_stop_the_work_at_each(
    enhancer: Enhancer,
) -> None:
    image, mask, told = photo(60, 70), disc(60, 70), []
    enhancer.enhance(image, mask, progress=told.append)
    assert told == sorted(told) and told[-1] == 1.0
    assert len(told) > 3  # areas, the network's input, its maps, strips
    for last in range(1, len(told)):
        heard: list[float] = []

        def stop(done: float, heard: list[float] = heard, last: int = last) -> None:
            heard.append(done)
            if len(heard) == last:
                raise CancelledError("Stopped.")

        with pytest.raises(CancelledError):
            enhancer.enhance(image, mask, progress=stop)
        assert heard == told[:last]


def test_illumination_divides_the_input_into_the_result(enhancer: Enhancer) -> None:
    image, mask = photo(100, 120, 3, np.float32), disc(100, 120)
    found = enhancer.enhance_region(
        image, mask, None, window=Window(0, 0, 120, 100), outputs=("image", "illumination")
    )
    assert found.illumination is not None
    assert np.allclose(image / np.maximum(found.illumination, 1e-6), found.image, atol=1e-4)
    assert (found.illumination[~(found.areas.a | found.areas.b)] == 1).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_full_effect_blended_by_the_weight_is_the_result(
    enhancer: Enhancer, dtype: type
) -> None:
    image, mask = photo(100, 120, 4, dtype), disc(100, 120)
    outputs = ("image", "weight", "enhanced")
    found = enhancer.enhance_region(
        image, mask, None, window=Window(0, 0, 120, 100), outputs=outputs
    )
    assert found.enhanced is not None and found.weight is not None
    assert found.enhanced.dtype == image.dtype
    assert np.array_equal(found.enhanced[..., 3], image[..., 3])
    before = image[..., :3].astype(np.float64)
    change = found.enhanced[..., :3] - before
    assert (change[found.areas.c] != 0).any()  # there is something to paint on outside, too
    blended = before + found.weight[..., None] * change
    level = 1.01 if dtype == np.uint8 else 1e-4
    assert np.abs(blended - found.image[..., :3]).max() < level


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("selected", [True, False])
def test_a_part_is_cut_out_of_the_whole_result(
    enhancer: Enhancer, dtype: type, selected: bool
) -> None:
    image = photo(300, 340, 4, dtype)
    noise = np.random.default_rng(3).normal(0, 0.03, (300, 340, 3))
    scale = 255 if dtype is np.uint8 else 1
    image[..., :3] = np.clip(image[..., :3] + noise * scale, 0, scale).astype(dtype)
    mask = disc(300, 340) if selected else None
    outputs = ("image", "weight", "illumination", "enhanced")
    window = Window(0, 0, 340, 300)
    whole = enhancer.enhance_region(image, mask, None, window=window, outputs=outputs)
    plain = enhancer.enhance_region(image, mask, None, window=window, denoise=0.0)
    assert not np.array_equal(whole.image, plain.image)  # noise is reduced
    part = slice(37, 190), slice(101, 250)
    found = enhancer.enhance_region(image, mask, None, window=window, outputs=outputs, part=part)
    assert found.width == whole.width
    assert np.array_equal(found.areas.plane, whole.areas.plane[part])
    for name in outputs:
        values, wanted = getattr(found, name), getattr(whole, name)[part]
        assert values.dtype == wanted.dtype and values.shape == wanted.shape
        step = 1 if values.dtype == np.uint8 else 1e-5
        assert np.abs(values.astype(np.float64) - wanted).max() <= step, name


def test_illumination_of_black_is_one() -> None:
    black = np.zeros((2, 2, 3), np.uint8)
    assert (illumination(black, black) == 1).all()


def test_bad_input_is_refused_in_words(enhancer: Enhancer, tmp_path: Path) -> None:
    image, mask = photo(60, 70), disc(60, 70)
    with pytest.raises(InputError, match="same width and height"):
        enhancer.enhance(image, mask[:50])
    with pytest.raises(EmptySelectionError, match="selection is empty"):
        enhancer.enhance(image, np.zeros((60, 70), bool))
    with pytest.raises(InputError, match="not an image"):
        enhancer.enhance(image[..., None], mask)
    with pytest.raises(InputError, match="uint8, uint16 or float32"):
        enhancer.enhance(image.astype(np.float64), mask)
    with pytest.raises(InputError, match="strength"):
        enhancer.enhance(image, mask, strength=float("nan"))
    with pytest.raises(InputError, match="inside its layer"):
        enhancer.enhance_region(image, mask, None, window=Window(50, 0, 100, 60))
    with pytest.raises(InputError, match="inside the region"):
        window, part = Window(0, 0, 70, 60), (slice(0, 61), slice(0, 70))
        enhancer.enhance_region(image, mask, None, window=window, part=part)
    with pytest.raises(UnknownModelError, match="default"):
        Enhancer.load("../../etc/passwd")


class Watched:
    """A matting network that counts how often it is asked."""

    def __init__(self, said: Predict) -> None:
        self.said, self.asked = said, 0

    def __call__(self, planes: np.ndarray) -> np.ndarray:
        self.asked += 1
        return self.said(planes)


def watched(enhancer: Enhancer, said: Predict) -> tuple[Enhancer, Watched]:
    """The same model with another matting network, which is watched."""
    network = Watched(said)
    return Enhancer(enhancer.predictor, threads=1, matting=lambda: network), network


def test_the_matte_is_remembered_by_content(enhancer: Enhancer) -> None:
    image, mask = photo(160, 200), disc(160, 200)
    following, network = watched(enhancer, told(lambda planes: planes[3], 0.0, 0.0))
    first = following.enhance(image, mask)
    assert network.asked == 1
    for strength in (0.3, 0.8):
        following.enhance(image.copy(), mask.copy(), strength=strength)
    assert np.array_equal(following.enhance(image, mask), first)
    following.enhance(image, mask, transition=Transition(3.0))
    assert network.asked == 1
    following.enhance(image // 2, mask)
    following.enhance(image, disc(160, 200, 0.3))
    assert network.asked == 3


def test_edges_off_asks_no_matting_network(enhancer: Enhancer) -> None:
    image, mask = photo(160, 200), disc(160, 200)
    following, network = watched(enhancer, told(0.5, 0.0, 0.0))
    for edges in ("off", 0.0):
        following.enhance(image, mask, transition=Transition(edges=edges))  # type: ignore[arg-type]
    following.enhance(image)
    following.enhance(image, np.ones((160, 200), bool))
    assert network.asked == 0
    off = Transition(9.0, edges="off")
    window = Window(0, 0, 200, 160)
    found = following.enhance_region(image, mask, None, window=window, transition=off)
    assert np.array_equal(found.areas.plane, make_coverage(mask, off).plane)


def test_where_the_network_finds_no_subject_areas_are_by_distance(enhancer: Enhancer) -> None:
    image, mask = photo(160, 200), np.zeros((160, 200), bool)
    mask[70:82, 40:150] = True  # so narrow that nothing of it is deep inside
    following, network = watched(enhancer, told(0.0, 0.0, 0.0))
    window = Window(0, 0, 200, 160)
    got, off = (
        following.enhance_region(image, mask, None, window=window, transition=transition)
        for transition in (Transition(), Transition(edges="off"))
    )
    assert np.array_equal(got.areas.plane, off.areas.plane)
    assert np.array_equal(got.image, off.image)
    assert network.asked == 1


def test_an_exact_mask_stays_on_a_flat_picture() -> None:
    """With the networks that people use: nothing tells another matte than the one that is given."""
    image = np.full((300, 360, 3), 60, np.uint8)
    y, x = np.mgrid[:300, :360]
    alpha = np.clip((90 - np.hypot(y - 150, x - 180)) / 3 + 0.5, 0, 1).astype(np.float32)
    shipped = Enhancer.load("default", device="cpu", threads=1)
    found = shipped.enhance_region(image, alpha, None, window=Window(0, 0, 360, 300))
    weight = found.areas.weight
    assert weight[alpha == 1].min() > 0.97
    assert weight[np.hypot(y - 150, x - 180) > 110].max() == 0


def featureless(kind: str) -> np.ndarray:
    """Pictures without an edge near the line, uint8 (400, 400, 3)."""
    rng = np.random.default_rng(2)
    y = np.mgrid[:400, :400][0].astype(np.float32)
    plane = 60.0 + (y / 10.0 if kind == "gradient" else rng.normal(0, 4, (400, 400)))
    return np.rint(np.repeat(plane[..., None], 3, axis=2)).astype(np.uint8)


@pytest.mark.parametrize("kind", ["noise", "gradient"])
@pytest.mark.parametrize("radius", [60, 110])
def test_a_circle_where_there_is_no_edge_fades_by_distance(kind: str, radius: int) -> None:
    """The steepest step of the mean gain outwards is at most twice an even ramp's."""
    image = featureless(kind)
    y, x = np.mgrid[:400, :400]
    away = np.hypot(y - 200, x - 195) - radius
    shipped = Enhancer.load("default", device="cpu", threads=1)
    result = shipped.enhance(image, away < 0)
    width = make_coverage(away < 0, Transition()).width
    gain = np.log((result[..., 1] + 4.0) / (image[..., 1] + 4.0))
    steps = np.round(away).astype(int)
    near = (steps > -width) & (steps < 2 * width)
    count = np.bincount(steps[near] + 200)
    profile = np.bincount(steps[near] + 200, gain[near])[count > 0] / count[count > 0]
    whole = float(gain[away < -0.5 * radius].mean())
    assert whole > 0.05
    assert np.abs(np.diff(profile)).max() * width <= 2.0 * whole
