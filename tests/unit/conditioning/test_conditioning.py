"""MConcat and MNorm on our networks and on one that knows nothing of us."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from torch import nn

from maskupe.conditioning import MConcatConv2d, MNorm, mask_scope, mconcat, mnorm
from maskupe.networks.base import GlobalNetwork
from maskupe.networks.deepupe import DeepUPE
from maskupe.networks.star_dce import StarDCE


class ForeignUNet(nn.Module):
    """A small U-Net as anyone writes it; the output convolution is defined first, on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.polish = nn.Conv2d(3, 3, 1)
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.middle = nn.Sequential(
            nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.InstanceNorm2d(16, affine=True), nn.ReLU()
        )
        self.tokens = nn.LayerNorm(16)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.norm = nn.GroupNorm(2, 16)
        self.last = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        fine = self.down(image)
        coarse = self.middle(fine)
        coarse = self.tokens(coarse.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        both = self.norm(torch.cat([self.up(coarse), fine], 1))
        return self.polish(torch.sigmoid(self.last(both)))


def seeded(build: type[nn.Module], **options: str) -> nn.Module:
    torch.manual_seed(0)
    network = build(**options)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm, nn.LayerNorm)):
            # Norms that have learned something, whose scale and shift must survive.
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def example(height: int = 64, width: int = 80) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    image = torch.rand(2, 3, height, width) * 0.4
    areas = torch.zeros(2, 2, height, width)
    areas[:, 0, 10:40, 20:60] = 1.0
    areas[:, 1, 40:50, 20:60] = 1.0
    return image, areas


def picture(result: object) -> torch.Tensor:
    out = result if isinstance(result, torch.Tensor) else result.image
    assert isinstance(out, torch.Tensor)
    return out


@pytest.mark.parametrize("build", [DeepUPE, StarDCE, ForeignUNet])
def test_mconcat_starts_as_g_and_learns_from_the_mask(build: type[nn.Module]) -> None:
    g = seeded(build)
    before = copy.deepcopy(g.state_dict())
    f = mconcat(g)
    image, areas = example()
    expected = picture(g(image))
    assert torch.allclose(picture(f(image, areas)), expected, atol=1e-6)
    assert torch.allclose(picture(f(image, 1 - areas)), expected, atol=1e-6)
    assert all(torch.equal(value, g.state_dict()[name]) for name, value in before.items())

    picture(f(image, areas)).square().mean().backward()
    grown = [m for m in f.modules() if isinstance(m, MConcatConv2d)]
    assert grown
    for conv in grown:
        assert conv.weight.shape[1] == 5
        assert torch.all(conv.weight[:, 3:] == 0)
        assert conv.weight.grad is not None and torch.any(conv.weight.grad[:, 3:] != 0)
        with torch.no_grad():
            conv.weight[:, 3:] = 0.3
    changed = picture(f(image, areas))
    assert not torch.allclose(changed, picture(f(image, torch.zeros_like(areas))), atol=1e-3)


def test_mconcat_finds_the_convolution_that_the_image_meets_first() -> None:
    f = mconcat(ForeignUNet())
    assert isinstance(f.network.down[0], MConcatConv2d)
    assert not isinstance(f.network.polish, MConcatConv2d)


def test_mconcat_grows_the_guide_of_deepupe() -> None:
    f = mconcat(DeepUPE())
    image, areas = example()
    matrix = f(image, areas).maps[1]
    assert matrix.shape == (3, 5)
    extra = 8 * 2 * 9 + 3 * 2
    assert sum(p.numel() for p in f.parameters()) == 998_816 + extra


def test_mconcat_says_what_it_needs() -> None:
    with pytest.raises(ValueError, match="three input channels"):
        mconcat(nn.Linear(3, 3))
    with pytest.raises(ValueError, match="grouped"):
        mconcat(nn.Sequential(nn.Conv2d(3, 6, 3, groups=3)), convs=["0"])
    with pytest.raises(ValueError, match="Conv2d"):
        mconcat(nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 1)), convs=["0"])


CASES = [
    (DeepUPE, {"norm": "batch"}, 4),
    (DeepUPE, {"norm": "instance"}, 4),
    (StarDCE, {"norm": "batch"}, 3),
    (StarDCE, {}, 2),
    (ForeignUNet, {}, 4),
]


@pytest.mark.parametrize(("build", "options", "norms"), CASES)
def test_mnorm_starts_as_g_and_the_mask_reaches_every_one(
    build: type[nn.Module], options: dict[str, str], norms: int
) -> None:
    g = seeded(build, **options)
    f = mnorm(g)
    image, areas = example()
    expected = picture(g(image))
    assert torch.allclose(picture(f(image, areas)), expected, atol=2e-6)
    layers = [m for m in f.modules() if isinstance(m, MNorm)]
    assert len(layers) == norms

    # Every one alone makes the output depend on the mask.
    for layer in layers:
        last = layer.encoder[2]
        kept = last.weight.detach().clone()
        with torch.no_grad():
            last.weight.normal_(std=0.5)
        with_mask = picture(f(image, areas))
        without = picture(f(image, torch.zeros_like(areas)))
        assert (with_mask - without).abs().max() > 1e-6
        with torch.no_grad():
            last.weight.copy_(kept)

    picture(f(image, areas)).square().mean().backward()
    for layer in layers:
        gradient = layer.encoder[2].weight.grad
        assert gradient is not None and torch.any(gradient != 0)


