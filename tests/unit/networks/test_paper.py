"""DeepUPE and STAR-DCE, layer by layer against the sizes of the public training code."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskupe.maps import tensor_names
from maskupe.networks.base import GlobalNetwork, low_resolution
from maskupe.networks.deepupe import START, DeepUPE, Norm
from maskupe.networks.star_dce import StarDCE, pooling_matrix


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_deepupe_layers() -> None:
    network = DeepUPE()
    assert parameters(network) == 998_816
    assert parameters(network.guide) == 112
    splat = [(c.in_channels, c.out_channels, c.stride) for c in convs(network.splat)]
    assert splat == [(3, 8, (2, 2)), (8, 16, (2, 2)), (16, 32, (2, 2)), (32, 64, (2, 2))]
    strides = [c.stride[0] for c in convs(network.global_convs)]
    assert strides == [2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1]
    assert all((c.in_channels, c.out_channels) == (64, 64) for c in convs(network.global_convs))
    linear = [m for m in network.global_fc if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(1024, 256), (256, 128), (128, 64)]
    assert [c.bias is not None for c in convs(network.local)] == [True] + [False] * 5
    assert sum(isinstance(m, nn.ReLU) for m in network.local.modules()) == 1
    assert (network.prediction.in_channels, network.prediction.out_channels) == (64, 96)
    features = network.splat(torch.rand(2, 3, 256, 256))
    assert features.shape == (2, 64, 16, 16)
    assert network.global_convs[:6](features).shape == (2, 64, 8, 8)
    assert network.global_convs(features).shape == (2, 64, 4, 4)


def convs(module: nn.Module) -> list[nn.Conv2d]:
    return [m for m in module.modules() if isinstance(m, nn.Conv2d)]


def test_deepupe_norm_switch_places() -> None:
    network = DeepUPE(norm="batch")
    names = tuple(n for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d))
    assert names == DeepUPE.norm_places["paper"]
    followed = [network.get_submodule(n.removesuffix("1") + "0") for n in names]
    assert all(isinstance(c, nn.Conv2d) and c.bias is None for c in followed)


def test_deepupe_starts_at_a_moderate_illumination_and_can_go_low() -> None:
    torch.manual_seed(0)
    network = DeepUPE()
    image = torch.full((1, 3, 64, 64), 0.01)
    illumination = network(image).illumination
    assert torch.all((illumination - START).abs() < 0.05)
    with torch.no_grad():
        network.prediction.bias.view(3, 4, 8)[:, 3] = 0.0
    assert torch.all(network(image).illumination < 0.02)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_deepupe_s_chains_start_by_passing_on_what_they_get(norm: Norm) -> None:
    torch.manual_seed(0)
    network = DeepUPE(norm=norm).eval()
    features = torch.rand(2, 64, 16, 16)
    # The second to sixth global convolution, and all local ones.
    for chain in (network.global_convs[1:6], network.local):
        passed_on = chain(features).detach()
        # From a random start there would be no correlation.
        assert torch.corrcoef(torch.stack([features.flatten(), passed_on.flatten()]))[0, 1] > 0.4
        assert 0.5 < float(passed_on.std() / features.std()) < 2.5


def test_deepupe_never_darkens_and_stays_within_range() -> None:
    torch.manual_seed(0)
    network = DeepUPE()
    with torch.no_grad():
        network.prediction.weight.normal_(std=0.1)
    image = torch.rand(1, 3, 40, 33)
    out = network(image)
    assert torch.all(out.illumination <= 1) and torch.all(out.illumination >= image)
    assert torch.all(out.image >= image - 1e-6) and torch.all(out.image <= 1 + 1e-6)


def test_star_layers() -> None:
    network = StarDCE()
    assert parameters(network) == 11_112
    conv = network.head.conv
    assert (conv.kernel_size, conv.stride, conv.padding) == ((2, 2), (3, 3), (1, 1))
    low = torch.rand(1, 3, 256, 256)
    assert conv(low).shape == (1, 16, 86, 86)
    assert network.head(low).shape == (1, 16, 32, 32)
    (maps,) = network.predict(low)
    assert maps.shape == (1, 8, 3, 256, 256)
    assert maps.abs().max() <= 1


def test_star_pooling_is_the_adaptive_average() -> None:
    features = torch.rand(2, 5, 86, 86)
    matrix = pooling_matrix(86, 32)
    expected = nn.functional.adaptive_avg_pool2d(features, 32)
    assert torch.allclose(matrix @ features @ matrix.T, expected, atol=1e-6)


def test_star_attention_is_scaled_by_the_width() -> None:
    torch.manual_seed(0)
    block = StarDCE().long_range
    tokens = torch.randn(1, 9, 16)
    q, k, v = block.qkv(tokens).chunk(3, dim=2)
    heads = []
    for h in range(8):
        part = slice(2 * h, 2 * h + 2)
        weights = torch.softmax(q[0, :, part] @ k[0, :, part].T * 16**-0.5, dim=1)
        heads.append(weights @ v[0, :, part])
    expected = block.out(torch.cat(heads, dim=1))
    assert torch.allclose(block._attention(tokens)[0], expected, atol=1e-5)


@pytest.mark.parametrize("network", [DeepUPE(), StarDCE()], ids=["deepupe", "star-dce"])
def test_the_contract_of_a_global_network(network: GlobalNetwork) -> None:
    image = torch.rand(2, 3, 70, 51) * 0.3
    out = network(image)
    assert out.image.shape == image.shape
    assert len(out.maps) == len(tensor_names(network.map_type))
    maps = network.predict(low_resolution(image))
    assert torch.equal(network.apply(maps, image).image, out.image)
    assert torch.allclose(network.apply(maps, image, strength=0.0).image, image, atol=1e-6)
    brighter = network.apply(maps, image, degree=0.8).image
    if out.illumination is not None:
        assert torch.allclose(brighter, out.image / 0.8, rtol=1e-5)
    for name in network.image_convs:
        assert isinstance(network.get_submodule(name), nn.Conv2d)
    (out.image - 0.5).square().mean().backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None]
    assert not silent


def test_apply_with_a_function_is_still_torch_apply() -> None:
    seen: list[nn.Module] = []
    network = StarDCE()
    assert network.apply(seen.append) is network
    assert len(seen) == len(list(network.modules()))
