"""The quality measures: against reference implementations, and on made-up transitions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from maskupe.areas.partition import make_areas
from maskupe.areas.transition import Areas, Transition
from maskupe.errors import InputError
from maskupe_training import metrics

SIZE, WIDTH, GAIN = 128, 24, 4.0


def disc(width: float = WIDTH) -> Areas:
    y, x = np.mgrid[:SIZE, :SIZE]
    return make_areas(np.hypot(x - 63.5, y - 63.5) < 30, Transition(width))


def picture(seed: int = 0, level: float = 0.15) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (level + rng.uniform(-0.02, 0.02, (SIZE, SIZE, 3))).astype(np.float32)


def lit(image: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The image with the gain ``GAIN`` to the power of a share per pixel, so g is known."""
    delta = metrics.GAIN_DELTA
    return ((image + delta) * GAIN ** share[..., None] - delta).astype(np.float32)


def transition(kind: str, areas: Areas) -> np.ndarray:
    """The share of the gain per pixel: 1 in A, 0 in C, and the kind's shape in B."""
    distance = cv2.distanceTransform((~areas.a).astype(np.uint8), cv2.DIST_L2, 0)
    way = np.clip(1 - distance.astype(float) / (WIDTH + 1), 0, 1)
    shares = {
        "hard": (distance < WIDTH / 2).astype(float),
        "linear": way,
        "smoothstep": way * way * (3 - 2 * way),
        "ripple": np.clip(way + 0.15 * np.sin(distance * 1.5) * (way > 0) * (way < 1), 0, 1),
    }
    share = shares[kind]
    share[areas.a], share[areas.c] = 1.0, 0.0
    return share


def quality(kind: str) -> metrics.TransitionQuality:
    areas, image = disc(), picture()
    return metrics.transition_quality(lit(image, transition(kind, areas)), image, areas)


def test_psnr_is_the_reference_implementation_s_inside_the_area() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.random((2, 20, 30, 3), dtype=np.float32)
    area = rng.random((20, 30)) < 0.4
    expected = peak_signal_noise_ratio(y[area], x[area], data_range=1.0)
    assert metrics.psnr(x, y, area) == pytest.approx(expected, abs=1e-4)
    x[~area] = 7.0
    assert metrics.psnr(x, y, area) == pytest.approx(expected, abs=1e-4)


def test_equal_pictures_score_the_cap() -> None:
    x = picture()
    assert metrics.psnr(x, x, disc().a) == 100.0
    assert metrics.ssim_inside(x, x, disc().a) == pytest.approx(1.0)


def test_an_exponent_is_taken_out_by_the_gamma_aligned_psnr() -> None:
    rng = np.random.default_rng(2)
    truth = rng.uniform(0.1, 0.9, (40, 40, 3)).astype(np.float32)
    area = np.ones((40, 40), bool)
    assert metrics.psnr(truth**1.7, truth, area) < 20
    assert metrics.psnr_after_exponent(truth**1.7, truth, area) > 60
    noisy = np.clip(truth + rng.normal(0, 0.1, truth.shape), 0, 1).astype(np.float32)
    assert metrics.psnr_after_exponent(noisy, truth, area) >= metrics.psnr(noisy, truth, area)


