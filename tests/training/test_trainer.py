"""The trainer as people run it: killed, resumed, in two processes, on a full disk."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from maskupe import Enhancer
from maskupe.errors import InputError
from maskupe.inference.build import build, load
from maskupe.registry import resolve
from maskupe_training import checkpoint
from maskupe_training.cli import main
from maskupe_training.data.manifest import file_digest, manifest_digest
from maskupe_training.export import export
from maskupe_training.recipe import OptimizerRecipe
from maskupe_training.recipe_files import load as load_recipe
from maskupe_training.run_logger import Pace
from maskupe_training.source_commit import source_commit
from maskupe_training.trainer import Run, fit, learning_rate, update_average

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def log_lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(data_root: Path, recipe_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of six steps that nothing interrupted."""
    out = tmp_path_factory.mktemp("finished") / "run"
    fit(load_recipe(str(recipe_path)), Run(data_root, out, accelerator="cpu"))
    return out


def assert_same_bits(one: Path, two: Path) -> None:
    first, second = checkpoint.read(one), checkpoint.read(two)
    assert first["step"] == second["step"]
    for part in ("network", "average"):
        assert first[part].keys() == second[part].keys() and first[part]
        for name, value in first[part].items():
            assert torch.equal(value, second[part][name]), (part, name)
    for number, moments in first["optimizer"]["state"].items():
        for name, value in moments.items():
            assert torch.equal(value, second["optimizer"]["state"][number][name])


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_same_bits(
    finished: Path, data_root: Path, recipe_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "maskupe_training", "fit", str(recipe_path)]
    command += ["--data", str(data_root), "--out", str(out), "--accelerator", "cpu"]
    process = subprocess.Popen(command, env=ENVIRONMENT, start_new_session=True)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        if (out / "last.pt").exists() and checkpoint.read(out / "last.pt")["step"] >= 2:
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert checkpoint.read(out / "last.pt")["step"] >= 2
    fit(load_recipe(str(recipe_path)), Run(data_root, out, resume=True, accelerator="cpu"))
    assert_same_bits(out / "last.pt", finished / "last.pt")
    keys = ("step", "val_psnr_a", "loss")
    ours, theirs = log_lines(out), log_lines(finished)
    assert [[line[k] for k in keys] for line in ours] == [
        [line[k] for k in keys] for line in theirs
    ]


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(
    data_root: Path, recipe_path: Path, tmp_path: Path
) -> None:
    settings = ["training.validate_every=1", "training.steps=2", "training.ema=0.0"]
    fit(
        load_recipe(str(recipe_path), settings), Run(data_root, tmp_path / "one", accelerator="cpu")
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "maskupe_training", "fit", str(recipe_path), "--data", str(data_root)]
    command += ["--out", str(tmp_path / "two"), "--accelerator", "cpu"]
    command += [part for setting in settings for part in ("--set", setting)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    one, two = log_lines(tmp_path / "one"), log_lines(tmp_path / "two")
    assert len(one) == len(two) == 3
    for single, double in zip(one[1:], two[1:], strict=True):
        assert double["loss"] == pytest.approx(single["loss"], rel=1e-4)
        assert double["val_psnr_a"] == pytest.approx(single["val_psnr_a"], abs=1e-3)


def test_training_improves_psnr_in_a(finished: Path) -> None:
    lines = log_lines(finished)
    assert [line["step"] for line in lines] == [0, 2, 4, 6]
    assert lines[-1]["val_psnr_a"] > lines[0]["val_psnr_a"]
    assert (finished / "recipe.json").is_file()
    assert list((finished / "tensorboard").iterdir())


def test_a_run_is_not_overwritten_nor_resumed_with_another_recipe(
    finished: Path, data_root: Path, recipe_path: Path
) -> None:
    with pytest.raises(InputError, match="holds a training"):
        fit(load_recipe(str(recipe_path)), Run(data_root, finished, accelerator="cpu"))
    other = load_recipe(str(recipe_path), ["loss.beta=0.5"])
    with pytest.raises(InputError, match="another recipe: loss differ"):
        fit(other, Run(data_root, finished, resume=True, accelerator="cpu"))


def test_resuming_what_is_not_there_or_damaged_is_said(
    data_root: Path, recipe_path: Path, tmp_path: Path
) -> None:
    run = Run(data_root, tmp_path, resume=True, accelerator="cpu")
    with pytest.raises(InputError, match="no checkpoint"):
        fit(load_recipe(str(recipe_path)), run)
    (tmp_path / "last.pt").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"last\.pt is damaged.*best\.pt"):
        fit(load_recipe(str(recipe_path)), run)


