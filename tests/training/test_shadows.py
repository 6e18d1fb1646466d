"""Measuring deep shadows: cases, metrics, and sheets, on a few made-up photographs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from maskupe_training.cli import main
from maskupe_training.data.images import read_rgb, write_rgb
from maskupe_training.evaluation.shadows import (
    ShadowCase,
    draw_shadow_cases,
    evaluate_shadows,
    measure_shadows,
)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for number in range(4):
        coarse = rng.integers(60, 220, (6, 8, 3)).astype(np.uint8)
        photo = cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC)
        write_rgb(folder / f"p{number}.png", photo)
    return folder


def test_a_case_is_dark_and_its_splits_share_no_photograph(photographs: Path) -> None:
    tune, test = (
        list(draw_shadow_cases(photographs, split, 9, 1, 320)) for split in ("tune", "test")
    )
    assert {case.name for case in tune} == {"p0.png", "p2.png"}
    assert {case.name for case in test} == {"p1.png", "p3.png"}
    for case in tune + test:
        # 3.5 stops are at most a quarter of the encoded value.
        assert case.image.mean() < 0.35 * case.truth.mean()
        assert 0.1 < (case.selection > 0).mean() < 0.5


def test_the_truth_is_perfect_and_noise_is_counted_where_it_is(photographs: Path) -> None:
    case = next(draw_shadow_cases(photographs, "test", 1, 1, 320))
    perfect = measure_shadows(case, case.truth)
    assert perfect["psnr"] > 90
    assert max(perfect["colour"], perfect["chroma_noise"], perfect["luma_noise"]) < 1e-3
    gray = np.random.default_rng(0).normal(0, 8, (*case.selection.shape, 1))
    noisy = np.clip(np.rint(case.truth + gray), 0, 255).astype(np.uint8)
    measured = measure_shadows(case, noisy)
    assert measured["luma_noise"] > 4 * measured["chroma_noise"]


def test_denoising_lowers_both_noises_and_the_sheet_shows_it(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluate_shadows(photographs, "lantern", "test", 2, 1, (0, "auto"), 320, 1)
    without, clean = found["denoise 0"], found["denoise auto"]
    assert clean["chroma_noise"] < 0.8 * without["chroma_noise"]
    assert clean["luma_noise"] < without["luma_noise"]
    assert clean["psnr"] > without["psnr"]
    capsys.readouterr()
    arguments = ["evaluate-shadows", str(photographs), "--cases", "1", "--long-edge", "320"]
    assert main([*arguments, "--out", str(tmp_path / "sheets")]) == 0
    assert "denoise auto" in capsys.readouterr().out
    (sheet,) = (tmp_path / "sheets").iterdir()
    case: ShadowCase = next(draw_shadow_cases(photographs, "test", 1, 1, 320))
    assert sheet.stem == Path(case.name).stem
    picture = read_rgb(sheet).astype(float)
    assert picture.shape == (240, 4 * 280, 3)
    dark, _, _, truth = np.split(picture, 4, axis=1)
    assert dark.mean() < 0.35 * truth.mean()