def test_ssim_is_the_reference_implementation_s() -> None:
    rng = np.random.default_rng(3)
    x = rng.random((60, 50, 3), dtype=np.float32)
    y = np.clip(x + rng.normal(0, 0.1, x.shape), 0, 1).astype(np.float32)
    _, whole = structural_similarity(
        x,
        y,
        channel_axis=2,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    area = np.zeros((60, 50), bool)
    area[8:52, 8:42] = True
    # Windows that lie wholly inside the area: 5 pixels away from its edge.
    expected = whole[13:47, 13:37].mean()
    assert metrics.ssim_inside(x, y, area) == pytest.approx(expected, abs=1e-6)


def test_the_paper_s_ssim_is_inflated_by_the_black_outside() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.random((2, 60, 60, 3), dtype=np.float32)
    small = np.zeros((60, 60), bool)
    small[25:35, 25:35] = True
    assert metrics.ssim_masked(x, y, small) > 0.8
    assert metrics.ssim_inside(x, y, small) < 0.3


def test_transitions_are_told_apart() -> None:
    hard, linear = quality("hard"), quality("linear")
    smooth, ripple = quality("smoothstep"), quality("ripple")
    assert hard.step > ripple.step > smooth.step > linear.step
    assert linear.step == pytest.approx(1.0, abs=0.15)
    assert smooth.step == pytest.approx(1.5, abs=0.15)
    assert hard.step > 0.7 * WIDTH
    assert ripple.roughness > 5 * smooth.roughness
    assert hard.roughness > 5 * smooth.roughness
    assert linear.roughness > smooth.roughness
    assert ripple.violations > 0.3
    assert max(smooth.violations, linear.violations, hard.violations) < 0.02


def test_a_seam_is_seen_at_either_contour() -> None:
    areas, image = disc(), picture()
    smooth = transition("smoothstep", areas)
    assert metrics.transition_quality(lit(image, smooth), image, areas).seam < 0.03
    for contour in ("a", "c"):
        share = smooth.copy()
        share[areas.b] = share[areas.b] * 0.6 + (0.0 if contour == "a" else 0.4)
        found = metrics.transition_quality(lit(image, share), image, areas)
        assert found.seam == pytest.approx(0.4, abs=0.03)


def test_texture_alone_is_no_roughness() -> None:
    rng = np.random.default_rng(5)
    areas = disc()
    rough = rng.uniform(0.02, 0.2, (SIZE, SIZE, 3)).astype(np.float32)
    share = transition("smoothstep", areas)
    found = metrics.transition_quality(lit(rough, share), rough, areas)
    assert found.roughness == pytest.approx(quality("smoothstep").roughness, rel=1e-3)


def test_a_halo_is_what_outshines_the_input_and_a() -> None:
    areas, image = disc(), picture()
    image[areas.b] = 0.6
    assert metrics.transition_quality(image, image, areas).halo == 0.0
    lifted = image.copy()
    lifted[areas.b] = 0.7
    assert metrics.transition_quality(lifted, image, areas).halo == pytest.approx(25.5, abs=0.1)
    # As bright as A has become is no halo, even if it is brighter than before.
    level = image.copy()
    level[areas.a], level[areas.b] = 0.8, 0.8
    assert metrics.transition_quality(level, image, areas).halo == pytest.approx(0.0, abs=1e-4)


def test_only_newly_white_pixels_are_clipped() -> None:
    areas, image = disc(), picture()
    rows, columns = np.nonzero(areas.b)
    half = len(rows) // 2
    image[rows[:half], columns[:half]] = 1.0
    output = image.copy()
    output[rows[half:], columns[half:], 0] = 1.0
    found = metrics.transition_quality(output, image, areas).clipped
    assert found == pytest.approx(0.5, abs=1e-3)


def test_without_a_band_or_a_gain_there_is_nothing_to_measure() -> None:
    image = picture()
    assert np.isnan(metrics.transition_quality(image * 3, image, disc(0.0)).step)
    unlit = metrics.transition_quality(image, image, disc())
    assert np.isnan(unlit.seam)
    assert unlit.halo == 0.0


def test_a_feathered_selection_s_own_ramp_is_its_ideal() -> None:
    x = np.linspace(0, 1, SIZE, dtype=np.float32)
    areas = make_areas(np.tile(np.clip(1.5 - 2 * x, 0, 1), (SIZE, 1)))
    image = picture()
    found = metrics.transition_quality(lit(image, areas.weight.astype(float)), image, areas)
    assert found.step == pytest.approx(1.5, abs=0.15)
    assert found.violations < 0.02


def test_exactness_counts_what_changed() -> None:
    image = picture()
    output = image.copy()
    area = np.zeros((SIZE, SIZE), bool)
    area[:10] = True
    assert metrics.exactness(output, image, area) == metrics.Exactness(0.0, 0.0)
    output[0, 0, 1] += 10 / 255
    found = metrics.exactness(output, image, area)
    assert found.largest == pytest.approx(10.0, abs=1e-3)
    assert found.share == pytest.approx(1 / (10 * SIZE))
    assert metrics.exactness(output, image, np.zeros_like(area)).largest == 0.0


def test_what_does_not_fit_is_refused() -> None:
    image = picture()
    with pytest.raises(InputError, match="same height"):
        metrics.psnr(image, image[:-1], disc().a)
    with pytest.raises(InputError, match="empty"):
        metrics.ssim_inside(image, image, np.zeros((SIZE, SIZE), bool))
