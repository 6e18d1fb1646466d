"""The evaluation of edges: what its metrics say of known results, its cases, its tables."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskupe.errors import InputError
from maskupe_training.cli import main
from maskupe_training.evaluation.edge_cases import circles, edge_cases, hand_drawn, wide_loop
from maskupe_training.evaluation.edge_metrics import outline_quality, signed, steepest, wiped
from maskupe_training.evaluation.edges import markdown_tables, summarise
from maskupe_training.matte.export import card_metrics
from maskupe_training.matte.scenes import held_out

SIDE = 240


def away() -> np.ndarray:
    """Distances to a circle in the middle, positive inside."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return 60.0 - np.hypot(y - SIDE / 2, x - SIDE / 2)


def subject() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A dark disc with a soft edge: as it was, darkened to a third, and its matte."""
    rng = np.random.default_rng(0)
    truth = rng.integers(90, 200, (SIDE // 4, SIDE // 4, 3)).astype(np.uint8)
    truth = cv2.resize(truth, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    alpha = np.clip(away() / 3 + 0.5, 0, 1)
    image = truth * (1 - alpha[..., None] * 2 / 3)
    return truth, np.rint(image).astype(np.uint8), np.rint(alpha * 255).astype(np.uint8)


def lit(image: np.ndarray, weight: np.ndarray, gain: float = 3.0) -> np.ndarray:
    """Some of the light, where the weight says."""
    factor = np.exp(weight * np.log(gain))[..., None]
    result = np.clip((image / 255 + 4 / 255) * factor - 4 / 255, 0, 1)
    return np.rint(result * 255).astype(np.uint8)


def test_the_truth_has_no_error_and_a_high_ring() -> None:
    truth, image, alpha = subject()
    found = outline_quality(image, truth, truth, alpha)
    assert all(found[name] < 1e-3 for name in ("leak", "miss", "edge", "far"))
    assert found["ring"] > 45 and found["scale"] == pytest.approx(1.0)


def test_light_beyond_the_outline_is_leak_and_light_that_is_missing_miss() -> None:
    truth, image, alpha = subject()
    true_gain = np.log((truth.mean(2) + 4) / (image.mean(2) + 4)) / np.log(3)
    inside = away()
    wider = np.where((inside < -2) & (inside > -7), 1.0, true_gain)
    farther = np.where((inside < -12) & (inside > -20), 1.0, true_gain)
    tighter = np.where((inside > 2) & (inside < 6), 0.0, true_gain)
    leak, far, miss = (
        outline_quality(image, lit(image, weight), truth, alpha)
        for weight in (wider, farther, tighter)
    )
    assert leak["leak"] > 0.4 and leak["miss"] < 0.05 and leak["far"] < 0.05
    assert far["far"] > 0.1 and far["leak"] < 0.05
    assert miss["miss"] > 0.3 and miss["leak"] < 0.05
    assert leak["ring"] < 25


def test_the_level_counts_as_scale_only() -> None:
    truth, image, alpha = subject()
    weight = np.log((truth.mean(2) + 4) / (image.mean(2) + 4)) / np.log(3)
    half = outline_quality(image, lit(image, 0.5 * weight), truth, alpha)
    assert half["scale"] == pytest.approx(2.0, rel=0.05)
    assert half["leak"] < 0.05 and half["miss"] < 0.1
    nothing = outline_quality(image, image, truth, alpha)
    assert nothing["scale"] > 10


def test_flat_patches_near_the_line_are_wiped() -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(40, 120, (SIDE, SIDE, 3)).astype(np.uint8)
    selection = np.where(away() > 0, 255, 0).astype(np.uint8)
    assert wiped(image, image, selection) == 0
    flat = image.copy()
    flat[: SIDE // 2][np.abs(away()[: SIDE // 2]) < 14] = 80
    assert 0.3 < wiped(image, flat, selection) < 0.6


def test_an_even_ramp_has_a_step_of_one_and_a_cut_that_of_its_width() -> None:
    rng = np.random.default_rng(4)
    image = np.clip(rng.normal(50, 1, (SIDE, SIDE, 1)), 0, 255).repeat(3, 2).astype(np.uint8)
    selection = np.where(away() > 0, 255, 0).astype(np.uint8)
    even = lit(image, np.clip(1 + away() / 20, 0, 1))
    cut = lit(image, (away() > 0).astype(float))
    assert steepest(image, even, selection, 20) == pytest.approx(1.0, abs=0.25)
    assert steepest(image, cut, selection, 20) > 12
    assert (signed(selection) > 0).sum() == (selection > 0).sum()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """people/ (12) and skies/ (12), some of each held out."""
    root = tmp_path_factory.mktemp("edges")
    for folder in ("people/image", "people/mask", "skies"):
        (root / folder).mkdir(parents=True)
    truth, _, alpha = subject()
    y = np.mgrid[:SIDE, :SIDE][0] / SIDE
    for number in range(12):
        rolled = np.roll(truth, number * 7, axis=1)
        cv2.imwrite(str(root / "people" / "image" / f"m{number}.png"), rolled)
        cv2.imwrite(str(root / "people" / "mask" / f"m{number}.png"), alpha)
        sky = np.repeat((150 + 60 * y)[..., None], 3, axis=2).astype(np.uint8)
        sky[SIDE - 20 :] = truth[:20]
        cv2.imwrite(str(root / "skies" / f"s{number}.png"), sky)
    return root


def test_cases_follow_from_the_seed_and_their_picture_alone(data: Path) -> None:
    folders = [data / "people"]
    cases = list(edge_cases(folders, 1, held=False))
    assert len(cases) == 12
    few = {case.name: case for case in edge_cases(folders, 1, 4, held=False)}
    other = next(iter(edge_cases(folders, 2, held=False)))
    for case in cases:
        overlap = {
            kind: (np.minimum(chosen, case.alpha) > 127).sum()
            / (np.maximum(chosen, case.alpha) > 127).sum()
            for kind, chosen in case.selections.items()
        }
        assert overlap["lasso"] > 0.7 and overlap["exact"] == 1 and overlap["wide"] < 0.7
        again = few.get(case.name)
        if again is not None:
            assert np.array_equal(again.image, case.image)
            assert np.array_equal(again.selections["wide"], case.selections["wide"])
        background, inside = case.alpha == 0, case.alpha == 255
        difference = case.image[background].astype(int) - case.truth[background]
        assert np.abs(difference).mean() < 3  # noise
        assert case.image[inside].mean() < 0.8 * case.truth[inside].mean()
    assert len(few) == 4 and not np.array_equal(other.image, cases[0].image)
    held = [case.name for case in edge_cases(folders, 1)]
    assert held == [case.name for case in cases if held_out(case.name.partition("/")[2])]


def test_lines_are_off_by_as_much_as_they_say() -> None:
    shape = (away() > 0).astype(np.uint8)
    distances = []
    for seed in range(30):
        line = hand_drawn(np.random.default_rng(seed), shape, 0.008)
        ring = cv2.morphologyEx(line, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        distances.append(-away()[ring].mean() / SIDE)
    assert 0.0 < np.mean(distances) < 0.012
    wide = wide_loop(np.random.default_rng(0), shape) > 0
    extent = np.flatnonzero(wide.any(0))
    assert 1.3 < (np.ptp(extent) + 1) / 120 < 1.5


def test_circles_lie_where_there_is_no_edge(data: Path) -> None:
    found = circles(data / "skies", 1, 5, held=False)
    assert len(found) == 5
    for circle in found:
        rows = np.flatnonzero(circle.selection.any(1))
        assert rows[-1] + circle.width < SIDE - 20
        assert 4 <= circle.width < 40 and circle.image.mean() < 110
    assert circles(data / "people" / "image", 1, 5, held=False) == []


def test_the_command_prints_and_writes_what_it_measured(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "edges.json"
    arguments = ["evaluate-edges", "--data", str(data), "--folder", "people", "--all"]
    arguments += ["--photos", "skies", "--cases", "2", "--circles", "1", "--out", str(target)]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "2 cases, seed 1" in said and "wide, edges off" in said and "steepest" in said
    content = json.loads(target.read_text())
    assert content["n"] == 2 and content["request"]["held_out"] is False
    assert set(content["summary"]) == {
        kind + off for kind in ("lasso", "exact", "wide") for off in ("", ", edges off")
    }
    assert content["circles"]["circle"]["n"] == 1
    assert [case["case"] for case in content["cases"]["lasso"]] == ["people/m0", "people/m9"]
    outlines, rounds = markdown_tables(content)
    assert outlines.count("\n") == 7 and rounds.count("\n") == 3
    assert card_metrics(target, "matte")["lasso ring"] == content["summary"]["lasso"]["ring"]
    with pytest.raises(InputError, match="measures"):
        target.write_text(json.dumps(content | {"request": {"matting": "runs/other.safetensors"}}))
        card_metrics(target, "matte")
    assert main([*arguments[:3], "--folder", "nowhere"]) == 2


def test_a_summary_counts_who_is_underlit() -> None:
    rows = [{"leak": leak, "scale": scale} for leak, scale in ((0.1, 0.9), (0.3, 2.5), (0.2, 1.1))]
    found = summarise(rows)
    assert found["leak"] == pytest.approx(0.2)
    assert (found["scale"], found["underlit"]) == (1.1, 1.0)
