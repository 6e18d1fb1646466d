"""Training the matting network: lines, samples, the loop, what is exported."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from maskupe import Enhancer, weights_file
from maskupe.errors import InputError
from maskupe.inference.matting import load_matting
from maskupe.networks.matting import Matting
from maskupe_training import checkpoint
from maskupe_training.cli import main
from maskupe_training.matte import scenes
from maskupe_training.matte.export import export_matte, is_run
from maskupe_training.matte.fit import (
    fit_matte,
    learning_rate,
    losses,
    to_device,
)
from maskupe_training.matte.fit import main as run_alone
from maskupe_training.matte.lines import KINDS, draw_line, free_selection, lasso
from maskupe_training.matte.material import credit_lines, read_material, trained_on
from maskupe_training.matte.recipe import from_tables, load
from maskupe_training.matte.samples import MatteSamples
from maskupe_training.matte.scenes import held_out
from maskupe_training.recipe_files import SHIPPED_MATTES, tables
from maskupe_training.run_options import RunOptions
from tests.training.conftest import scene


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cutouts/ (8), photos/ (6) and people/ (4), some of each held out."""
    root = tmp_path_factory.mktemp("matte")
    for folder in ("cutouts", "photos", "people/image", "people/mask"):
        (root / folder).mkdir(parents=True)
    y, x = np.mgrid[:96, :96]
    rows = ["file,source,licence,author"]
    for number in range(8):
        alpha = np.clip((34 + number - np.hypot(y - 48, 0.8 * (x - 48))) / 3, 0, 1) * 255
        pixels = np.dstack([scene(number, 96), alpha.astype(np.uint8)])
        cv2.imwrite(str(root / "cutouts" / f"c{number}.png"), pixels)
        rows.append(f"c{number}.png,stamps,{'GPL-2' if number < 7 else 'unclear'},Ada")
    (root / "cutouts" / "index.csv").write_text("\n".join(rows) + "\n")
    for number in range(6):
        cv2.imwrite(str(root / "photos" / f"p{number}.png"), scene(40 + number, 120))
    for number in range(4):
        cv2.imwrite(str(root / "people" / "image" / f"m{number}.png"), scene(60 + number, 96))
        mask = (np.hypot(y - 50, x - 45) < 25 + number).astype(np.uint8) * 255
        cv2.imwrite(str(root / "people" / "mask" / f"m{number}.png"), mask)
    return root


RECIPE = """
task = "matte"
name = "small"
licence = "any use"
description = "A test."
[cutouts]
folder = "cutouts"
licences = ["GPL"]
[photos]
folder = "photos"
[masked]
folders = ["people"]
share = 0.5
[training]
steps = 4
batch = 2
save_every = 2
"""


@pytest.fixture(scope="module")
def recipe_path(data: Path) -> Path:
    path = data / "small.toml"
    path.write_text(RECIPE)
    return path


@pytest.mark.parametrize("name", SHIPPED_MATTES)
def test_shipped_recipes_say_what_may_be_done_with_the_weights(name: str) -> None:
    recipe = load(name)
    assert recipe.name == name and recipe.description
    free = not recipe.masked.folders
    assert (recipe.licence == "any use") == free
    assert not free or (recipe.cutouts.licences and recipe.photos.licences)
    assert from_tables(recipe.to_dict(), name) == recipe


def disc(side: int = 200, radius: float = 55) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    away = radius - np.hypot(y - side / 2, x - side / 2)
    return np.clip(away + 0.5, 0, 1).astype(np.float32)


def test_lines_surround_their_subject() -> None:
    alpha, subject = disc(), disc() > 0.5
    overlaps, exact = [], 0
    for seed in range(120):
        line = draw_line(np.random.default_rng(seed), alpha)
        assert line is not None and line.selection.dtype == np.float32
        assert line.selection.min() >= 0 and line.selection.max() <= 1
        chosen = line.selection >= 0.5
        overlaps.append((chosen & subject).sum() / subject.sum())
        exact += line.exact
        if line.exact:
            assert np.abs(line.selection - alpha).mean() < 0.02
    assert np.mean(overlaps) > 0.9 and min(overlaps) > 0.5
    assert 0.4 * KINDS["exact"] < exact / 120 < 2.5 * KINDS["exact"]
    assert draw_line(np.random.default_rng(1), np.zeros((50, 50), np.float32)) is None


