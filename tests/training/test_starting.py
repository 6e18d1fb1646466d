"""``fit --from``: our own weights, and published checkpoints in their layouts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskupe.errors import InputError
from maskupe.inference.build import build, save
from maskupe.registry import resolve
from maskupe.weights_file import read_header
from maskupe_training.cli import main
from maskupe_training.data.splits import Seen, scene_record, seen_scenes
from maskupe_training.starting import start_from

RESEARCH = "research use, non-commercial"


def own(name: str, folder: Path, **metadata: object) -> Path:
    """A weight file of ours with random weights."""
    torch.manual_seed(1)
    path = folder / f"{name}.safetensors"
    save(path, resolve(name), build(resolve(name)), {"licence": RESEARCH, **metadata})
    return path


def images() -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    areas = torch.zeros(2, 2, 64, 64)
    areas[:, 0, 10:40, 10:40] = 1
    return torch.rand(2, 3, 64, 64) * 0.4, areas


@pytest.mark.parametrize("network", ["deepupe", "star-dce"])
@torch.no_grad()
def test_mconcat_starts_as_the_global_network_it_comes_from(network: str, tmp_path: Path) -> None:
    path = own(network, tmp_path)
    local, start = start_from(str(path), resolve(f"{network}-mconcat"), RESEARCH)
    torch.manual_seed(1)
    whole = build(resolve(network)).eval()
    image, areas = images()
    found, expected = local.eval()(image, areas).image, whole(image).image
    # The file keeps large layers in half precision.
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)
    assert start.tensors == start.of == len(whole.state_dict())
    assert (start.name, start.licence) == (network, RESEARCH)


def test_mnorm_takes_what_has_a_place_and_the_same_model_everything(tmp_path: Path) -> None:
    local, start = start_from(str(own("deepupe", tmp_path)), resolve("deepupe-mnorm"), RESEARCH)
    torch.manual_seed(1)
    whole = build(resolve("deepupe"))
    taken = local.state_dict()["network.splat.1.0.weight"]
    torch.testing.assert_close(taken, whole.state_dict()["splat.1.0.weight"], atol=1e-3, rtol=0)
    assert 0 < start.tensors < start.of
    path = own("star-dce-mnorm", tmp_path)
    again, start = start_from(str(path), resolve("star-dce-mnorm"), RESEARCH)
    assert start.tensors == start.of == len(again.state_dict())


class PublishedZeroDCE(nn.Module):
    """From the paper's description: seven convolutions, symmetric skips, eight curves."""

    def __init__(self) -> None:
        super().__init__()
        for number in range(1, 8):
            inputs = 3 if number == 1 else 32 if number < 5 else 64
            outputs = 24 if number == 7 else 32
            setattr(self, f"e_conv{number}", nn.Conv2d(inputs, outputs, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        one = F.relu(self.e_conv1(x))
        two = F.relu(self.e_conv2(one))
        three = F.relu(self.e_conv3(two))
        four = F.relu(self.e_conv4(three))
        five = F.relu(self.e_conv5(torch.cat([three, four], 1)))
        six = F.relu(self.e_conv6(torch.cat([two, five], 1)))
        rates = torch.tanh(self.e_conv7(torch.cat([one, six], 1)))
        for rate in torch.split(rates, 3, dim=1):
            x = x + rate * (x**2 - x)
        return x


@pytest.mark.parametrize("wrapped", [False, True])
@torch.no_grad()
def test_a_published_zero_dce_is_the_whole_network(wrapped: bool, tmp_path: Path) -> None:
    torch.manual_seed(3)
    theirs = PublishedZeroDCE()
    state = theirs.state_dict()
    if wrapped:
        state = {"state_dict": {f"module.{name}": value for name, value in state.items()}}
    torch.save(state, tmp_path / "Epoch99.pth")
    local, start = start_from(str(tmp_path / "Epoch99.pth"), resolve("zero-dce-mconcat"), RESEARCH)
    image = torch.rand(1, 3, 256, 256)
    found = local.eval()(image, torch.zeros(1, 2, 256, 256)).image
    torch.testing.assert_close(found, theirs(image).clamp(0, 1), atol=1e-5, rtol=0)
    assert start.tensors == start.of == 14
    assert "CC BY-NC 4.0" in start.licence


def port(tmp_path: Path) -> tuple[Path, dict[str, Tensor]]:
    """A checkpoint in the layout of DeepUPE's ports: a grid of 8×8, batch norms."""
    torch.manual_seed(4)
    state: dict[str, Tensor] = {}

    def layer(name: str, shape: tuple[int, ...], bias: bool = True, norm: str = "") -> None:
        state[f"{name}.weight"] = torch.randn(shape) * 0.1
        if bias:
            state[f"{name}.bias"] = torch.randn(shape[0])
        if norm:
            state[f"{norm}.weight"] = torch.rand(shape[0]) + 0.5
            state[f"{norm}.bias"] = torch.randn(shape[0])
            state[f"{norm}.running_mean"] = torch.randn(shape[0])
            state[f"{norm}.running_var"] = torch.rand(shape[0]) + 0.5
            state[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    inputs = 3
    for i, width in enumerate((8, 16, 32, 64, 128)):
        name = f"coeffs.splat_features.{i}"
        layer(f"{name}.conv", (width, inputs, 3, 3), norm=f"{name}.bn" if i else "")
        inputs = width
    for i, (outputs, inputs) in enumerate(((256, 1024), (128, 256), (64, 128))):
        name = f"coeffs.global_features_fc.{i}"
        layer(f"{name}.fc", (outputs, inputs), norm=f"{name}.bn")
    layer("coeffs.local_features.0.conv", (64, 128, 3, 3))
    layer("coeffs.local_features.1.conv", (64, 64, 3, 3), bias=False)
    layer("coeffs.conv_out.conv", (96, 64, 1, 1))
    layer("guide.conv1.conv", (16, 3, 1, 1))
    torch.save(state, tmp_path / "port.pth")
    return tmp_path / "port.pth", state


@torch.no_grad()
def test_of_a_deepupe_port_what_fits_is_taken_norms_and_all(tmp_path: Path) -> None:
    path, state = port(tmp_path)

    def normed(x: Tensor, norm: str) -> Tensor:
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"{norm}.{name}"] for name in names))

    x = torch.rand(1, 3, 64, 64)
    expected = x
    for i in range(4):
        name = f"coeffs.splat_features.{i}"
        weight, bias = state[f"{name}.conv.weight"], state[f"{name}.conv.bias"]
        expected = F.conv2d(expected, weight, bias, stride=2, padding=1)
        expected = F.relu(normed(expected, f"{name}.bn") if i else expected)
    flat = torch.rand(1, 1024)
    through = flat
    for i in range(3):
        name = f"coeffs.global_features_fc.{i}"
        through = F.linear(through, state[f"{name}.fc.weight"], state[f"{name}.fc.bias"])
        through = normed(through, f"{name}.bn")
        through = F.relu(through) if i < 2 else through
    # Without norms of its own they are folded in, with norms they stay norms.
    for options in ({}, {"norm": "batch"}):
        config = replace(resolve("deepupe"), options=options)
        network, start = start_from(str(path), config, RESEARCH)
        network.eval()
        torch.testing.assert_close(network.splat(x), expected, atol=1e-4, rtol=1e-4)
        found = network.global_fc(flat.view(1, 64, 4, 4))
        torch.testing.assert_close(found, through, atol=1e-4, rtol=1e-4)
        taken = network.state_dict()
        assert torch.equal(taken["prediction.weight"], state["coeffs.conv_out.conv.weight"])
        assert torch.equal(taken["local.1.weight"], state["coeffs.local_features.1.conv.weight"])
        assert start.tensors < start.of
    assert "port" in start.licence


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none.pth", "There is no file"),
        ("broken.pth", "cannot be read as tensors alone"),
        ("code.pth", "cannot be read as tensors alone"),
        ("other.pth", "is in no layout that is known"),
        ("star-dce.safetensors", "is a network star-dce, the recipe trains a deepupe"),
    ],
)
def test_what_is_no_start_is_named(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "broken.pth").write_bytes(b"PK")
    torch.save(nn.Linear(2, 2), tmp_path / "code.pth")
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    own("star-dce", tmp_path)
    with pytest.raises(InputError, match=words):
        start_from(str(tmp_path / name), resolve("deepupe-mconcat"), RESEARCH)


