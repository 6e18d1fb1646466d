"""What a training refuses, as people meet it: one sentence that names the file and the remedy."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from maskupe.errors import InputError, MaskUPEError
from maskupe_training import checkpoint
from maskupe_training.cli import main
from maskupe_training.data.images import write_rgb
from maskupe_training.recipe_files import load
from maskupe_training.trainer import Run, fit

PAIRS = 'sources=[{kind = "pairs", folder = "pairs", split = "val"}]'


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file may grow beyond a size: the system refuses, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def own_data(data_root: Path, tmp_path: Path) -> Path:
    """A copy of the data that a test may damage."""
    return Path(shutil.copytree(data_root, tmp_path / "data"))


def complaint(
    recipe: Path, data: Path, settings: list[str], capsys: pytest.CaptureFixture[str]
) -> str:
    """What ``maskupe-train fit`` says of bad input; it must be one line, and status 2."""
    arguments = ["fit", str(recipe), "--data", str(data), "--out", str(data / "run")]
    capsys.readouterr()
    status = main([*arguments, *(part for text in settings for part in ("--set", text))])
    lines = capsys.readouterr().err.strip().splitlines()
    said = [line for line in lines if not line.startswith("step ")]
    assert status == 2, lines
    assert len(said) == 1, lines
    return said[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_pair_of_two_sizes(
    recipe_path: Path, own_data: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    small = np.zeros((20, 20, 3), np.uint8)
    for number in range(3):
        write_rgb(own_data / "pairs" / "target" / f"p{number}.png", small)
    settings = [PAIRS, f"training.workers={workers}"]
    said = complaint(recipe_path, own_data, settings, capsys)
    assert said.startswith(f"maskupe-train: {own_data / 'pairs' / 'input'}")
    assert "is 48×48 and" in said and "is 20×20." in said
    assert said.endswith("The two pictures of a pair must be equally large.")


def test_an_empty_folder(
    recipe_path: Path, own_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for picture in (own_data / "pairs" / "target").iterdir():
        picture.unlink()
    said = complaint(recipe_path, own_data, [PAIRS], capsys)
    assert f"The folder {own_data / 'pairs' / 'target'} has no pictures. Put .jpg" in said


def test_a_mask_folder_without_masks(
    recipe_path: Path, own_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for mask in (own_data / "masks").iterdir():
        mask.unlink()
    settings = ["masks.kinds={silhouette=1}", 'masks.silhouettes=["masks"]']
    said = complaint(recipe_path, own_data, settings, capsys)
    assert f"The mask folder {own_data / 'masks'} has no mask files. masks.silhouettes" in said
    assert "--set masks.kinds.silhouette=0" in said


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("training.stepz=1", "small.toml: training: there is no key 'stepz'. Known keys are batch"),
        ("validation.cases=0", "validation.cases is 0. Give 1 or more."),
        ("sources=[]", "The recipe has no sources. Give at least one table [[sources]]."),
        ("training.stride=4", "augmentation.size is 48, training.stride is 4. The loss needs"),
        ("training.workers=-1", "training.workers is -1. Give 0 or more, or 'auto'."),
        ("training.workers=many", "training.workers is many. Give 0 or more, or 'auto'."),
        ("training.freeze_norms=0", "training.freeze_norms is 0.0. Give a share above 0, up to"),
        ("training.precision=8-bit", "training.precision is '8-bit'. Use one of auto, 32-true"),
        ("augmentation.crop=0", "augmentation.crop is 0.0. Give a share above 0, up to 1."),
        ("model=nosuch", "There is no model 'nosuch'. There are: default, deepupe"),
        ("loss.base=l2", "loss.base is 'l2'. Use one of deepupe, l1"),
    ],
)
def test_a_recipe_that_cannot_be_trained(
    recipe_path: Path,
    data_root: Path,
    capsys: pytest.CaptureFixture[str],
    setting: str,
    words: str,
) -> None:
    assert words in complaint(recipe_path, data_root, [setting], capsys)


def test_an_accelerator_that_is_not_there(
    recipe_path: Path, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--data", str(data_root), "--out", str(tmp_path / "run"), "--accelerator", "abacus"]
    assert main(["fit", str(recipe_path), *where]) == 2
    assert "There is no accelerator 'abacus' on this machine. Use one of auto, cpu" in (
        capsys.readouterr().err
    )


def test_a_training_on_a_full_disk_leaves_its_last_good_checkpoint(
    recipe_path: Path, data_root: Path, tmp_path: Path
) -> None:
    """And goes on from there once there is space."""
    run = Run(data_root, tmp_path / "run", accelerator="cpu")
    again = Run(data_root, tmp_path / "run", resume=True, accelerator="cpu")
    longer = load(str(recipe_path), ["training.steps=4"])
    fit(load(str(recipe_path), ["training.steps=2"]), run)
    before = (run.out / "last.pt").read_bytes()
    with disk_of(1_000_000), pytest.raises(MaskUPEError) as caught:
        fit(longer, again)
    assert str(caught.value).startswith(f"{run.out / 'last.pt'} could not be written: File too")
    assert "The last good last.pt is kept. Free some space, then use --resume." in str(caught.value)
    assert (run.out / "last.pt").read_bytes() == before
    assert not list(run.out.glob("*.tmp*"))
    fit(longer, again)
    assert checkpoint.read(run.out / "last.pt")["step"] == 4


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"step": 1, "weights": torch.ones(10)})
    with disk_of(50_000), pytest.raises(MaskUPEError, match=r"last\.pt could not be written"):
        checkpoint.save(path, {"step": 2, "weights": torch.ones(100_000)})
    assert checkpoint.read(path)["step"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.pt"]


def test_a_run_s_folder_that_cannot_be_made(
    recipe_path: Path, data_root: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    run = Run(data_root, tmp_path / "file" / "run", accelerator="cpu")
    with pytest.raises(MaskUPEError, match=r"recipe\.json could not be written: .*another --out"):
        fit(load(str(recipe_path)), run)


def test_a_bit_of_a_checkpoint_that_has_changed_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    state = {"step": 3, "model": {"w": torch.randn(40, 50)}, "note": "x"}
    checkpoint.save(tmp_path / "last.pt", state)
    read = checkpoint.read(tmp_path / "last.pt")
    assert torch.equal(read["model"]["w"], state["model"]["w"])
    content = (tmp_path / "last.pt").read_bytes()
    rng = np.random.default_rng(0)
    places = [*rng.integers(0, len(content), 200), *range(len(content) - 40, len(content))]
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "last.pt").write_bytes(flipped)
        with pytest.raises(InputError, match=r"last\.pt is damaged"):
            checkpoint.read(tmp_path / "last.pt")
    for short in (content[:-1], content[:-40], content + b"\0"):
        (tmp_path / "last.pt").write_bytes(short)
        with pytest.raises(InputError, match=r"last\.pt is damaged"):
            checkpoint.read(tmp_path / "last.pt")


def test_a_checkpoint_of_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", 99)
        checkpoint.save(tmp_path / "last.pt", {"step": 7})
    with pytest.raises(InputError, match=r"last\.pt is not a checkpoint of this version"):
        checkpoint.read(tmp_path / "last.pt")
