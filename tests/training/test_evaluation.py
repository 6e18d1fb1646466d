"""Evaluation: baselines, intervals, cases, the commands, strips of degrees."""

from __future__ import annotations

import csv
import json
import math
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.color import lab2rgb

from maskupe import Enhancer
from maskupe.areas.partition import make_areas
from maskupe.areas.transition import Transition
from maskupe.errors import InputError
from maskupe.inference.build import build, save
from maskupe.preprocess.srgb import decode_srgb, encode_srgb
from maskupe.registry import resolve
from maskupe_training.ablation import VARIANTS, variants
from maskupe_training.cli import main
from maskupe_training.data.images import luma, read_rgb, write_rgb
from maskupe_training.evaluation.baselines import BASELINES, SLOW, blended
from maskupe_training.evaluation.cases import Case
from maskupe_training.evaluation.lime import lime, refine
from maskupe_training.evaluation.measure import COLUMNS, OF_A, ciede2000, interval, measure
from maskupe_training.evaluation.report import card_metrics, command
from maskupe_training.evaluation.run import Request, evaluate
from maskupe_training.raw import as_u8, load_network, raw_results
from maskupe_training.recipe_files import load
from maskupe_training.trainer import Run, fit
from tests.training.conftest import scene
from tests.untrained import copy_matting


def case(exposure: float = -3.0) -> Case:
    """A photograph, darkened in linear light, with a disc in the middle as the selection."""
    truth = scene(3, 80)
    dark = encode_srgb(decode_srgb(truth / np.float32(255)) * np.float32(2.0**exposure))
    image = np.rint(dark * 255).astype(np.uint8)
    y, x = np.mgrid[:80, :80]
    selection = (np.hypot(x - 40, y - 40) < 22).astype(np.float32)
    areas = make_areas(selection)
    return Case("c", 0, "disc", image, truth, selection, Transition(), areas)


def score(name: str, one: Case) -> float:
    output = np.rint(blended(one, BASELINES[name]).clip(0, 1) * 255).astype(np.uint8)
    return measure(one, output)["psnr_a"]


def test_srgb_s_transfer_function_is_its_inverse_s_inverse() -> None:
    levels = np.linspace(0, 1, 256, dtype=np.float32)
    np.testing.assert_allclose(encode_srgb(decode_srgb(levels)), levels, atol=1e-5)
    assert decode_srgb(np.float32([0.5]))[0] == pytest.approx(0.21404, abs=1e-4)


@pytest.mark.parametrize("name", ["auto gamma", "linear gain"])
def test_automatic_baselines_reach_their_level_in_a(name: str) -> None:
    one = case()
    output = blended(one, BASELINES[name])
    assert 255 * luma(output)[one.areas.a].mean() == pytest.approx(115, abs=2)


def test_baselines_are_ordered_as_they_must_be() -> None:
    one = case()
    scores = {name: score(name, one) for name in BASELINES}
    assert scores["oracle gamma"] >= scores["auto gamma"] - 0.05
    assert scores["oracle gain"] >= scores["linear gain"] - 0.05
    # The picture was darkened by a gain, so the oracle gain undoes it, up to 8 bits.
    assert scores["oracle gain"] > 30
    assert all(scores[name] > scores["input"] for name in BASELINES if name != "input")


def test_baselines_leave_c_alone() -> None:
    one = case()
    for name, baseline in BASELINES.items():
        output = np.rint(blended(one, baseline).clip(0, 1) * 255).astype(np.uint8)
        np.testing.assert_array_equal(output[one.areas.c], one.image[one.areas.c], err_msg=name)


def test_lime_lights_up_and_smooths_texture_but_not_edges() -> None:
    rng = np.random.default_rng(0)
    initial = np.where(np.arange(60)[None] < 30, 0.2, 0.7) + rng.normal(0, 0.03, (60, 60))
    initial = np.clip(initial, 0, 1)
    refined = refine(initial)
    left, right = refined[5:-5, 5:25], refined[5:-5, 35:55]
    assert left.std() < 0.5 * initial[5:-5, 5:25].std()
    assert right.mean() - left.mean() == pytest.approx(0.45, abs=0.05)
    assert abs(refined[30, 31] - refined[30, 28]) > 0.3
    dark = scene(1).astype(np.float32) / 1000
    assert lime(dark).mean() > 1.5 * dark.mean()
    assert lime(np.zeros((8, 8, 3), np.float32)).max() == 0.0


def test_lime_s_refinement_solves_its_equation() -> None:
    # α large against nothing to smooth: a constant map is its own solution.
    np.testing.assert_allclose(refine(np.full((12, 9), 0.4)), 0.4, atol=1e-6)


