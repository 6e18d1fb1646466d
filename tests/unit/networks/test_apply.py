"""The torch application of maps, against slow transcriptions of the formulas in maskupe.maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskupe import maps as kinds
from maskupe.areas.transition import Areas
from maskupe.networks.apply import apply_maps, luma, slice_grid
from maskupe.networks.autograd_ops import piecewise_linear, quadratic_curves
from maskupe.rendering import render


def uniform(*shape: int, low: float = 0.0, high: float = 1.0, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(*shape, generator=generator)


def tent_sample(axis_values: np.ndarray, position: float) -> float:
    """Linear interpolation with border values held, positions in cells from the first centre."""
    last = len(axis_values) - 1
    position = min(max(position, 0.0), float(last))
    left = min(int(np.floor(position)), last)
    right = min(left + 1, last)
    share = position - left
    return float((1 - share) * axis_values[left] + share * axis_values[right])


def slow_slice(grid: np.ndarray, x: float, y: float, z: float) -> float:
    """One value of a (D, h, w) grid at normalised coordinates."""
    depth, height, width = grid.shape
    planes = []
    for plane in grid:
        rows = np.array([tent_sample(row, x * width - 0.5) for row in plane])
        planes.append(tent_sample(rows, y * height - 0.5))
    return tent_sample(np.array(planes), z * depth - 0.5)


def test_slice_agrees_with_a_slow_transcription() -> None:
    grid, guide = uniform(1, 2, 8, 5, 3), uniform(1, 7, 11, seed=1)
    sliced = slice_grid(grid, guide)
    for row, column, channel in [(0, 0, 0), (6, 10, 1), (3, 4, 0), (1, 9, 1)]:
        expected = slow_slice(
            grid[0, channel].numpy(),
            (column + 0.5) / 11,
            (row + 0.5) / 7,
            float(guide[0, row, column]),
        )
        assert float(sliced[0, channel, row, column]) == pytest.approx(expected, abs=1e-5)


def affine_maps(matrix_inputs: int = 3) -> tuple[torch.Tensor, ...]:
    grid = uniform(1, 3, 4, 8, 4, 4, low=-0.2, high=0.6, seed=2)
    matrix = torch.eye(3, matrix_inputs) + uniform(3, matrix_inputs, high=0.1, seed=3)
    shifts, slopes = uniform(3, 6, seed=4), uniform(3, 6, low=-0.5, seed=5)
    return grid, matrix, uniform(3, high=0.1), shifts, slopes, uniform(3), torch.tensor([0.05])


@pytest.mark.parametrize("inputs", [3, 5])
@pytest.mark.parametrize(("degree", "strength"), [(1.0, 1.0), (0.8, 1.0), (1.0, 0.4)])
def test_affine_grid_agrees_with_the_formula(inputs: int, degree: float, strength: float) -> None:
    maps = affine_maps(inputs)
    image, areas = uniform(1, 3, 6, 5, seed=6), torch.zeros(1, 2, 6, 5)
    areas[:, 0, :3] = 1.0
    out = apply_maps(kinds.AffineGrid, maps, image, areas, degree, strength)
    grid, matrix, bias, shifts, slopes, mix, mix_bias = (m.numpy() for m in maps)
    for row, column in [(0, 0), (2, 3), (5, 4)]:
        colour = image[0, :, row, column].numpy()
        seen = np.concatenate([colour, areas[0, :, row, column].numpy()])[:inputs]
        p = matrix @ seen + bias
        curve = (slopes * np.maximum(p[:, None] - shifts, 0)).sum(1)
        guide = float(np.clip(mix_bias[0] + (mix * curve).sum(), 0, 1))
        x, y = (column + 0.5) / 5, (row + 0.5) / 6
        for channel in range(3):
            affine = [slow_slice(grid[0, channel, i], x, y, guide) for i in range(4)]
            raw = float(np.dot(affine, [*colour, 1.0]))
            s = max(min(raw, 1.0), colour[channel], kinds.ILLUMINATION_FLOOR)
            assert out.illumination is not None
            assert float(out.illumination[0, channel, row, column]) == pytest.approx(s, abs=1e-5)
            expected = colour[channel] / (degree * s) ** strength
            assert float(out.image[0, channel, row, column]) == pytest.approx(expected, rel=1e-4)


def test_a_guide_that_sees_areas_asks_for_them() -> None:
    with pytest.raises(ValueError, match="areas"):
        apply_maps(kinds.AffineGrid, affine_maps(5), uniform(1, 3, 4, 4))


def test_gain_grid_is_sliced_by_the_root_of_luma() -> None:
    grid, image = uniform(1, 3, 4, 3, 3, low=0.1, seed=7), uniform(1, 3, 4, 6, seed=8)
    out = apply_maps(kinds.GainGrid, (grid,), image)
    r, g, b = image[0, :, 2, 5].tolist()
    z = float(np.sqrt(0.299 * r + 0.587 * g + 0.114 * b))
    raw = slow_slice(grid[0, 1].numpy(), 5.5 / 6, 2.5 / 4, z)
    assert float(out.image[0, 1, 2, 5]) == pytest.approx(g / max(min(raw, 1), g), rel=1e-4)


def test_black_pixels_stay_finite() -> None:
    image = torch.zeros(1, 3, 4, 4)
    out = apply_maps(kinds.GainGrid, (torch.zeros(1, 3, 4, 3, 3),), image)
    assert torch.equal(out.image, image)
    assert out.illumination is not None
    assert torch.all(out.illumination == kinds.ILLUMINATION_FLOOR)


def test_curve_maps_iterate_the_quadratic_curve() -> None:
    rates = uniform(1, 3, 3, 4, 4, low=-1.0, seed=9)
    image = uniform(1, 3, 4, 4, seed=10)
    out = apply_maps(kinds.CurveMaps, (rates,), image, degree=1.1, strength=0.5).image
    x = float(image[0, 2, 1, 3])
    for i in range(3):
        x += 1.1 * 0.5 * float(rates[0, i, 2, 1, 3]) * (x * x - x)
    assert float(out[0, 2, 1, 3]) == pytest.approx(x, abs=1e-6)


@pytest.mark.parametrize(("degree", "strength"), [(1.0, 1.0), (0.8, 1.0), (1.0, 0.4)])
def test_tone_curves_interpolate_over_the_root(degree: float, strength: float) -> None:
    table = uniform(1, 3, 9, low=1.0, high=4.0, seed=11)
    residual = uniform(1, 3, 2, 2, low=0.8, seed=12)
    image = uniform(1, 3, 5, 5, high=0.5, seed=13)
    image[0, :, 4, 1] = 0.0
    maps = (table, residual)
    out = apply_maps(kinds.ToneCurves, maps, image, None, degree, strength).image
    offset = kinds.TONE_OFFSET
    for channel, row, column in [(0, 4, 1), (1, 0, 0), (2, 3, 4), (0, 2, 2), (1, 2, 3)]:
        value = float(image[0, channel, row, column])
        gain = tent_sample(table[0, channel].numpy() ** strength, np.sqrt(value) * 8)
        cells = residual[0, channel].numpy()[None] ** strength
        gain *= slow_slice(cells, (column + 0.5) / 5, (row + 0.5) / 5, 0.5) / degree**strength
        expected = min((value + offset) * gain - offset, 1.0)
        assert float(out[0, channel, row, column]) == pytest.approx(expected, rel=1e-4)


def test_look_up_table_has_red_fastest() -> None:
    levels = torch.linspace(0, 1, 5)
    blue, green, red = torch.meshgrid(levels, levels, levels, indexing="ij")
    swapped = torch.stack([green, red, blue])[None]
    image = uniform(1, 3, 3, 4, seed=14)
    out = apply_maps(kinds.LookUpTable, (swapped,), image).image
    assert torch.allclose(out, image[:, [1, 0, 2]], atol=1e-6)
    half = apply_maps(kinds.LookUpTable, (swapped,), image, strength=0.5).image
    assert torch.allclose(half, (image + image[:, [1, 0, 2]]) / 2, atol=1e-6)


MAPS = {
    kinds.AffineGrid: affine_maps(),
    kinds.GainGrid: (uniform(1, 3, 8, 4, 4, low=0.05),),
    kinds.CurveMaps: (uniform(1, 8, 3, 4, 4, low=-1.0),),
    kinds.ToneCurves: (uniform(1, 3, 9, low=1, high=5), torch.ones(1, 3, 2, 2)),
    kinds.LookUpTable: (uniform(1, 3, 5, 5, 5),),
}


@pytest.mark.parametrize("kind", MAPS, ids=lambda kind: kind.__name__)
def test_strength_zero_is_the_identity_and_excess_is_carried(kind: type) -> None:
    image = uniform(1, 3, 6, 7, low=-0.3, high=1.6, seed=15)
    same = apply_maps(kind, MAPS[kind], image, strength=0.0)
    assert torch.allclose(same.image, image, atol=1e-6)
    full = apply_maps(kind, MAPS[kind], image).image
    inside = apply_maps(kind, MAPS[kind], image.clamp(0, 1)).image
    assert torch.allclose(full - inside, image - image.clamp(0, 1), atol=1e-6)


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("case", [*MAPS, "areas"], ids=lambda case: getattr(case, "__name__", case))
def test_training_and_serving_apply_the_same(case: type | str, strength: float) -> None:
    kind = kinds.AffineGrid if isinstance(case, str) else case
    maps = affine_maps(5) if isinstance(case, str) else MAPS[kind]
    image = uniform(1, 3, 31, 45, low=-0.1, high=1.2, seed=16)
    selected = np.zeros((31, 45), bool)
    selected[:, 20:] = True
    areas = Areas(selected, ~selected, np.ones((31, 45), np.float32), 4.0)
    # When serving, a guide takes every pixel for one of A.
    channels = torch.stack([torch.ones(1, 31, 45), torch.zeros(1, 31, 45)], dim=1)
    trained = apply_maps(kind, maps, image, channels, strength=strength).image[0]
    arrays = {
        name: (value if name.startswith("guide.") else value[0]).numpy()
        for name, value in zip(kinds.tensor_names(kind), maps, strict=True)
    }
    pixels = np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())
    window = kinds.Window(0, 0, 45, 31)
    served = render(kinds.from_arrays(kind, arrays), pixels, areas, window, strength=strength)
    assert np.allclose(served, trained.permute(1, 2, 0).numpy(), atol=2e-5)


def test_hand_written_gradients() -> None:
    x = uniform(2, 3, 4, 3, low=-0.2, high=1.2).double().requires_grad_()
    shifts = uniform(3, 5, seed=1).double().requires_grad_()
    slopes = uniform(3, 5, low=-1.0, seed=2).double().requires_grad_()
    rates = uniform(2, 4, 3, 4, 3, low=-1.0, seed=3).double().requires_grad_()
    assert torch.autograd.gradcheck(piecewise_linear, (x, shifts, slopes))
    assert torch.autograd.gradcheck(quadratic_curves, (x, rates))


def test_luma_weighs_the_channels() -> None:
    image = torch.tensor([1.0, 0.5, 0.25]).view(1, 3, 1, 1)
    assert float(luma(image)) == pytest.approx(0.299 + 0.587 / 2 + 0.114 / 4)


def test_an_illumination_out_of_bounds_still_learns() -> None:
    """Where every S is above 1 the image is unchanged, but the gradient leads back."""
    image = torch.full((1, 3, 8, 8), 0.2)
    for level in (40.0, -3.0):
        grid = torch.full((1, 3, 2, 4, 4), level, requires_grad=True)
        enhanced = apply_maps(kinds.GainGrid, [grid], image)
        assert enhanced.illumination is not None
        assert torch.all((enhanced.illumination >= 0.2) & (enhanced.illumination <= 1.0))
        enhanced.image.sum().backward()
        assert grid.grad is not None
        # More illumination is less light: the sign is that of the formula inside the bounds.
        assert (grid.grad <= 0).all() and (grid.grad < 0).any()