def test_a_checkpoint_cannot_carry_code(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"step": Path("x")})
    with pytest.raises(InputError, match="is damaged"):
        checkpoint.read(path)


@pytest.mark.slow
def test_the_export_has_the_average_weights_and_says_what_it_is(
    finished: Path, data_root: Path, tmp_path: Path
) -> None:
    path = export(finished / "last.pt", tmp_path / "small.safetensors", data_root, {"x": 1.5})
    config, network, header = load(path)
    state = checkpoint.read(finished / "last.pt")
    assert config.name == "deepupe-mconcat"
    for name, value in network.named_parameters():
        expected = state["average"][name]
        # Large layers are stored in half precision, which rounds by one part in 2,048.
        stored = expected.half().float() if value.numel() >= 1 << 14 else expected
        assert torch.equal(value, stored)
    said = header.metadata
    assert said["licence"] == "research use, non-commercial"
    assert header.json("recipe") == json.loads(state["recipe"])
    assert header.json("metrics")["steps"] == 6 and header.json("metrics")["x"] == 1.5
    assert said["training_data"].endswith(f"sha256:{manifest_digest(data_root / 'brackets')}")
    assert said["seed"] == "0" and said["commit"] == state["commit"] == source_commit()
    assert path.with_suffix(".onnx").is_file()
    card = path.with_suffix(".md").read_text()
    for key in ("licence", "training_data", "command", "commit", "created"):
        assert said[key] in card, key
    assert file_digest(path) in card
    assert "Credits" not in card


