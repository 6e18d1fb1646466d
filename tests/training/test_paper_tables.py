"""``maskupe-train tables``: from data in the published layouts to the paper's Tables 1 and 2."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from maskupe_training.cli import main
from maskupe_training.data.images import read_rgb, write_rgb
from maskupe_training.paper_tables import PAPER
from tests.training.conftest import scene


def published_fivek(root: Path) -> Path:
    """Some of MIT-Adobe FiveK: developed inputs as TIFF, and Expert C with 16 bits."""
    for number in (1, 2, 3, 45, 4501, 4502):
        picture = scene(number, 96)[:64]
        name = f"a{number:04d}-somebody_DSC{number}.tif"
        for folder, pixels in (("input", picture // 3), ("tiff16_c", picture)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            wide = pixels.astype(np.uint16) * 257
            tifffile.imwrite(root / folder / name, wide, photometric="rgb")
    return root


def published_uieb(root: Path) -> Path:
    """Some of UIEB, of all three lists."""
    for number, name in enumerate(("10151", "106_img_", "3001", "4", "16_img_", "73_img_")):
        write_rgb(root / "raw-890" / f"{name}.png", scene(number, 80)[:64] // 2)
        write_rgb(root / "reference-890" / f"{name}.png", scene(number, 80)[:64])
    return root


def test_the_weights_that_are_here_are_measured_on_the_test_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fivek, uieb = published_fivek(tmp_path / "FiveK"), published_uieb(tmp_path / "UIEB")
    arguments = ["tables", "--fivek", str(fivek), "--uieb", str(uieb), "--shipped"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "tables.json").read_text())
    assert {name: set(rows) - {"command"} for name, rows in found.items()} == {
        name: set(rows) for name, rows in PAPER.items()
    }
    assert {rows["star-dce-mnorm"]["n"] for rows in found.values()} == {2, 3}
    for name, rows in found.items():
        own = json.loads((tmp_path / "out" / name / "evaluation.json").read_text())
        assert list(own["kinds"]) == ["paper_circle"]
        for model in PAPER[name]:
            measured = own["summary"][f"{model}, raw"]
            assert rows[model]["psnr"] == measured["psnr_a"] != own["summary"][model]["psnr_a"]
            assert rows[model]["ssim"] == measured["ssim_paper"]
    text = (tmp_path / "out" / "tables.md").read_text()
    assert text in capsys.readouterr().out
    psnr = found["uieb"]["star-dce-mnorm"]["psnr"]
    line = next(line for line in text.splitlines() if line.startswith("| star-dce-mnorm "))
    assert f"| {psnr:.2f} | 17.77 |" in line
    assert "weights that come with the package." in text
    assert "2 of the about 500 test pictures of MIT-Adobe FiveK are here: " in text


@pytest.mark.slow
def test_one_command_prepares_trains_and_measures_and_goes_on_where_it_was(
    tmp_path: Path,
) -> None:
    uieb, out = published_uieb(tmp_path / "UIEB"), tmp_path / "out"
    settings = ["training.steps=1", "training.batch=2", "augmentation.size=64"]
    settings += ["validation.cases=1", "training.validate_every=1"]
    arguments = ["tables", "--uieb", str(uieb), "--out", str(out)]
    arguments += [part for setting in settings for part in ("--set", setting)]
    assert main(arguments) == 0
    first = json.loads((out / "tables.json").read_text())
    recipes = {path.name for path in (out / "runs").iterdir()}
    assert recipes == {f"paper-{model}-uieb" for model in PAPER["uieb"]}
    prepared = (out / "data" / "uieb" / "input" / "4.png").stat().st_mtime_ns
    assert read_rgb(out / "data" / "uieb" / "input" / "4.png").shape == (64, 80, 3)
    trained = (out / "runs" / "paper-star-dce-mnorm-uieb" / "last.pt").stat().st_mtime_ns
    assert main(arguments) == 0
    assert json.loads((out / "tables.json").read_text()) == first
    assert (out / "data" / "uieb" / "input" / "4.png").stat().st_mtime_ns == prepared
    assert (out / "runs" / "paper-star-dce-mnorm-uieb" / "last.pt").stat().st_mtime_ns == trained
    assert "the paper's recipes, with training.steps=1" in (out / "tables.md").read_text()


def test_without_data_or_in_another_layout_a_sentence_says_what_to_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert main(["tables", *out]) == 2
    assert "Give --fivek, --uieb, or both." in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["tables", "--uieb", str(tmp_path / "empty"), *out]) == 2
    assert (
        "no folder with the raw pictures. It should be one of: raw-890" in capsys.readouterr().err
    )
