"""Networks of other packages: an installed one with an entry point, as pip would leave it."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from maskupe import registry
from maskupe.errors import UnknownModelError, WeightsError

torch = pytest.importorskip("torch")

NETWORK = '''
import torch
from torch import nn

from maskupe.maps import CurveMaps
from maskupe.networks.base import GlobalNetwork


class OneConv(GlobalNetwork):
    """Curve maps from one convolution and a norm; starts near the identity."""

    map_type = CurveMaps
    image_convs = ("conv",)
    norm_places = {"paper": ("norm",)}

    def __init__(self, norm="none"):
        super().__init__()
        self.conv = nn.Conv2d(3, 24, 3, padding=1)
        self.norm = nn.BatchNorm2d(24) if norm == "batch" else nn.Identity()
        nn.init.normal_(self.conv.weight, std=1e-3)
        nn.init.constant_(self.conv.bias, -0.02)  # a little brighter everywhere

    def predict(self, low):
        return (torch.tanh(self.norm(self.conv(low))).reshape(-1, 8, 3, *low.shape[2:]),)
'''

SPEC = """
from maskupe.registry import NetworkSpec

SPEC = NetworkSpec(
    "their_package.network:OneConv", {"norm": ("none", "batch")}, where=("paper",)
)
NOTHING = "no spec"
"""

ENTRIES = """[maskupe.networks]
one-conv = their_package:SPEC
lantern = their_package:SPEC
wrong-kind = their_package:NOTHING
missing = their_package:NOWHERE
"""


def forget() -> None:
    """What is installed is read once in a process."""
    registry._added.cache_clear()
    registry.network_spec.cache_clear()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package, about = tmp_path / "their_package", tmp_path / "their_package-1.0.dist-info"
    package.mkdir()
    about.mkdir()
    (package / "__init__.py").write_text(SPEC)
    (package / "network.py").write_text(NETWORK)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    forget()
    yield
    forget()
    for name in [name for name in sys.modules if name.startswith("their_package")]:
        del sys.modules[name]


def test_its_models_are_built_saved_and_served(installed, tmp_path: Path) -> None:
    from maskupe import Enhancer
    from maskupe.inference.build import build, load, save
    from maskupe.inference.export import export_onnx

    torch.manual_seed(0)
    for name, conditioning in (
        ("one-conv", "none"),
        ("one-conv-mconcat", "mconcat"),
        ("one-conv-mnorm", "mnorm"),
    ):
        config = registry.resolve(name)
        assert (config.network, config.conditioning) == ("one-conv", conditioning)
        assert config.learned_transition == config.local == (conditioning != "none")
        network = build(config).eval()
        image, areas = torch.rand(1, 3, 64, 64), torch.zeros(1, 2, 64, 64)
        out = network(image, areas).image if config.local else network(image).image
        assert 0.0 < (out - image).mean() < 0.1
        save(tmp_path / f"{name}.safetensors", config, network, {"licence": "any use"})
        assert load(tmp_path / f"{name}.safetensors")[0].network == "one-conv"
    path = tmp_path / "one-conv-mconcat.safetensors"
    export_onnx(load(path)[1], path)
    picture = np.random.default_rng(0).integers(20, 60, (64, 64, 3), np.uint8)
    selection = np.zeros((64, 64), bool)
    selection[16:48, 16:48] = True
    result = Enhancer.load(str(path), device="cpu").enhance(picture, selection, denoise=0)
    np.testing.assert_array_equal(result[:4], picture[:4])
    assert (result[16:48, 16:48].astype(int) > picture[16:48, 16:48]).mean() > 0.9


def test_ours_cannot_be_replaced_and_bad_ones_are_named(installed) -> None:
    ours = registry.network_spec("lantern")
    assert ours is not None and ours.target.startswith("maskupe.networks.")
    with pytest.raises(WeightsError, match=r"their_package:NOTHING, .*'wrong-kind', is no Net"):
        registry.resolve("wrong-kind")
    with pytest.raises(WeightsError, match=r"'missing' cannot be loaded from their_package:NOW"):
        registry.resolve("missing-mconcat")
    with pytest.raises(UnknownModelError, match=r"There are: default, .*one-conv"):
        registry.resolve("two-conv")


def test_a_weight_file_of_a_package_that_is_not_here_says_what_to_do(
    installed, tmp_path: Path
) -> None:
    values = registry.resolve("one-conv-mnorm").as_dict()
    assert json.loads(json.dumps(values)) == values
    sys.path.remove(str(tmp_path))
    forget()
    with pytest.raises(WeightsError, match=r"no network 'one-conv'\. Install the package"):
        registry.ModelConfig.from_dict(values)


@pytest.mark.slow
def test_a_recipe_trains_it(installed, tmp_path: Path) -> None:
    from maskupe_training.cli import main
    from maskupe_training.data.images import write_rgb

    rng = np.random.default_rng(0)
    for number in range(3):
        picture = rng.integers(0, 255, (48, 48, 3), np.uint8)
        write_rgb(tmp_path / "mine" / "target" / f"{number}.png", picture)
        write_rgb(tmp_path / "mine" / "input" / f"{number}.png", picture // 4)
    splits = {"train": ["0", "1"], "val": ["2"]}
    (tmp_path / "mine" / "split.json").write_text(json.dumps(splits))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        """
model = "one-conv-mnorm"
description = "A test."
licence = "any use"
sources = [{kind = "pairs", folder = "mine"}]
validation = {cases = 1, source = {kind = "pairs", folder = "mine", split = "val"}}
augmentation = {size = 48}
loss = {base = "l1"}
optimizer = {rate = 1e-2}
training = {steps = 2, batch = 2, validate_every = 1}
"""
    )
    run, weights = tmp_path / "run", tmp_path / "w.safetensors"
    assert main(["fit", str(recipe), "--data", str(tmp_path), "--out", str(run)]) == 0
    assert main(["export", str(run), "-o", str(weights), "--data", str(tmp_path)]) == 0
    assert "network one-conv" in weights.with_suffix(".md").read_text().lower().replace("| ", "")