def test_intervals_cover_the_mean_and_narrow_with_more_scenes() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.normal(20, 3, 20), rng.normal(20, 3, 500)
    for values in (few, many):
        low, high = interval(values, range(len(values)))
        assert low < values.mean() < high
        half = 1.96 * values.std() / math.sqrt(len(values))
        assert high - low == pytest.approx(2 * half, rel=0.2)
    assert interval(np.array([3.0]), [0]) == (3.0, 3.0)


def test_cases_of_one_scene_are_no_further_evidence() -> None:
    values = np.random.default_rng(1).normal(20, 3, 30)
    once = interval(values, range(30))
    assert interval(np.repeat(values, 4), np.repeat(range(30), 4)) == pytest.approx(once, abs=0.1)
    low, high = interval(np.repeat(values, 4), range(120))
    assert high - low < 0.6 * (once[1] - once[0])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    config = resolve("deepupe-mconcat")
    save(path, config, build(config), {"recipe": {}})
    return path


def test_the_command_measures_a_weight_file(
    weights: Path, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["evaluate", str(weights), "--data", str(data_root), "--folder", "brackets"]
    arguments += ["--split", "val"]
    status = main([*arguments, "--cases", "3", "--out", str(out), "--no-baselines"])
    assert status == 0
    content = json.loads((out / "evaluation.json").read_text())
    assert set(content["summary"]) == {"linear gain", "tiny"}
    assert content["summary"]["tiny"]["n"] == 3
    assert content["summary"]["tiny"]["largest_c"] == 0.0
    with (out / "evaluation.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 6 and set(COLUMNS) < set(rows[0])
    mean = np.mean([float(row["psnr_a"]) for row in rows if row["method"] == "tiny"])
    assert content["summary"]["tiny"]["psnr_a"] == pytest.approx(mean)
    kinds = content["kinds"]
    assert sum(kind["n"] for kind in kinds.values()) == 3
    for metric in OF_A:
        overall = sum(kind["n"] * kind["tiny"][metric] for kind in kinds.values()) / 3
        assert overall == pytest.approx(content["summary"]["tiny"][metric]), metric
    # input, linear gain, tiny, truth
    assert read_rgb(out / "sheet.jpg").shape == (3 * 274, 4 * 258, 3)
    of_card = card_metrics(out / "evaluation.json", "tiny")
    assert of_card["brackets_val_psnr_a"] == round(mean, 2)
    assert (of_card["brackets_val_n"], of_card["brackets_val_seed"]) == (3, 2)
    assert of_card["brackets_val_long_edge"] == 512
    # The command beside the number measures it again.
    words = shlex.split(of_card["brackets_val_command"].replace("DATA", str(data_root)))[1:-2]
    assert main([*words, "--out", str(tmp_path / "again")]) == 0
    again = json.loads((tmp_path / "again" / "evaluation.json").read_text())
    assert again["summary"] == content["summary"]
    with pytest.raises(InputError, match="does not measure 'other'"):
        card_metrics(out / "evaluation.json", "other")
    written = (out / "evaluation.md").read_text()
    assert "linear gain" in written
    assert all(f"{kind.replace('_', ' ')} (" in written for kind in kinds)
    for title in ("PSNR A", "PSNR A, gamma-aligned", "SSIM A", "SSIM paper", "ΔE00 A"):
        assert f"\n| {title} | " in written, title
    printed = capsys.readouterr().out
    assert "tiny" in printed and f"{mean:.2f}" in printed and "PSNR A" in printed


def test_noise_reduction_is_measured_where_it_is_asked_for(data_root: Path) -> None:
    plain = Request(("lantern",), folder="brackets", split="val", cases=2, baselines=False)
    asked = replace(plain, denoise="auto")
    before, after = (evaluate(request, data_root)["lantern"] for request in (plain, asked))
    assert before["psnr_a"] != after["psnr_a"]
    assert before["psnr_a"] == pytest.approx(after["psnr_a"], abs=3.0)
    assert " --denoise auto " in command(asdict(asked))
    assert "--denoise" not in command(asdict(plain))
    with pytest.raises(InputError, match=r"noise reduction of 7\.0 is out of range"):
        evaluate(replace(plain, denoise=7.0), data_root)


def test_following_edges_is_measured_where_it_is_asked_for(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []
    enhance = Enhancer.enhance

    def noticed(*arguments: Any, **options: Any) -> Any:
        used.append(options["transition"].edges)
        return enhance(*arguments, **options)

    monkeypatch.setattr(Enhancer, "enhance", noticed)
    plain = Request(("lantern",), folder="brackets", split="val", cases=1, baselines=False)
    asked = replace(plain, edges="auto")
    for request in (plain, asked):
        evaluate(request, data_root)
    assert used == ["off", "auto"]
    assert " --edges auto " in command(asdict(asked))
    assert "--edges" not in command(asdict(plain))
    with pytest.raises(InputError, match="following edges"):
        evaluate(replace(plain, edges=-1.0), data_root)


@pytest.mark.slow
def test_the_same_backbone_trained_globally_joins_and_is_blended(
    weights: Path, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    installed = resolve("deepupe")
    save(tmp_path / "deepupe.safetensors", installed, build(installed), {"recipe": {}})
    monkeypatch.setattr("maskupe.registry.weights_folders", lambda: (tmp_path,))
    copy_matting(tmp_path)
    request = Request((str(weights),), folder="brackets", split="val", cases=2)
    quick = [name for name in BASELINES if name not in SLOW]
    assert list(evaluate(request, data_root)) == [*quick, "tiny", "deepupe, blended"]
    request = replace(request, slow=True, raw=True)
    summaries = evaluate(request, data_root, tmp_path / "out")
    methods = ["tiny", "tiny, raw", "deepupe, blended", "deepupe, raw"]
    assert list(summaries) == [*BASELINES, *methods]
    request = replace(request, slow=False, raw=False)
    row = summaries["deepupe, blended"]
    # Blended like the baselines: exact in C, and no seam at either contour of the feathered edge.
    assert row["largest_c"] == 0.0 and row["share_c"] == 0.0
    assert row["step"] < 3.0
    assert card_metrics(tmp_path / "out" / "evaluation.json", "deepupe")
    # Given by hand it does not join a second time, nor may two rows have one name.
    given = str(tmp_path / "deepupe.safetensors")
    twice = replace(request, models=(str(weights), given))
    assert list(evaluate(twice, data_root))[-2:] == ["tiny", "deepupe, blended"]
    with pytest.raises(InputError, match="Two of the methods are called 'deepupe, blended'"):
        evaluate(replace(request, models=(given, given)), data_root)


def test_the_network_alone_is_f_of_image_and_mask(weights: Path) -> None:
    """By an independent way: the loaded network's own forward, rounded to 8 bits."""
    one = case()
    network = load_network(str(weights))
    image = torch.from_numpy(one.image / np.float32(255)).permute(2, 0, 1)[None]
    areas = torch.from_numpy(np.stack([one.areas.a, one.areas.b]).astype(np.float32))[None]
    with torch.no_grad():
        expected = network(image, areas).image[0].permute(1, 2, 0).numpy().clip(0, 1) * 255
    (found,) = raw_results(network, one.image, one.areas)
    np.testing.assert_allclose(as_u8(found), expected, atol=0.51)
    # What is measured of it is C as well, where the product changes nothing.
    values = measure(one, as_u8(found))
    assert values["share_c"] > 0.9 and values["largest_c"] > 20


def test_raw_rows_stand_beside_what_ships_and_only_the_wanted_kinds_are_drawn(
    weights: Path, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", str(weights), "--data", str(data_root), "--folder", "brackets"]
    arguments += ["--split", "val", "--cases", "3", "--no-baselines", "--raw"]
    assert main([*arguments, "--kinds", "paper_circle", "--out", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "evaluation.json").read_text())
    assert list(content["kinds"]) == ["paper_circle"]
    summary = content["summary"]
    assert list(summary) == ["linear gain", "tiny", "tiny, raw"]
    assert summary["tiny"]["share_c"] == 0.0 < summary["tiny, raw"]["share_c"]
    # In A the product blends nothing in: the two agree but for the region's own averages.
    assert summary["tiny, raw"]["psnr_a"] == pytest.approx(summary["tiny"]["psnr_a"], abs=0.3)
    found = card_metrics(tmp_path / "evaluation.json", "tiny")
    assert found["brackets_val_raw_psnr_a"] == round(summary["tiny, raw"]["psnr_a"], 2)
    assert "--kinds paper_circle --raw --no-baselines" in found["brackets_val_command"]
    capsys.readouterr()
    assert main([*arguments, "--kinds", "square"]) == 2
    assert "--kinds 'square' cannot be drawn. Use paper_circle, " in capsys.readouterr().err
    assert main([*arguments, "--kinds", "silhouette"]) == 2
    assert "--silhouettes, which names folders" in capsys.readouterr().err


def test_ciede2000_is_that_of_the_standard_s_test_data() -> None:
    # Sharma, Wu and Dalal 2005, pair 25: a difference of 1.2644 where ΔE*ab is 1.8731.
    lab = np.array([[[60.2574, -34.0099, 36.2677]], [[60.4626, -34.1751, 39.4387]]])
    one, other = (lab2rgb(pixel[None])[0] for pixel in lab)
    assert ciede2000(one, other) == pytest.approx(1.2644, abs=0.001)
    assert ciede2000(one, one) == 0.0


def test_the_strip_shows_every_degree(weights: Path, tmp_path: Path) -> None:
    photo, mask = tmp_path / "photo.png", tmp_path / "mask.png"
    write_rgb(photo, scene(4, 64) // 5)
    selected = np.zeros((64, 64, 3), np.uint8)
    selected[16:48, 16:48] = 255
    write_rgb(mask, selected)
    arguments = ["strip", str(photo), "--model", str(weights), "--mask", str(mask)]
    out = tmp_path / "strip.png"
    assert main([*arguments, "--values", "1.2,1,0.8", "-o", str(out)]) == 0
    strip = read_rgb(out)
    assert strip.shape == (274, 4 * 258, 3)
    # A smaller degree of an illumination map is brighter, inside A; C stays the same.
    cells = [strip[18:, 258 * i : 258 * i + 256] for i in (1, 2, 3)]
    inside = [cell[100:156, 100:156].mean() for cell in cells]
    assert inside[0] < inside[1] < inside[2]
    assert np.array_equal(cells[0][:20, :20], cells[2][:20, :20])
    assert main([*arguments, "--by", "strength", "--values", "0,1", "-o", str(out)]) == 0
    assert main([*arguments, "--raw", "--values", "1", "-o", str(tmp_path / "raw.png")]) == 0
    raw = read_rgb(tmp_path / "raw.png")[18:, 258 : 258 + 256]
    np.testing.assert_array_equal(raw[100:156, 100:156], cells[1][100:156, 100:156])
    assert raw[:20, :20].mean() > cells[1][:20, :20].mean() + 5
    assert main([*arguments, "--raw", "--by", "strength", "-o", str(out)]) == 2
    # A strength of 0 is the input; a degree and a strength of 1 are the same, the model's proposal.
    none, one = (read_rgb(out)[18:, 258 * i : 258 * i + 256].astype(int) for i in (1, 2))
    assert one[100:156, 100:156].mean() > none[100:156, 100:156].mean() + 5
    assert np.abs(one - cells[1]).mean() < 0.5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "nosuch", "--cases", "2"], "There is no model 'nosuch'"),
        (["evaluate", "--folder", "nowhere"], "There is no data folder"),
        (["fit", "star-dce", "--set", "x=1"], "no key 'x'"),
        (["fit", "star-dce"], "There is no data folder"),
        (["strip", "none.png", "-o", "x.png"], "There is no file none.png"),
        (["export", "none", "-o", "x.safetensors"], "There is no checkpoint none"),
        (["prepare", "uieb", "none", "out"], "none has no folder with the raw pictures"),
        (["fit"], "Missing argument"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MASKUPE_DATA", str(tmp_path))
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("without_graphs")
def test_the_ablation_compares_every_form_and_goes_on_where_it_was(
    data_root: Path, recipe_path: Path, tmp_path: Path
) -> None:
    settings = ["training.steps=1", "masks.coverage=[0.1, 0.9]"]
    arguments = ["ablation", str(recipe_path), "--data", str(data_root), "--out", str(tmp_path)]
    arguments += ["--cases", "2", *(part for text in settings for part in ("--set", text))]
    names = ["without-smoothness", "smooth-illumination", "smooth-image", "smooth-gain"]
    done = load(str(recipe_path), [*settings, *VARIANTS[names[0]]])
    fit(done, Run(data_root, tmp_path / names[0]))
    finished = (tmp_path / names[0] / "last.pt").stat().st_mtime_ns
    assert main(arguments) == 0
    assert (tmp_path / names[0] / "last.pt").stat().st_mtime_ns == finished
    content = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert list(content["summary"]) == ["linear gain", *names]
    # Input, linear gain, four variants, truth.
    assert read_rgb(tmp_path / "evaluation" / "sheet.jpg").shape == (2 * 274, 7 * 258, 3)
    recipes = {name: json.loads((tmp_path / name / "recipe.json").read_text()) for name in names}
    losses = {name: recipe["loss"] for name, recipe in recipes.items()}
    assert losses["without-smoothness"]["two_areas"] and losses["smooth-gain"]["beta"] == 0.001


def test_only_networks_with_an_illumination_smooth_it() -> None:
    assert "smooth-illumination" in variants(load("deepupe-mconcat"))
    assert variants(load("star-dce-mconcat")) == [
        "without-smoothness",
        "smooth-image",
        "smooth-gain",
    ]