def test_weights_for_any_use_cannot_start_from_others(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"for any use, those of .* are not: research use"):
        start_from(str(own("deepupe", tmp_path)), resolve("deepupe-mconcat"), "any use")
    free = own("deepupe", tmp_path, licence="any use")
    _, start = start_from(str(free), resolve("deepupe-mconcat"), "any use")
    assert start.licence == "any use"


@pytest.mark.usefixtures("without_graphs")
def test_the_card_says_where_it_came_from_and_what_that_had_seen(
    data_root: Path, recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes = {"trained": scene_record({"brackets": ["s4"]}), "chosen": {}}
    source = own("deepupe", tmp_path, scenes=scenes)
    arguments = ["fit", str(recipe_path), "--data", str(data_root), "--out", str(tmp_path / "run")]
    settings = ["--set", "training.steps=1", "--set", "training.validate_every=1"]
    assert main([*arguments, *settings, "--from", str(source)]) == 0
    assert "Started from deepupe: " in capsys.readouterr().out
    assert main([*arguments, "--set", "training.steps=2", "--resume"]) == 0
    target = tmp_path / "w.safetensors"
    assert main(["export", str(tmp_path / "run" / "last.pt"), "-o", str(target)]) == 0
    header = read_header(target)
    start = header.json("started_from")
    assert (start["name"], start["licence"]) == ("deepupe", RESEARCH)
    assert header.metadata["command"].endswith("--from deepupe")
    # s4 was seen before this training, s0 in it.
    assert seen_scenes(header, "brackets", ["s0", "s4", "s5"]) == Seen(True, 2, 0)
    card = target.with_suffix(".md").read_text()
    assert "| Started from | deepupe: " in card and start["sha256"] in card
