from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from maskupe.errors import InputError
from maskupe.losses import MaskedLoss
from maskupe.registry import resolve
from maskupe_training.recipe import SHIPPED, command, from_tables, load

NAMES = sorted(path.stem for path in SHIPPED.glob("[!_]*.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_recipe_names_a_model_and_a_loss_that_exist(name: str) -> None:
    recipe = load(name)
    assert resolve(recipe.model).name == recipe.model
    loss = recipe.loss
    MaskedLoss(loss.base, loss.alpha, loss.beta, loss.gamma, loss.smooth_target)
    assert recipe.about
    assert recipe.cuts or name.startswith("paper-")


@pytest.mark.parametrize("network", ["deepupe", "star-dce"])
@pytest.mark.parametrize("conditioning", ["mconcat", "mnorm"])
def test_the_paper_s_recipes_hold_the_paper_s_numbers(network: str, conditioning: str) -> None:
    recipe = load(f"paper-{network}-{conditioning}")
    assert (recipe.loss.alpha, recipe.loss.beta, recipe.loss.gamma) == (1.0, 0.001, 1.0)
    assert recipe.augmentation.size == 512
    assert dict(recipe.masks.kinds) == {"paper_circle": 1.0}
    epochs = recipe.training.steps * recipe.training.batch / 4500
    assert epochs == pytest.approx({"mconcat": 100, "mnorm": 300}[conditioning], rel=0.01)


def test_no_recipe_trains_on_what_it_validates_on() -> None:
    for name in NAMES:
        recipe = load(name)
        held_out = (recipe.validation.source.folder, recipe.validation.source.split)
        assert all((source.folder, source.split) != held_out for source in recipe.sources)


def test_settings_override_keys_and_keep_their_types(recipe_path: Path) -> None:
    recipe = load(
        str(recipe_path),
        ["training.steps=9", "optimizer.rate=2", "model=star-dce", "masks.kinds={blob=1}"],
    )
    assert recipe.training.steps == 9
    assert recipe.optimizer.rate == 2.0 and isinstance(recipe.optimizer.rate, float)
    assert recipe.model == "star-dce"
    assert dict(recipe.masks.kinds) == {"blob": 1.0}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("training.stepz=1", r"small\.toml: training: there is no key 'stepz'.*steps"),
        ("training.steps=many", "steps: 'many' is not what belongs here. Give a whole number"),
        ("training.steps=0", "Give 1 or more"),
        ("training.ema=1.0", "below 1"),
        ("training.steps", "not key=value"),
        ("model.name=1", "'model' is not a table"),
        ("optimizer.schedule=linear", "'constant' or 'cosine'"),
        ("optimizer.rate=0", "above 0"),
        ("validation.source.kind=video", "'video' is unknown"),
        ("augmentation.mirror=1", "true or false"),
        ("masks.soft=[1]", "a number"),
    ],
)
def test_keys_and_values_that_do_not_fit_are_named(
    recipe_path: Path, setting: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        load(str(recipe_path), [setting])


def test_files_that_are_no_recipes_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no recipe 'nosuch'.*star-dce-mconcat"):
        load("nosuch")
    path = tmp_path / "bad.toml"
    path.write_text("model = ")
    with pytest.raises(InputError, match=r"bad\.toml is not valid TOML"):
        load(str(path))
    path.write_text('model = "deepupe"')
    with pytest.raises(InputError, match="'about' is missing"):
        load(str(path))
    path.write_text('extends = "bad.toml"')
    with pytest.raises(InputError, match="extends itself"):
        load(str(path))


def test_a_recipe_survives_its_way_through_a_checkpoint(recipe_path: Path) -> None:
    for recipe in (load(str(recipe_path)), load("lantern")):
        assert from_tables(recipe.to_dict(), "checkpoint") == recipe


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("star-dce-mnorm", ["training.steps=77", "seed=3"]),
        ("lantern", ["about=It's ours.", "masks.kinds={blob=1, stroke=2}", "cuts=''"]),
        ("deepupe", ['sources=[{kind = "pairs", folder = "uieb", licences = ["a", "b"]}]']),
    ],
)
def test_the_command_repeats_the_recipe(name: str, changes: list[str]) -> None:
    recipe = load(name, changes)
    words = shlex.split(command(recipe))
    assert words[:3] == ["maskupe-train", "fit", name]
    assert words[3::2] == ["--set"] * len(changes)
    assert sorted(word.partition("=")[0] for word in words[4::2]) == sorted(
        change.partition("=")[0] for change in changes
    )
    assert load(name, words[4::2]) == recipe
