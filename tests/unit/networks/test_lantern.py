"""Lantern: its start, its golden curve, and that only what is in A decides."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskupe.maps import TONE_OFFSET
from maskupe.networks.lantern import (
    LEAST_GAIN,
    MIDDLE_GRAY,
    TABLE,
    Lantern,
    _at_levels,
    expose,
    log_light,
)


@pytest.fixture
def network() -> Lantern:
    torch.manual_seed(0)
    return Lantern().eval()


def scene(dark: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A dark left half, selected, beside a bright right half."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(1, 3, 256, 256, generator=generator) * dark
    image[..., 128:] = 0.5 + 0.4 * torch.rand(1, 3, 256, 128, generator=generator)
    areas = torch.zeros(1, 2, 256, 256)
    areas[:, 0, :, :120] = 1
    areas[:, 1, :, 120:128] = 1
    return image, areas


def test_the_maps_have_the_documented_shapes_and_are_positive(network: Lantern) -> None:
    table, residual = network.predict(*scene(0.1))
    assert table.shape == (1, 3, TABLE)
    assert residual.shape == (1, 3, 8, 8)
    assert (table > 0).all()
    assert (residual > 0).all()


@pytest.mark.parametrize("dark", [0.03, 0.1, 0.3])
def test_untrained_it_exposes_a_to_middle_gray(network: Lantern, dark: float) -> None:
    image, areas = scene(dark)
    with torch.no_grad():
        lit = network(image, areas).image[0, :, :, :118].mean()
    # The histogram is of cells, not pixels, so noise within a cell moves the mean a little.
    assert float(lit) == pytest.approx(MIDDLE_GRAY, abs=0.04)


def test_untrained_a_lit_selection_is_lifted_to_middle_gray_too(network: Lantern) -> None:
    image, areas = scene(0.1)
    image[..., :128] = 0.30 + 0.8 * image[..., :128]
    with torch.no_grad():
        lit = network(image, areas).image[0, :, :, :118]
    assert float(lit.mean()) == pytest.approx(MIDDLE_GRAY, abs=0.01)


def test_untrained_what_is_brighter_than_that_gets_a_little_more_light(network: Lantern) -> None:
    image, areas = scene(0.1)
    image[..., :128] = 0.55 + 0.8 * image[..., :128]
    with torch.no_grad():
        lit = network(image, areas).image[0, :, :, :118].mean()
    assert float(lit) == pytest.approx(LEAST_GAIN * float(image[..., :118].mean()), abs=0.01)


def test_untrained_it_does_not_darken_what_is_bright(network: Lantern) -> None:
    image, areas = scene(1.0)
    image[..., :128] = 0.92 + 0.05 * image[..., :128]
    with torch.no_grad():
        lit = network(image, areas).image[0, :, :, :118]
    assert float(lit.mean()) == pytest.approx(float(image[0, :, :, :118].mean()), abs=0.02)


@pytest.mark.parametrize(("levels", "at_most"), [(0.0, 16.0), (0.5, 70.0), (1.5, 95.0)])
def test_black_is_not_lifted_to_gray(network: Lantern, levels: float, at_most: float) -> None:
    image, areas = scene(0.1)
    noise = torch.rand(1, 3, 256, 128, generator=torch.Generator().manual_seed(1))
    image[..., :128] = (2.0 * levels * noise).round() / 255.0
    with torch.no_grad():
        lit = 255.0 * float(network(image, areas).image[0, :, :, :118].mean())
    assert levels <= lit <= at_most


def test_surroundings_do_not_change_the_untrained_exposure(network: Lantern) -> None:
    image, areas = scene(0.1)
    brighter = image.clone()
    brighter[..., 130:] = 1.0
    assert torch.allclose(network.predict(image, areas)[0], network.predict(brighter, areas)[0])


def test_the_curve_never_folds_tones(network: Lantern) -> None:
    table, _ = network.predict(*scene(0.05))
    levels = torch.linspace(0, 1, TABLE).square()
    lit = (levels + TONE_OFFSET) * table[0] - TONE_OFFSET
    assert (lit.diff(dim=1) > -1e-6).all()
    # Without bound to the exposure white goes to a^(1/g), which clips a little below white.
    assert lit[:, -1].max() <= 1.12 ** (1 / 1.2) + 1e-4


def test_the_exposure_formula_is_the_cameras_response_at_k_times_the_light() -> None:
    a, k = 1.1, 5.0
    encoded = np.linspace(0.01, 0.9, 20)  # y^g
    light = (a - 1) * encoded / (a - encoded)
    golden = a * (k * light) / (k * light + a - 1)
    found = expose(
        torch.tensor(encoded), torch.log(torch.tensor(k, dtype=torch.float64)), torch.tensor(a)
    )
    assert np.allclose(found.numpy(), golden, atol=1e-6)


def test_log_light_has_black_at_zero_and_white_at_one() -> None:
    values = log_light(torch.tensor([0.0, 1 / 255, 1.0]))
    assert values.tolist() == pytest.approx([0.0, 1 / 8, 1.0])


def test_knots_are_interpolated_linearly() -> None:
    knots = torch.arange(16.0).expand(1, 3, 16) * 2.0
    at = torch.tensor([0.0, 0.5 / 15, 1.0])
    assert _at_levels(knots, at)[0, 0].tolist() == pytest.approx([0.0, 1.0, 30.0])


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(0)
    network = Lantern()
    with torch.no_grad():  # the zero-initialised ends would stop the gradient at the first step
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    image, areas = scene(0.1)
    network(image, areas).image[..., :120].square().mean().backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0
        for parameter in network.parameters()
    )