def test_a_lasso_lies_as_far_outside_as_it_is_told() -> None:
    contour, _ = cv2.findContours(
        (disc() > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    points = contour[0][:, 0].astype(np.float32)
    areas = [
        (lasso(np.random.default_rng(5), points, (200, 200), 200, outwards=out) > 127).mean()
        for out in (-0.05, 0.0, 0.05, 0.1)
    ]
    assert areas == sorted(areas) and areas[-1] > 1.5 * areas[0]


def test_free_selections_have_all_sizes() -> None:
    shares = [free_selection(np.random.default_rng(s), 128, 128).mean() for s in range(40)]
    assert min(shares) < 0.08 and max(shares) > 0.2


def test_light_and_encoding_are_inverse() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(scenes.to_encoded(scenes.to_light(values)), values)
    assert scenes.to_light(np.uint8(188)) == pytest.approx(0.5, abs=0.01)


def test_the_guided_filter_solves_its_equations() -> None:
    """Outlines are derived by the product's filter: here against a solver of the 3×3 equations."""
    from maskupe.matting.matte import guided_coefficients

    rng = np.random.default_rng(2)
    guide, values = rng.random((40, 50, 3)).astype(np.float32), rng.random((40, 50))
    values = values.astype(np.float32)

    def mean(plane: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.blur(plane, (7, 7)))

    means, centre = mean(guide), mean(values)
    covariance = np.empty((40, 50, 3, 3), np.float32)
    for i, j in itertools.product(range(3), repeat=2):
        covariance[..., i, j] = mean(guide[..., i] * guide[..., j]) - means[..., i] * means[..., j]
    covariance += np.eye(3, dtype=np.float32) * np.float32(1e-3)
    shared = mean(guide * values[..., None]) - means * centre[..., None]
    a = np.linalg.solve(covariance, shared[..., None])[..., 0]
    solved = mean(a), mean(centre - (a * means).sum(-1))
    product = guided_coefficients(values, guide, 3, 1e-3)
    for one, other in zip(solved, product, strict=True):
        assert np.abs(one - other).max() < 1e-3


def test_samples_follow_from_seed_and_number(data: Path, recipe_path: Path) -> None:
    material = read_material(load(str(recipe_path)), data)
    one, other = MatteSamples(material, 3, 40), MatteSamples(material, 3, 1000)
    different = MatteSamples(material, 4, 40)
    kinds: Counter[str] = Counter()
    for number in range(24):
        sample, again = one[number], other[number]
        assert {name: plane.shape[0] for name, plane in sample.items()} == {
            "image": 3,
            "planes": 2,
            "truth": 4,
            "weight": 2,
        }
        for name, plane in sample.items():
            assert plane.dtype == np.uint8 and plane.shape[1:] == (256, 256)
            assert np.array_equal(plane, again[name])
        matte, opened, exact, _ = sample["truth"]
        kinds["exact"] += int((exact == 255).all())
        kinds["open"] += int((opened == 255).all())
        kinds["subject"] += int(0 < (matte > 127).mean() < 1)
        # The line crosses where the distance does.
        chosen = sample["planes"][0] > 128
        assert ((sample["planes"][1] > 128) == chosen).mean() > 0.98
        if (exact == 255).all():
            assert np.abs(sample["planes"][0].astype(int) - matte).mean() < 12
    assert all(kinds[name] > 0 for name in ("open", "subject"))
    assert not np.array_equal(one[0]["image"], different[0]["image"])


def test_what_is_held_out_and_what_is_not_licensed_is_not_trained_on(
    data: Path, recipe_path: Path
) -> None:
    recipe = load(str(recipe_path))
    names = {path.stem for path in trained_on(recipe.cutouts, data)}
    assert names == {f"c{n}" for n in range(7) if not held_out(f"c{n}")}
    assert len(read_material(recipe, data).cutouts) == len(names)
    (line,) = credit_lines(recipe, data)
    assert line.startswith("Ada, stamps (GPL-2): ")
    assert {f"{name}.png" for name in names} == set(line.partition(": ")[2].split(", "))
    share = np.mean([held_out(f"picture {number}") for number in range(2000)])
    assert 0.08 < share < 0.12
    with pytest.raises(InputError, match="may be trained on"):
        trained_on(load(str(recipe_path), ['cutouts.licences=["CC"]']).cutouts, data)


def test_the_loss_is_least_for_the_truth(data: Path, recipe_path: Path) -> None:
    samples = MatteSamples(read_material(load(str(recipe_path)), data), 3, 4)
    stacked = {
        name: torch.stack([torch.from_numpy(samples[i][name]) for i in range(4)])
        for name in samples[0]
    }
    batch = to_device(stacked, "cpu")
    assert batch["planes"].shape == (4, 5, 256, 256)
    assert float(batch["planes"][:, 4].min()) < 0 <= float(batch["planes"][:, 3].min())
    truth = torch.logit(batch["truth"][:, :3].clamp(1e-4, 1 - 1e-4))
    best = losses(truth, batch)
    worse = losses(truth + torch.randn_like(truth), batch)
    assert all(best[name] < worse[name] for name in best)
    assert float(best["composed"]) < 0.01
    network = Matting()
    total = losses(network.logits(batch["planes"]), batch)["total"]
    total.backward()
    reached = [value.grad is not None for value in network.parameters()]
    assert all(reached)


def test_the_rate_warms_up_and_falls_by_steps_or_by_minutes(recipe_path: Path) -> None:
    recipe = load(str(recipe_path), ["training.steps=1000"])
    rates = [learning_rate(recipe, step, 0.0) for step in range(0, 1001, 50)]
    assert rates[0] < rates[1] and rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] == pytest.approx(0.01 * recipe.training.rate)
    timed = load(str(recipe_path), ["training.steps=1000", "training.minutes=2"])
    assert learning_rate(timed, 100, 2.0) == rates[-1]
    assert learning_rate(timed, 500, 0.1) == learning_rate(recipe, 500, 0.0)


def test_a_resumed_training_ends_with_the_same_bits(
    data: Path, recipe_path: Path, tmp_path: Path
) -> None:
    arguments = ["fit", str(recipe_path), "--data", str(data), "--accelerator", "cpu"]
    assert main([*arguments, "--out", str(tmp_path / "whole")]) == 0
    recipe = load(str(recipe_path))
    fit_matte(recipe, RunOptions(data, tmp_path / "parts", max_minutes=1e-9, accelerator="cpu"))
    assert checkpoint.read(tmp_path / "parts" / "last.pt")["step"] == 0
    assert main([*arguments, "--out", str(tmp_path / "parts"), "--resume"]) == 0
    one, other = (checkpoint.read(tmp_path / name / "last.pt") for name in ("whole", "parts"))
    assert one["step"] == other["step"] == 4
    for part in ("network", "average"):
        assert all(torch.equal(one[part][name], other[part][name]) for name in one[part])
    lines = (tmp_path / "parts" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [4]
    assert json.loads((tmp_path / "parts" / "recipe.json").read_text())["name"] == "small"


def test_a_training_that_is_killed_goes_on_from_its_last_checkpoint(
    data: Path, recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load(str(recipe_path))
    whole = checkpoint.read(
        fit_matte(recipe, RunOptions(data, tmp_path / "whole", accelerator="cpu"))
    )
    taken = 0
    draw = MatteSamples.__getitem__

    def dies(self: MatteSamples, index: int) -> dict[str, np.ndarray]:
        nonlocal taken
        taken += 1
        if taken > 6:
            raise KeyboardInterrupt
        return draw(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(MatteSamples, "__getitem__", dies)
        with pytest.raises(KeyboardInterrupt):
            fit_matte(recipe, RunOptions(data, tmp_path / "dead", accelerator="cpu"))
    assert checkpoint.read(tmp_path / "dead" / "last.pt")["step"] == 2
    went_on = fit_matte(recipe, RunOptions(data, tmp_path / "dead", resume=True, accelerator="cpu"))
    average = checkpoint.read(went_on)["average"]
    assert all(torch.equal(average[name], value) for name, value in whole["average"].items())


def test_what_is_trained_is_exported_and_followed(
    data: Path, recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = load(str(recipe_path), ["training.steps=1"])
    run = tmp_path / "run"
    fit_matte(recipe, RunOptions(data, run, accelerator="cpu"))
    assert is_run(run) and not is_run(tmp_path)
    target = tmp_path / "small.safetensors"
    assert main(["export", str(run), "-o", str(target), "--data", str(data)]) == 0
    header = weights_file.read_header(target)
    assert header.metadata["licence"] == "any use" and header.metadata["network"] == "matting"
    assert header.json("credits") == credit_lines(recipe, data)
    assert "maskupe-train fit matte" in header.metadata["command"]
    card = target.with_suffix(".md").read_text("utf-8")
    for part in ("# small", "Licence of the weights | any use", "Ada, stamps", "`people`"):
        assert part in card
    assert "Conditioning" not in card
    # What is exported is the running average, and the pipeline takes it.
    state = checkpoint.read(run / "last.pt")
    network = Matting()
    network.load_state_dict(state["network"] | state["average"])
    planes = np.random.default_rng(0).random((5, 256, 256)).astype(np.float32)
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(planes[None]))[0].numpy()
    assert np.abs(load_matting(target, "cpu")(planes) - expected).max() < 5e-3
    enhancer = Enhancer.load("default", device="cpu", matting=target)
    image, mask = scene(1, 96), disc(96, 20) > 0.5
    assert (enhancer.enhance(image, mask) != image).any()
    with pytest.raises(InputError, match="authors"):
        export_matte(run, target)


def test_a_training_may_begin_with_the_weights_of_another(
    data: Path, recipe_path: Path, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    fit_matte(
        load(str(recipe_path), ["training.steps=1"]), RunOptions(data, first, accelerator="cpu")
    )
    arguments = [str(recipe_path), str(data), str(tmp_path / "second"), "--device", "cpu"]
    settings = ["--set", "training.steps=1", "--set", "training.rate=1e-9", "--set", "seed=3"]
    run_alone([*arguments, *settings])
    start = ["--set", f"training.start={first / 'last.pt'}"]
    run_alone([*arguments[:2], str(tmp_path / "third"), "--device", "cpu", *settings, *start])
    begun, new, continued = (
        checkpoint.read(tmp_path / name / "last.pt") for name in ("first", "second", "third")
    )
    name = "head.weight"
    assert torch.allclose(continued["network"][name], begun["average"][name], atol=1e-6)
    assert not torch.allclose(new["network"][name], begun["average"][name], atol=1e-6)
    assert json.loads(continued["recipe"])["training"]["start"] == str(first / "last.pt")
    assert json.loads(new["recipe"])["seed"] == 3


def test_what_cannot_be_is_refused(data: Path, recipe_path: Path, tmp_path: Path) -> None:
    recipe = load(str(recipe_path))
    out = tmp_path / "run"
    fit_matte(recipe, RunOptions(data, out, max_minutes=1e-9, accelerator="cpu"))
    with pytest.raises(InputError, match="holds a training"):
        fit_matte(recipe, RunOptions(data, out, accelerator="cpu"))
    other = load(str(recipe_path), ["training.rate=1e-3"])
    with pytest.raises(InputError, match="another recipe"):
        fit_matte(other, RunOptions(data, out, resume=True, accelerator="cpu"))
    with pytest.raises(InputError, match="no accelerator"):
        fit_matte(recipe, RunOptions(data, tmp_path / "x", accelerator="abacus"))
    with pytest.raises(InputError, match="no checkpoint"):
        fit_matte(recipe, RunOptions(data, tmp_path / "none", resume=True, accelerator="cpu"))
    with pytest.raises(InputError, match="no recipe of the matting network"):
        load("lantern")
    for setting, words in (
        ("training.steps=0", "training.steps"),
        ("training.ema=1.0", "training.ema"),
        ("training.minutes=-1", "training.minutes"),
        ("training.workers='many'", "training.workers"),
        ("masked.share=2.0", "masked.share"),
        ("nonsense=1", "nonsense"),
    ):
        with pytest.raises(InputError, match=words):
            load(str(recipe_path), [setting])


def test_it_runs_where_nothing_else_of_the_training_is_installed() -> None:
    program = (
        "import sys\n"
        "for name in ('typer', 'rich', 'lightning_fabric', 'scipy', 'onnx',\n"
        "             'onnxruntime', 'tensorboard', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        "import maskupe_training.matte.fit, maskupe_training.data.batches\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_recipes_of_both_tasks_are_found_by_name() -> None:
    assert tables("matte")["task"] == "matte" and "task" not in tables("lantern")
    assert tables("matte-research", ["training.steps=7"])["training"] == {"steps": 7}