def test_mnorm_in_training_uses_batch_statistics() -> None:
    f = mnorm(DeepUPE(norm="batch"), where=lambda name, _: name.startswith("splat"))
    assert sum(isinstance(m, MNorm) for m in f.modules()) == 3
    layer = next(m for m in f.modules() if isinstance(m, MNorm))
    assert not dict(layer.base.named_parameters())
    f.train()
    image, areas = example()
    before = layer.base.running_mean.clone()
    f(image, areas)
    assert not torch.equal(before, layer.base.running_mean)


def test_mnorm_is_equation_1() -> None:
    torch.manual_seed(0)
    layer = MNorm(nn.InstanceNorm2d(3), hidden=5)
    nn.init.normal_(layer.encoder[2].weight)
    x, areas = torch.randn(1, 3, 6, 8), torch.rand(1, 2, 12, 16)
    with mask_scope(areas):
        out = layer(x)
    mask = areas.reshape(1, 2, 6, 2, 8, 2).mean(dim=(3, 5))
    gamma, beta = layer.encoder(mask).chunk(2, 1)
    mean = x.mean(dim=(2, 3), keepdim=True)
    sigma = (x.var(dim=(2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(out, (1 + gamma) * (x - mean) / sigma + beta, atol=1e-5)


def test_mnorm_places_the_mask_on_tokens() -> None:
    layer = MNorm(nn.LayerNorm(4), token_grid=(2, 3))
    with torch.no_grad():
        layer.encoder[0].weight.zero_()
        layer.encoder[0].bias.zero_()
        layer.encoder[0].weight[0, 0, 1, 1] = 1.0
        layer.encoder[2].weight[4:, 0, 1, 1] = 1.0
    areas = torch.zeros(1, 2, 4, 6)
    areas[0, 0, 2:4, 2:4] = 1.0
    x = torch.randn(1, 6, 4)
    with mask_scope(areas):
        moved = (layer(x) - layer.base(x))[0].mean(dim=1)
    assert torch.allclose(moved, torch.tensor([0.0, 0, 0, 0, 1, 0]), atol=1e-6)
    with mask_scope(areas), pytest.raises(ValueError, match="token_grid"):
        layer(torch.randn(1, 7, 4))


def test_mnorm_says_what_it_needs() -> None:
    with pytest.raises(ValueError, match=r"there are: none"):
        mnorm(DeepUPE())
    with pytest.raises(ValueError, match=r"down\.1"):
        mnorm(ForeignUNet(), where=lambda *_: False)
    with pytest.raises(ValueError, match="over the channels"):
        MNorm(nn.LayerNorm((3, 4)))


def test_the_layers_inside_refuse_to_work_without_a_mask() -> None:
    f = mconcat(StarDCE())
    with pytest.raises(RuntimeError, match="without a mask"):
        f.network(torch.rand(1, 3, 32, 32))


def test_threads_do_not_mix_masks() -> None:
    f = mconcat(StarDCE()).eval()
    conv = next(m for m in f.modules() if isinstance(m, MConcatConv2d))
    with torch.no_grad():
        conv.weight[:, 3:] = 2.0
    image, areas = example(32, 32)
    masks = [areas, torch.zeros_like(areas), torch.ones_like(areas)]
    with torch.no_grad():
        expected = [f(image, mask).maps[0] for mask in masks]
    assert not torch.allclose(expected[1], expected[2], atol=1e-6)
    wrong: list[int] = []
    start = threading.Barrier(len(masks))

    def work(index: int) -> None:
        start.wait()
        with torch.no_grad():
            for _ in range(5):
                if not torch.equal(f(image, masks[index]).maps[0], expected[index]):
                    wrong.append(index)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(masks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_copy_is_independent() -> None:
    f = mnorm(StarDCE(norm="batch"))
    twin = copy.deepcopy(f)
    image, areas = example(32, 32)
    assert torch.equal(f.eval()(image, areas).image, twin.eval()(image, areas).image)
    with torch.no_grad():
        next(m for m in twin.modules() if isinstance(m, MNorm)).encoder[2].bias.fill_(0.7)
    assert not torch.equal(f(image, areas).image, twin(image, areas).image)


@pytest.mark.parametrize("build", [DeepUPE, StarDCE])
def test_the_conditioned_network_splits_into_predict_and_apply(build: type[GlobalNetwork]) -> None:
    f = mconcat(build()).eval()
    image, areas = example(256, 256)
    maps = f.predict(image, areas)
    split = f.apply(maps, image, areas).image
    assert torch.equal(split, f(image, areas).image)
