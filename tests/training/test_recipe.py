"""Recipes: the shipped ones, the paper's numbers, settings, what does not fit."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

import pytest

from maskupe.errors import InputError
from maskupe.registry import resolve
from maskupe_training.matte.recipe import load as load_matte
from maskupe_training.recipe import from_tables
from maskupe_training.recipe_files import SHIPPED, command, load


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_names_a_model_and_a_loss_that_exist(name: str) -> None:
    recipe = load(name)
    assert resolve(recipe.model).name == recipe.model
    assert recipe.description
    assert recipe.deviations
    for words in ("300 epochs", "100 epochs") if name.startswith("paper-") else ():
        assert words not in recipe.deviations  # those cut no epochs


@pytest.mark.parametrize(("data", "pictures", "val"), [("", 4500, 100), ("-uieb", 800, 50)])
@pytest.mark.parametrize("network", ["deepupe", "star-dce"])
@pytest.mark.parametrize(("conditioning", "epochs"), [("mconcat", 100), ("mnorm", 300)])
def test_the_paper_s_recipes_hold_the_paper_s_numbers(
    network: str, conditioning: str, epochs: int, data: str, pictures: int, val: int
) -> None:
    recipe = load(f"paper-{network}-{conditioning}{data}")
    assert recipe.model == f"{network}-{conditioning}"
    loss, training, optimizer = recipe.loss, recipe.training, recipe.optimizer
    assert (loss.alpha, loss.beta, loss.gamma) == (1.0, 0.001, 1.0)
    assert not loss.two_areas
    assert (recipe.augmentation.size, recipe.augmentation.crop) == (512, 1.0)
    assert dict(recipe.masks.kinds) == {"paper_circle": 1.0}
    folder = "uieb" if data else "fivek"
    (source,) = recipe.sources
    assert (source.kind, source.folder, source.split) == ("pairs", folder, "train")
    assert (recipe.validation.source.folder, recipe.validation.cases) == (folder, val)
    # A checkpoint is chosen on what the paper measures, but not on what is reported.
    assert recipe.validation.kinds == ("paper_circle",)
    assert recipe.validation.source.split == "val"
    # Every pixel counts, and what is exported are the weights themselves.
    assert (training.stride, training.ema, training.precision) == (1, 0.0, "auto")
    assert training.freeze_norms == 1.0
    assert training.steps == epochs * math.ceil(pictures / training.batch)
    assert optimizer.warmup == 0
    if network == "deepupe":
        # As its released training graph has it; L_B smooths the illumination, Eq. (3).
        assert (loss.base, loss.smooth_target) == ("deepupe", "illumination")
        assert (training.batch, optimizer.rate, optimizer.schedule) == (16, 1e-4, "constant")
        assert (optimizer.weight_decay, optimizer.clip) == (0.0, 0.0)
    else:
        # As STAR's public code; the paper's footnote 2: no illumination, so L_B smooths the image.
        assert (loss.base, loss.smooth_target) == ("l1", "image")
        assert (training.batch, optimizer.rate, optimizer.schedule) == (32, 1e-3, "cosine")
        assert (optimizer.weight_decay, optimizer.clip) == (1e-4, 1.0)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("deepupe-mconcat", "illumination"),
        ("deepupe-mnorm", "illumination"),
        ("lpf-mconcat", "image"),
        ("star-dce-mconcat", "gain"),
        ("star-dce-mnorm", "gain"),
        ("unet-mconcat", "image"),
        ("unet-mnorm", "image"),
        ("zero-dce-mconcat", "gain"),
    ],
)
def test_what_the_loss_smooths_fits_the_network(name: str, target: str) -> None:
    """Footnote 2: without an illumination it is the image, or the gain, which leaves texture."""
    loss = load(name).loss
    assert loss.smooth_target == target
    # B and C as in the paper; decibels are on another scale than its losses on A.
    alpha = 0.01 if loss.base == "psnr" else 1.0
    # Smooth filters cannot keep C, and would not brighten A either.
    gamma = 0.1 if name == "lpf-mconcat" else 1.0
    assert (loss.alpha, loss.beta, loss.gamma) == (alpha, 0.001, gamma)


@pytest.mark.parametrize("name", SHIPPED)
def test_what_cannot_make_a_transition_is_not_asked_to(name: str) -> None:
    """One table for the whole image, and our own curves, leave B and C to the renderer."""
    recipe = load(name)
    config = resolve(recipe.model)
    learns = recipe.loss.beta > 0 and recipe.loss.gamma > 0
    assert learns == (config.learned_transition or not config.local)


def test_no_recipe_trains_on_what_it_validates_on() -> None:
    for name in SHIPPED:
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
        ('validation.kinds=["square"]', "validation.kinds has no 'square'. Use some of paper_c"),
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
    with pytest.raises(InputError, match="'description' is missing"):
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
        ("lantern", ["description=It's ours.", "masks.kinds={blob=1, stroke=2}", "deviations=''"]),
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


@pytest.mark.parametrize("name", ["lantern", "matte"])
def test_the_former_name_of_a_description_is_understood(name: str) -> None:
    read = load if name == "lantern" else load_matte
    assert read(name, ["about=It's ours."]) == read(name, ["description=It's ours."])
    assert read(name, ["about=It's ours."]).description == "It's ours."
