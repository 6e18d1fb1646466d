"""What GPUs do, as far as a processor can do it: scaled gradients, shared norms, precision."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor, nn

from maskupe.errors import InputError
from maskupe_training import checkpoint, trainer
from maskupe_training.fabric_setup import Mixed, automatic_precision
from maskupe_training.objective import Objective
from maskupe_training.recipe_files import load as load_recipe
from maskupe_training.trainer import Run, fit
from tests.training import two_processes
from tests.training.test_trainer import ENVIRONMENT, assert_same_bits, log_lines

SCALED = ["training.precision=16-mixed", "optimizer.schedule=constant"]


@pytest.fixture
def overflows(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Numbers of forward passes whose gradients overflow, as half precision's do."""
    wanted: set[int] = set()
    passes = iter(range(1000))
    forward = Objective.forward

    def overflowing(self: Objective, *batch: Tensor) -> dict[str, Tensor]:
        terms = forward(self, *batch)
        if next(passes) in wanted:
            # Its value stays what it is; its gradient does not.
            terms["total"] = terms["total"] + 1e38 * (terms["total"] - terms["total"].detach())
        return terms

    monkeypatch.setattr(Objective, "forward", overflowing)
    return wanted


def test_a_step_that_overflows_is_skipped_and_nothing_moves(
    data_root: Path, recipe_path: Path, tmp_path: Path, overflows: set[int]
) -> None:
    overflows.add(0)
    recipe = load_recipe(str(recipe_path), [*SCALED, "training.steps=1"])
    fit(recipe, Run(data_root, tmp_path, accelerator="cpu"))
    first, last = (checkpoint.read(tmp_path / name) for name in ("best.pt", "last.pt"))
    assert (first["step"], last["step"]) == (0, 1)
    for name, value in first["network"].items():
        assert torch.equal(value, last["network"][name])
    assert not last["average"] and not last["optimizer"]["state"]
    assert last["scaler"]["scale"] == first["scaler"]["scale"] / 2


@pytest.mark.slow
def test_a_scaled_training_resumes_to_the_same_bits(
    data_root: Path, recipe_path: Path, tmp_path: Path, overflows: set[int]
) -> None:
    overflows |= {0, 3}
    for name, lengths in (("through", (3,)), ("resumed", (1, 3))):
        for steps in lengths:
            recipe = load_recipe(str(recipe_path), [*SCALED, f"training.steps={steps}"])
            out = tmp_path / name
            fit(recipe, Run(data_root, out, resume=out.exists(), accelerator="cpu"))
    through, resumed = (tmp_path / name / "last.pt" for name in ("through", "resumed"))
    assert_same_bits(through, resumed)
    states = [checkpoint.read(path) for path in (through, resumed)]
    assert states[0]["scaler"] == states[1]["scaler"]
    taken = {float(moments["step"]) for moments in states[0]["optimizer"]["state"].values()}
    assert taken <= {1.0, 2.0}  # the scaler starts too high, so one more may have overflowed


def test_gradients_that_always_overflow_end_the_training(
    data_root: Path,
    recipe_path: Path,
    tmp_path: Path,
    overflows: set[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    overflows |= set(range(1000))
    monkeypatch.setattr(trainer, "_SKIPS_IN_A_ROW", 3)
    recipe = load_recipe(str(recipe_path), [*SCALED, "training.steps=100"])
    with pytest.raises(InputError, match=r"not finite in the last 3 steps.*32-true"):
        fit(recipe, Run(data_root, tmp_path, accelerator="cpu"))


def test_without_a_scaler_an_overflow_leaves_the_last_good_checkpoint(
    data_root: Path, recipe_path: Path, tmp_path: Path, overflows: set[int]
) -> None:
    overflows.add(3)
    recipe = load_recipe(str(recipe_path), ["optimizer.rate=1e-3", "loss.gamma=1e3"])
    with pytest.raises(InputError, match=r"is not finite at step [45]"):
        fit(recipe, Run(data_root, tmp_path, accelerator="cpu"))
    last = checkpoint.read(tmp_path / "last.pt")
    assert last["step"] == 2
    assert all(bool(value.isfinite().all()) for value in last["network"].values())


@pytest.mark.parametrize(("has", "expected"), [(True, "bf16-mixed"), (False, "16-mixed")])
def test_auto_is_what_the_card_computes_in(
    monkeypatch: pytest.MonkeyPatch, has: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has)
    assert automatic_precision("cuda") == expected
    assert automatic_precision("cpu") == automatic_precision("mps") == "32-true"


def test_mixed_precision_leaves_pictures_their_bits() -> None:
    picture = torch.rand(1, 3, 4, 4)
    assert Mixed("bf16-mixed", "cpu").convert_input(picture) is picture


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what two processes made of half of the batch each, by kind and rank."""
    folder = tmp_path_factory.mktemp("halves")
    mp.spawn(two_processes.main, (str(folder),), nprocs=2)  # type: ignore[no-untyped-call]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", two_processes.KINDS)
def test_two_processes_normalize_as_one(kind: str, halves: Path) -> None:
    norm, batch, weights, areas = two_processes.norm_and_batch(kind)
    one = two_processes.run(nn.Sequential(norm), batch, weights, areas)
    two = [torch.load(halves / f"{kind}-{rank}.pt", weights_only=True) for rank in range(2)]
    for name, value in one.items():
        if name in ("out", "grad"):
            torch.testing.assert_close(torch.cat([part[name] for part in two]), value)
        elif name.startswith("buffer"):
            for part in two:
                torch.testing.assert_close(part[name], value)
        else:  # DDP averages these
            torch.testing.assert_close(two[0][name] + two[1][name], value)


@pytest.mark.slow
def test_two_devices_have_the_losses_of_one_with_mnorm(
    data_root: Path, recipe_path: Path, tmp_path: Path
) -> None:
    """As ``--devices`` starts them; by torchrun, see the trainer's tests."""
    settings = ["model=deepupe-mnorm", "training.validate_every=1", "training.steps=2"]
    run = Run(data_root, tmp_path / "one", accelerator="cpu")
    fit(load_recipe(str(recipe_path), settings), run)
    command = [sys.executable, "-m", "maskupe_training", "fit", str(recipe_path)]
    command += ["--data", str(data_root), "--out", str(tmp_path / "two")]
    command += ["--accelerator", "cpu", "--devices", "2"]
    command += [part for setting in settings for part in ("--set", setting)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    one, two = log_lines(tmp_path / "one"), log_lines(tmp_path / "two")
    assert len(one) == len(two) == 3, json.dumps(two)
    for single, double in zip(one[1:], two[1:], strict=True):
        assert double["loss"] == pytest.approx(single["loss"], rel=1e-4)
        assert double["val_psnr_a"] == pytest.approx(single["val_psnr_a"], abs=1e-3)
