"""Every model that can be trained, all the way: trained, resumed, exported, used, served."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from maskupe.cli import main as maskupe
from maskupe.inference.build import Network, build
from maskupe.registry import MATTES, WEIGHTS_FOLDER, resolve
from maskupe_training import checkpoint
from maskupe_training.cli import main as train
from maskupe_training.data.images import read_rgb, write_rgb
from maskupe_training.objective import Objective
from maskupe_training.recipe import Recipe
from maskupe_training.recipe_files import load
from maskupe_training.validation import stack, validation_cases
from tests.daemon.running import RunningDaemon, as_array, request_for, running_daemon
from tests.training.conftest import CPU_RECIPES, scene

# Small data and few steps; loss, optimizer and network stay the recipe's own.
_SMALL = (
    'sources=[{kind = "brackets", folder = "brackets"}]',
    'validation.source={kind = "brackets", folder = "brackets", split = "val"}',
    "validation.cases=2",
    "augmentation.size=64",
    "masks.kinds={ellipse = 1, polygon = 1}",
    "masks.silhouettes=[]",
    "optimizer.warmup=0",
    "training.batch=2",
    "training.ema=0.5",
    "training.validate_every=3",
)
_STEPS = 6
#: Every network and every form of conditioning once: these are exported, used and served, which
#: takes ten times as long as their training. Their other combinations are trained and resumed.
_ALL_THE_WAY = {
    *("deepupe-mnorm", "lantern", "lpf-mconcat", "lut3d-mnorm"),
    *("star-dce", "unet-mconcat", "zero-dce-mconcat"),
}


def settings(steps: int) -> list[str]:
    return [part for text in (*_SMALL, f"training.steps={steps}") for part in ("--set", text)]


def different() -> list[str]:
    """The CPU's recipes; of those that are one training on the same small data, the first."""
    found: dict[str, str] = {}
    for name in CPU_RECIPES:
        recipe = load(name, [*_SMALL, f"training.steps={_STEPS}"])
        config = replace(resolve(recipe.model), name="", description="", licence="", weights=None)
        what = replace(recipe, model=repr(config), description="", deviations="", licence="")
        found.setdefault(json.dumps(what.to_dict()), name)
    return list(found.values())


@pytest.fixture(scope="module", params=different())
def trained(
    request: pytest.FixtureRequest, data_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A recipe's name, and its run: half of the steps, then resumed for the others."""
    name = str(request.param)
    run = tmp_path_factory.mktemp(name) / "run"
    command = ["fit", name, "--data", str(data_root), "--out", str(run)]
    command += ["--accelerator", "cpu", "--threads", "1"]
    assert train([*command, *settings(_STEPS // 2)]) == 0
    assert checkpoint.read(run / "last.pt")["step"] == _STEPS // 2
    assert train([*command, *settings(_STEPS), "--resume"]) == 0
    assert checkpoint.read(run / "last.pt")["step"] == _STEPS
    return name, run


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where weights are exported to, and what the daemon takes for the installed ones.

    The matting network is none of the models that are trained here; the installed one is used.
    """
    folder = tmp_path_factory.mktemp("exports")
    matting = WEIGHTS_FOLDER / MATTES["default"]
    for path in (matting, matting.with_suffix(".onnx")):
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def daemon(exports: Path) -> Iterator[RunningDaemon]:
    """A daemon that has the exported weights."""
    environment = {"MASKUPE_TEST_WEIGHTS": str(exports), "OMP_NUM_THREADS": "1"}
    with running_daemon(module="tests.daemon.with_weights", env=environment) as running:
        yield running


@pytest.mark.slow
def test_it_improves_resumes_and_its_export_is_used_and_served(
    trained: tuple[str, Path],
    exports: Path,
    daemon: RunningDaemon,
    data_root: Path,
    tmp_path: Path,
) -> None:
    name, run = trained
    assert_improved(name, run, data_root)
    if name in _ALL_THE_WAY:
        assert_used_and_served(name, run, exports, daemon, data_root, tmp_path)


def assert_improved(name: str, run: Path, data_root: Path) -> None:
    """The log has every step once, the loss fell, and the validation rose."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, _STEPS // 2, _STEPS]
    recipe = load(name, [*_SMALL, f"training.steps={_STEPS}"])
    state = checkpoint.read(run / "last.pt")
    torch.manual_seed(recipe.seed)
    network = build(resolve(recipe.model))
    before = loss_of(network, recipe, data_root)
    network.load_state_dict(state["network"] | state["average"])
    assert loss_of(network, recipe, data_root) < before
    best = max(line["val_psnr_a"] for line in lines[1:])
    assert best > lines[0]["val_input_psnr_a"]
    # The U-Net starts as a gray picture and first learns to leave C alone; Lantern starts as a
    # computed exposure. The others start too dark.
    if not name.startswith(("unet", "lantern")):
        assert best > lines[0]["val_psnr_a"]


def assert_used_and_served(
    name: str, run: Path, exports: Path, daemon: RunningDaemon, data_root: Path, tmp_path: Path
) -> None:
    """The exported weights give the same picture by the command line and by the daemon."""
    model = load(name).model
    weights = exports / f"{model}.safetensors"
    command = ["export", str(run / "last.pt"), "-o", str(weights), "--data", str(data_root)]
    assert train(command) == 0

    image = scene(3) // 6
    selection = np.zeros(image.shape[:2], np.uint8)
    selection[12:34, 10:30] = 255
    write_rgb(tmp_path / "photo.png", image)
    write_rgb(tmp_path / "mask.png", np.repeat(selection[..., None], 3, 2))
    command = ["enhance", str(tmp_path / "photo.png"), "--mask", str(tmp_path / "mask.png")]
    command += ["-o", str(tmp_path / "out.png"), "--model", str(weights), "--transition", "6"]
    # The command line cuts the region out, the daemon is sent all; the denoiser's blocks start at
    # the region's corner, so the two would not remove quite the same.
    command += ["--denoise", "0"]
    assert maskupe(command) == 0
    result = read_rgb(tmp_path / "out.png")
    inside = selection > 0
    assert result[inside].mean() > image[inside].mean()
    outside = np.ones_like(inside)
    outside[6:40, 4:36] = False
    assert np.array_equal(result[outside], image[outside])

    with daemon.connect() as client:
        request, planes = request_for(image, selection, model=model, width=6.0, denoise=0.0)
        header, answer = client.enhance(request, planes)
    assert header["model"] == resolve(model).name
    lit = as_array(answer["image"], image).astype(int)
    assert np.abs(lit - result.astype(int)).max() <= 1


def test_every_network_and_form_goes_all_the_way() -> None:
    def parts(names: Iterable[str]) -> set[str]:
        return {part for name in names for part in split(name)}

    def split(name: str) -> tuple[str, str]:
        config = resolve(load(name).model)
        return config.network, str(config.conditioning)

    assert set(different()) >= _ALL_THE_WAY
    assert parts(_ALL_THE_WAY) == parts(different())


@torch.no_grad()
def loss_of(network: Network, recipe: Recipe, data_root: Path) -> float:
    """The recipe's loss on its validation cases, as served."""
    image, areas, truth = stack(validation_cases(recipe, data_root))
    objective = Objective(network.eval(), recipe.loss, recipe.training.stride)
    return float(objective(image, areas, truth)["total"])
