"""The networks that show the generality of the conditioning, one of each kind."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskupe import registry
from maskupe.inference.build import build
from maskupe.maps import CurveMaps, GainGrid, LookUpTable, tensor_names
from maskupe.networks.apply import apply_maps, luma, slice_grid
from maskupe.networks.base import GlobalNetwork
from maskupe.networks.complexity import complexity
from maskupe.networks.lpf import LocalParametricFilters
from maskupe.networks.lut3d import Lut3D, identity_table
from maskupe.networks.splat import splat
from maskupe.networks.unet import UNet
from maskupe.networks.zero_dce import ZeroDCE

LOCAL = [name for name, config in registry.MODELS.items() if config.local]


def dark(seed: int = 0, height: int = 72, width: int = 96) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 3, 6, 8, generator=generator) * 0.35 + 0.02
    return nn.functional.interpolate(coarse, (height, width), mode="bilinear")


@pytest.mark.parametrize(
    ("network", "kind", "shapes"),
    [
        (ZeroDCE, CurveMaps, [(2, 8, 3, 256, 256)]),
        (UNet, GainGrid, [(2, 3, 8, 32, 32)]),
        (Lut3D, LookUpTable, [(2, 3, 33, 33, 33)]),
        (LocalParametricFilters, GainGrid, [(2, 3, 4, 32, 32)]),
    ],
)
def test_the_contract(
    network: type[GlobalNetwork], kind: type, shapes: list[tuple[int, ...]]
) -> None:
    torch.manual_seed(0)
    g = network().eval()
    out = g(dark())
    assert g.map_type is kind
    assert [tuple(m.shape) for m in out.maps] == shapes
    assert len(out.maps) == len(tensor_names(kind))
    assert torch.all(torch.isfinite(out.image)) and out.image.shape == (2, 3, 72, 96)
    if kind is GainGrid:
        assert out.illumination is not None
        assert torch.all(out.maps[0] > 0) and torch.all(out.maps[0] <= 1)


def test_zero_dce_has_its_published_size() -> None:
    assert sum(p.numel() for p in ZeroDCE().parameters()) == 79_416


@pytest.mark.parametrize("name", LOCAL)
def test_every_local_model_goes_downhill_when_an_area_is_to_be_lit(name: str) -> None:
    torch.manual_seed(1)
    network = build(registry.resolve(name)).eval()
    image, areas = dark(1, 64, 64)[:1], torch.zeros(1, 2, 64, 64)
    areas[:, 0, :, :32] = 1.0
    target = torch.where(areas[:, :1] > 0, (image / 0.5).clamp(max=1.0), image)

    def error() -> torch.Tensor:
        difference: torch.Tensor = network(image, areas).image - target
        return difference.square().mean()

    start = error()
    parameters = list(network.parameters())
    gradients = torch.autograd.grad(start, parameters, allow_unused=True)
    norm = torch.stack([g.square().sum() for g in gradients if g is not None]).sum().sqrt()
    assert 0 < float(norm) < float("inf")
    with torch.no_grad():
        for step in (1e-5, 1e-4, 1e-3, 1e-2):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    parameter -= step / norm * gradient
            if error() < start:
                return
    pytest.fail("no step along the gradient lowers the error")


# The smallest network of each kind of map: CPUs without native support emulate bfloat16, slowly.
@pytest.mark.parametrize(
    "name", ["deepupe-mconcat", "star-dce-mnorm", "lpf-mconcat", "lut3d-mconcat", "lantern"]
)
def test_mixed_precision_trains_and_applies_in_single(name: str) -> None:
    torch.manual_seed(1)
    network = build(registry.resolve(name)).train()
    image, areas = dark(1, 64, 64)[:1], torch.ones(1, 2, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        out = network(image, areas)
    assert out.image.dtype == torch.float32
    out.image.square().mean().backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert gradients and all(torch.all(torch.isfinite(g)) for g in gradients)
    assert any(torch.any(g != 0) for g in gradients)


def test_a_splatted_grid_gives_back_what_was_splatted() -> None:
    torch.manual_seed(0)
    image = nn.functional.interpolate(torch.rand(1, 3, 9, 9), (256, 256), mode="bilinear")
    guide = luma(image).sqrt()
    # An illumination that is smooth in space and depends on the luma.
    illumination = (
        0.2 + 0.5 * guide.unsqueeze(1) + 0.2 * torch.linspace(0, 1, 256).view(1, 1, 1, -1)
    )
    grid = splat(illumination.expand(1, 3, -1, -1), guide, 8, 32)
    back = slice_grid(grid, guide)
    assert float((back - illumination).abs().mean()) < 0.01
    assert float((back - illumination).abs().max()) < 0.08
    constant = splat(torch.full((1, 3, 256, 256), 0.3), guide, 8, 32)
    assert torch.allclose(constant, torch.full_like(constant, 0.3), atol=1e-5)


def test_splatting_stays_within_the_range_and_passes_gradients() -> None:
    torch.manual_seed(0)
    values = torch.rand(1, 3, 64, 64, requires_grad=True)
    guide = torch.rand(1, 64, 64)
    grid = splat(values, guide, 8, 16)
    assert grid.shape == (1, 3, 8, 16, 16)
    low, high = float(values.detach().min()), float(values.detach().max())
    assert float(grid.detach().min()) >= low and float(grid.detach().max()) <= high
    (gradient,) = torch.autograd.grad(grid.sum(), values)
    assert torch.all(gradient > 0)


def test_the_unets_grid_reproduces_its_pixels() -> None:
    torch.manual_seed(0)
    network = UNet().eval()
    low = dark(3, 256, 256)
    with torch.no_grad():
        wanted = torch.maximum(network.pixels(low), low)
        got = apply_maps(GainGrid, network.predict(low), low).image
    assert float((wanted - got).abs().mean()) < 0.02


def test_the_look_up_table_starts_as_the_identity() -> None:
    image = dark(4)
    table = identity_table().expand(2, -1, -1, -1, -1)
    same = apply_maps(LookUpTable, (table,), image)
    assert torch.allclose(same.image, image, atol=1e-6)
    assert torch.allclose(Lut3D().eval()(image).image, image, atol=0.05)


def test_lpf_shapes_lie_where_their_numbers_say() -> None:
    network = LocalParametricFilters()
    numbers = torch.zeros(1, 15)
    numbers[0, :5] = torch.tensor([-1.1, 1.1, -1.4, -1.4, 0.0])  # centre (0.25, 0.75), radius 0.25
    ellipse = network._ellipses(numbers)[0, 0]
    assert float(ellipse[24, 8]) > 0.95
    assert float(ellipse[24, 8 + 15]) < 0.05
    assert float(ellipse[8, 24]) < 0.01
    ramps = torch.zeros(1, 9)
    ramps[0, 0] = 0.5  # 90°: from top to bottom
    ramp = network._ramps(ramps)[0, 0]
    assert torch.all(ramp[1:, 5] > ramp[:-1, 5])
    assert torch.allclose(ramp[:, 0], ramp[:, 31], atol=1e-5)


def test_complexity_counts_by_hand() -> None:
    count = complexity(build(registry.resolve("deepupe")))
    assert count["parameters"] == 998_816
    splat_macs = 128**2 * 216 + 64**2 * 1152 + 32**2 * 4608 + 16**2 * 18432
    wide = 64 * 64 * 9
    global_macs = 6 * 8**2 * wide + 6 * 4**2 * wide + 1024 * 256 + 256 * 128 + 128 * 64
    local_macs = 6 * 16**2 * wide + 16**2 * 64 * 96
    assert count["multiply_adds"] == splat_macs + global_macs + local_macs


def test_complexity_counts_attention_by_hand() -> None:
    count = complexity(build(registry.resolve("star-dce")))
    tokens, width = 32 * 32, 16
    # 2×2 convolution to 86×86, then 86→32 along either axis.
    head = 86 * 86 * width * 3 * 4 + width * (32 * 86 * 86 + 32 * 86 * 32)
    # Queries, keys, values; every token with every other one, twice; output; two layers.
    long_range = tokens * (3 + 1 + 2) * width * width + 2 * tokens * tokens * width
    short_range = tokens * width * width * 9
    curves = tokens * 24 * 2 * width * 9
    assert count["multiply_adds"] == head + long_range + short_range + curves
    assert count["parameters"] == 11_112
