"""Lists of scenes: what is trained on, chosen by and reported on, and what weights say of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from maskupe.inference.build import build, save
from maskupe.registry import resolve
from maskupe.weights_file import read_header
from maskupe_training.cli import main
from maskupe_training.data.images import ImageCache, write_rgb
from maskupe_training.data.source_factory import SourceRecipe, open_source
from maskupe_training.data.sources import split_names
from maskupe_training.data.splits import (
    SPLITS,
    Seen,
    describe_seen,
    divide,
    list_digest,
    scene_record,
    seen_scenes,
)
from maskupe_training.export import export
from maskupe_training.prepare.brackets import prepare_brackets
from maskupe_training.raw import weight_file
from maskupe_training.recipe_files import load
from maskupe_training.trainer import Run, fit
from tests.training.conftest import scene
from tests.untrained import needs_research_weights

#: The lists as they stand: whoever changes one changes what all published numbers are about.
LISTS = {
    "sice": (
        {"train": 150, "val": 20, "test": 20},
        "cbcb776d270b2f89be0ffe5deb1f3aee215d9a6e911409027eb880de40e88976",
    ),
    "uieb": (
        {"train": 60, "val": 10, "test": 18},
        "6a3ecc00f0703c053751630fd7200f48b7e078e1f59fff427943dcf7ef47cf47",
    ),
}


def listed(data: str) -> dict[str, list[str]]:
    path = Path(split_names.__code__.co_filename).parent / "lists" / f"{data}.json"
    content = json.loads(path.read_text())
    return {split: content[split] for split in SPLITS}


@pytest.mark.parametrize("data", LISTS)
def test_the_lists_do_not_overlap_and_do_not_change(data: str) -> None:
    lists, (counts, digest) = listed(data), LISTS[data]
    assert {split: len(names) for split, names in lists.items()} == counts
    assert len({name for names in lists.values() for name in names}) == sum(counts.values())
    assert list_digest([f"{s} {n}" for s, names in lists.items() for n in names]) == digest
    everything = [name for names in lists.values() for name in names]
    assert divide(data, everything) == {s: sorted(names) for s, names in lists.items()}


def test_unknown_scenes_stay_where_they_are_however_many_there_are() -> None:
    names = [f"{number}_unlisted" for number in range(1, 803)]
    whole = divide("uieb", names)
    share = {split: len(found) / len(names) for split, found in whole.items()}
    assert share["test"] == pytest.approx(0.1, abs=0.03)
    assert share["val"] == pytest.approx(0.05, abs=0.02)
    half = divide("uieb", names[::2])
    for split in SPLITS:
        assert set(half[split]) == set(whole[split]) & set(names[::2])


def test_a_split_without_test_gives_way_to_the_lists_where_they_know_it(tmp_path: Path) -> None:
    lists = listed("sice")
    folder = tmp_path / "sice"
    folder.mkdir()
    older = {"train": lists["train"] + lists["val"], "val": lists["test"]}
    (folder / "split.json").write_text(json.dumps(older))
    assert {s: split_names(folder, s) for s in SPLITS} == {s: sorted(n) for s, n in lists.items()}
    # Somebody's own division, or own scenes, or another folder: as their file says.
    own = {"train": ["mine"], "val": lists["test"]}
    (folder / "split.json").write_text(json.dumps(own))
    assert split_names(folder, "train") == ["mine"]
    own = {"train": lists["test"], "val": lists["train"], "test": lists["val"]}
    (folder / "split.json").write_text(json.dumps(own))
    assert split_names(folder, "train") == lists["test"]
    shutil.copytree(folder, tmp_path / "other")
    (tmp_path / "other" / "split.json").write_text(json.dumps(older))
    assert split_names(tmp_path / "other", "train") == older["train"]


def test_prepare_divides_sice_by_the_lists_and_others_by_seed(tmp_path: Path) -> None:
    names = [*listed("sice")["train"][:3], listed("sice")["val"][0], *listed("sice")["test"][:2]]
    for number, name in enumerate(names):
        for frame, gain in enumerate((0.1, 1.0)):
            picture = np.clip(scene(number) * gain, 0, 255).astype(np.uint8)
            write_rgb(tmp_path / "source" / name / f"{frame}.png", picture)
    assert main(["prepare", "brackets", str(tmp_path / "source"), str(tmp_path / "sice")]) == 0
    found = json.loads((tmp_path / "sice" / "split.json").read_text())
    assert found == {"train": names[:3], "val": names[3:4], "test": names[4:]}
    prepare_brackets(tmp_path / "source", tmp_path / "mine", 48, 0.17, 0, 0.34)
    mine = json.loads((tmp_path / "mine" / "split.json").read_text())
    assert {split: len(members) for split, members in mine.items()} == {
        "train": 3,
        "val": 1,
        "test": 2,
    }
    assert sorted(name for members in mine.values() for name in members) == sorted(names)


@needs_research_weights
@pytest.mark.parametrize(
    ("model", "folder", "trained"),
    [
        ("star-dce-mconcat", "sice", True),
        ("deepupe-mnorm", "sice", True),
        ("lantern-research", "sice", True),
        ("lantern", "sice", False),
        ("lantern-uieb-research", "uieb", True),
    ],
)
def test_what_is_known_of_the_weights_that_are_older_than_the_lists(
    model: str, folder: str, trained: bool
) -> None:
    header, lists = read_header(weight_file(model)), listed(folder)
    if "scenes" in header.metadata:
        pytest.skip("these weights were exported since, and say it themselves")
    for split in ("train", "val"):
        count = len(lists[split]) if trained else 0
        assert seen_scenes(header, folder, lists[split]) == Seen(True, count, 0)
    count = len(lists["test"])
    assert seen_scenes(header, folder, lists["test"]) == Seen(True, 0, count)
    # Scenes of UIEB have their published names, so others are new; those of SICE have not.
    assert seen_scenes(header, folder, ["elsewhere"]).known == (folder == "uieb" or not trained)
    assert seen_scenes(header, "fivek", ["a0001"]) == Seen(True, 0, 0)


@pytest.mark.usefixtures("without_graphs")
def test_a_weight_file_knows_what_it_was_trained_on_and_chosen_by(
    data_root: Path, recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = load(str(recipe_path), ["training.steps=1", "training.validate_every=1"])
    fit(recipe, Run(data_root, tmp_path / "run"))
    weights = export(tmp_path / "run" / "best.pt", tmp_path / "w.safetensors", data_root)
    record = read_header(weights).json("scenes")
    names = ["s0", "s1", "s2", "s3"]
    assert record["trained"]["brackets"]["sha256"] == list_digest(names)
    assert record == {
        "trained": scene_record({"brackets": names}),
        "chosen": scene_record({"brackets": ["s4", "s5"]}),
    }
    header = read_header(weights)
    assert seen_scenes(header, "brackets", ["s0", "s3", "s4", "new"]) == Seen(True, 2, 1)
    assert seen_scenes(header, "elsewhere", ["s0"]) == Seen(True, 0, 0)
    # The last checkpoint is not chosen by anything.
    last = export(tmp_path / "run" / "last.pt", tmp_path / "last.safetensors", data_root)
    assert seen_scenes(read_header(last), "brackets", ["s0", "s4"]) == Seen(True, 1, 0)
    capsys.readouterr()
    arguments = ["evaluate", str(weights), "--data", str(data_root), "--folder", "brackets"]
    arguments += ["--no-baselines", "--cases", "4", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--split", "train"]) == 0
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    used = len({case["case"].partition("_")[0] for case in content["cases"]["w"]})
    (note,) = content["request"]["notes"]
    assert note.startswith(f"w was trained on {used} of the {used} scenes of brackets train, so")
    assert note in capsys.readouterr().out


@pytest.mark.usefixtures("without_graphs")
def test_a_resumed_run_has_seen_what_it_saw_before(
    data_root: Path, recipe_path: Path, tmp_path: Path
) -> None:
    shutil.copytree(data_root / "brackets", tmp_path / "brackets")
    run, settings = tmp_path / "run", ["training.validate_every=1"]
    fit(load(str(recipe_path), [*settings, "training.steps=1"]), Run(tmp_path, run))
    splits = {"train": ["s0", "s4"], "val": ["s5"]}
    (tmp_path / "brackets" / "split.json").write_text(json.dumps(splits))
    longer = load(str(recipe_path), [*settings, "training.steps=2"])
    fit(longer, Run(tmp_path, run, resume=True))
    weights = export(run / "last.pt", tmp_path / "w.safetensors", tmp_path)
    trained = ["s0", "s1", "s2", "s3", "s4"]
    record = read_header(weights).json("scenes")["trained"]
    assert record == scene_record({"brackets": trained})


def test_weights_that_say_nothing_are_told_to_say_nothing(tmp_path: Path) -> None:
    config = resolve("star-dce")
    torch.manual_seed(0)
    save(tmp_path / "w.safetensors", config, build(config), {"licence": "any use"})
    seen = seen_scenes(read_header(tmp_path / "w.safetensors"), "sice", ["s0016"])
    assert seen == Seen(False, 0, 0)
    assert describe_seen("w", seen, 1, "sice test").startswith("w does not say which scenes")
    assert describe_seen("w", Seen(True, 0, 0), 9, "sice test") == ""
    both = describe_seen("w", Seen(True, 1, 2), 9, "sice test")
    assert "was trained on 1 of the 9" in both and "watched with, 2 of the 9" in both


def test_pairs_without_a_split_can_be_reported_on_but_not_trained_on(data_root: Path) -> None:
    for split in ("val", "test"):
        source = open_source(SourceRecipe("pairs", "pairs", split), data_root, ImageCache(48))
        assert source.scenes == ("p0", "p1", "p2")
