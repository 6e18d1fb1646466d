"""The loss on a reduced picture: the same maps, at the same places."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from maskupe.inference.build import build
from maskupe.registry import resolve
from maskupe_training.objective import Objective, predict, psnr_in, reduced
from maskupe_training.recipe import LossRecipe
from maskupe_training.recipe_files import load
from tests.training.conftest import CPU_RECIPES

LOSS = LossRecipe("deepupe", smooth_target="illumination")


def batch(size: int = 96) -> tuple[Tensor, Tensor, Tensor]:
    """Image, areas, target: (2, 3, size, size), (2, 2, size, size), (2, 3, size, size)."""
    torch.manual_seed(3)
    image = F.interpolate(0.4 * torch.rand(2, 3, 6, 6), (size, size), mode="bilinear")
    areas = torch.zeros(2, 2, size, size)
    areas[:, 0, 20:60, 20:60] = 1.0
    areas[:, 1, 60:72, 20:60] = 1.0
    return image, areas, (2.0 * image).clamp(max=1.0)


@pytest.mark.parametrize("stride", [2, 3])
def test_the_reduced_picture_is_sampled_where_its_pixels_lie(stride: int) -> None:
    """Rates that rise linearly from left to right must not move, in either direction."""
    network = build(resolve("star-dce"))
    rates = torch.linspace(-0.9, -0.1, 256).expand(1, 8, 3, 256, 256)
    image = torch.full((1, 3, 96, 96), 0.2)
    full = network.apply((rates,), image).image
    small = network.apply((rates,), reduced(image, stride)).image
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    error = (small - reduced(full, stride))[inner].mean().abs()
    step = (full[..., 1:] - full[..., :-1]).abs().mean()
    assert error < 0.01 * step


def test_areas_become_shares_that_still_add_up() -> None:
    _, areas, _ = batch()
    shares = reduced(areas, 5)
    assert shares.shape == (2, 2, 19, 19)
    assert float(shares.min()) >= 0.0 and float(shares.sum(1).max()) <= 1.0 + 1e-6
    assert float(shares[0, 0, 9, 9]) == pytest.approx(1.0)
    assert bool(((shares > 0.01) & (shares < 0.99)).any())
    assert torch.equal(reduced(areas, 1), areas)


def test_a_reduced_objective_is_the_loss_of_the_reduced_picture() -> None:
    image, areas, target = batch()
    torch.manual_seed(0)
    network = build(resolve("deepupe-mconcat"))
    terms = Objective(network, LOSS, stride=2)(image, areas, target)
    small = [F.avg_pool2d(planes, 2) for planes in (image, areas, target)]
    maps = predict(network, image, areas)
    output = network.apply(maps, small[0], small[1]).image
    expected = psnr_in(output, small[2], small[1][:, 0]).mean()
    torch.testing.assert_close(terms["psnr_a"], expected)
    assert set(terms) >= {"total", "a", "b", "c"}
    whole = Objective(network, LOSS)(image, areas, target)
    for name in ("a_mse", "a_cosine", "c"):
        assert terms[name].item() == pytest.approx(whole[name].item(), rel=0.1), name


@pytest.mark.slow
@pytest.mark.parametrize("name", CPU_RECIPES)
def test_every_recipe_s_loss_reaches_all_of_its_network(name: str) -> None:
    """A step downhill lowers the loss, and no parameter is left out of it."""
    recipe = load(name)
    torch.manual_seed(0)
    objective = Objective(build(resolve(recipe.model)), recipe.loss, recipe.training.stride)
    image, areas, target = (planes[:1] for planes in batch(64))
    objective.eval()  # without dropout, so that the loss before and after compare
    before = objective(image, areas, target)["total"]
    before.backward()
    gradients = {key: value.grad for key, value in objective.named_parameters()}
    for key, gradient in gradients.items():
        assert gradient is not None and bool(torch.isfinite(gradient).all()), key
    length = sum(float(g.square().sum()) for g in gradients.values() if g is not None) ** 0.5
    assert length > 0
    with torch.no_grad():
        for value in objective.parameters():
            assert value.grad is not None
            value -= 1e-3 / length * value.grad
        after = objective(image, areas, target)["total"]
    assert after < before