@pytest.mark.slow
def test_the_level_is_moved_at_export_where_the_network_can(
    finished: Path, data_root: Path, recipe_path: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(str(recipe_path), ["model=lantern", "training.steps=1"])
    run = tmp_path / "run"
    fit(recipe, Run(data_root, run, accelerator="cpu"))
    as_trained, brighter = tmp_path / "trained.safetensors", tmp_path / "brighter.safetensors"
    export(run / "last.pt", as_trained)
    assert main(["export", str(run / "last.pt"), "-o", str(brighter), "--stops", "0.5"]) == 0
    assert "| Level | +0.5 EV at export (`--stops`), chosen on val |" in (
        brighter.with_suffix(".md").read_text()
    )
    assert "| Level |" not in as_trained.with_suffix(".md").read_text()
    rng = np.random.default_rng(0)
    photo = rng.integers(5, 40, (64, 64, 3), np.uint8)
    mask = np.full((64, 64), 255, np.uint8)
    before, after = (
        Enhancer.load(str(path)).enhance(photo, mask, denoise=0).astype(np.float64)
        for path in (as_trained, brighter)
    )
    # Half a stop is a factor of 1.41 in light; encoded, and under the shoulder, less.
    assert 1.05 < after.mean() / before.mean() < 1.35
    assert (after >= before).all()
    target = tmp_path / "other.safetensors"
    with pytest.raises(InputError, match=r"The level of deepupe-mconcat cannot be moved.*--stops"):
        export(finished / "last.pt", target, stops=0.5)
    assert not target.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("without_graphs")
def test_a_card_names_the_authors_of_the_photographs(
    data_root: Path, recipe_path: Path, tmp_path: Path
) -> None:
    sources = 'sources=[{kind = "photos", folder = "photos", licences = ["CC"]}]'
    recipe = load_recipe(str(recipe_path), [sources, "training.steps=1", "seed=5"])
    run = tmp_path / "run"
    fit(recipe, Run(data_root, run, accelerator="cpu"))
    target = tmp_path / "photographed.safetensors"
    with pytest.raises(InputError, match=r"whose authors the model card must name.*--data"):
        export(run, target)
    assert not target.exists()
    assert main(["export", str(run), "-o", str(target), "--data", str(data_root)]) == 0
    card = target.with_suffix(".md").read_text()
    assert "- Ansel, b (CC-BY-4.0): f1.png\n- a (CC0-1.0): f0.png" in card
    assert "f2.png" not in card  # its licence was not asked for, so it was not trained on
    assert "| Seed | 5 |" in card


@pytest.mark.slow
@pytest.mark.usefixtures("without_graphs")
def test_the_command_in_the_card_trains_the_same_weights_again(
    finished: Path, data_root: Path, tmp_path: Path
) -> None:
    _, _, header = load(export(finished, tmp_path / "first.safetensors", data_root))
    program, *command = shlex.split(header.metadata["command"])
    assert program == "maskupe-train"
    run = tmp_path / "again"
    where = ["--data", str(data_root), "--out", str(run), "--accelerator", "cpu"]
    assert main([*command, *where]) == 0
    again = checkpoint.read(run / "best.pt")
    # To the bit on one machine; a tenth of a decibel is what another one may differ by.
    promised = header.json("metrics")["val_psnr_a"]
    assert again["val"]["psnr_a"] == pytest.approx(promised, abs=0.1)
    assert json.loads(again["recipe"]) == header.json("recipe")


def test_norms_keep_their_statistics_from_the_share_of_the_steps_that_the_recipe_says(
    data_root: Path, recipe_path: Path, tmp_path: Path
) -> None:
    settings = ["model=deepupe-mnorm", "training.freeze_norms=0.5", "training.steps=4"]
    fit(load_recipe(str(recipe_path), settings), Run(data_root, tmp_path, accelerator="cpu"))
    last = checkpoint.read(tmp_path / "last.pt")
    seen = {n: v for n, v in last["network"].items() if n.endswith("num_batches_tracked")}
    assert len(seen) == 4 and all(int(value) == 2 for value in seen.values())


def test_learning_rates_warm_up_and_fall() -> None:
    how = OptimizerRecipe(rate=1.0, warmup=10, schedule="cosine")
    rates = [learning_rate(how, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(rates[9], rel=0.05)
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert 0.01 < rates[-1] < 0.02
    assert learning_rate(OptimizerRecipe(rate=0.5), 70, 100) == 0.5


def test_the_running_average_follows_the_weights() -> None:
    network = build(resolve("deepupe"))
    average: dict[str, torch.Tensor] = {}
    update_average(average, network, 0.5)
    before = {name: value.clone() for name, value in average.items()}
    with torch.no_grad():
        for value in network.parameters():
            value.add_(1.0)
    update_average(average, network, 0.5)
    for name, value in average.items():
        torch.testing.assert_close(value, before[name] + 0.5)


@pytest.mark.slow
def test_loader_processes_change_nothing_and_leave_nothing_behind(
    finished: Path, data_root: Path, recipe_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    recipe = load_recipe(str(recipe_path), ["training.workers=2"])
    fit(recipe, Run(data_root, out, accelerator="cpu"))
    assert_same_bits(out / "last.pt", finished / "last.pt")
    assert sorted(path.name for path in out.iterdir()) == sorted(
        path.name for path in finished.iterdir()
    )


def test_a_training_says_how_fast_it_was_and_how_long_it_waited(
    data_root: Path, recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = load_recipe(str(recipe_path), ["training.steps=2"])
    fit(recipe, Run(data_root, tmp_path, accelerator="cpu"))
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.fullmatch(r"[\d,.]+ images/s, \d+% of the time waiting for data", last)


def test_the_pace_leaves_out_the_first_step_and_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("maskupe_training.run_logger.time.monotonic", lambda: clock[0])

    def batches() -> Iterator[int]:
        for number in range(3):
            clock[0] += 100.0 if number == 0 else 1.0
            yield number

    pace = Pace(batch=8)
    for number in pace.watched(batches()):
        clock[0] += 3.0
        if number == 1:
            with pace.paused():
                clock[0] += 50.0
    assert pace.speed() == pytest.approx(2 * 8 / 8.0)
    assert pace.waiting() == pytest.approx(0.25)
