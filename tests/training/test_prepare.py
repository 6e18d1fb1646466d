"""Preparing data sets: splits, manifests, colour spaces, what is missing."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ImageCms

from maskupe.errors import InputError
from maskupe_training.cli import main
from maskupe_training.data.images import ImageCache, read_rgb, write_rgb
from maskupe_training.data.manifest import check_manifest, manifest_digest
from maskupe_training.data.source_factory import SourceRecipe, open_source
from maskupe_training.data.splits import fivek_split
from maskupe_training.prepare.brackets import prepare_brackets
from maskupe_training.prepare.fivek import develop, prepare_fivek, prophoto_to_srgb
from maskupe_training.prepare.pairs import prepare_pairs
from maskupe_training.prepare.photos import prepare_photos
from maskupe_training.prepare.uieb import prepare_uieb
from tests.training.conftest import scene


def splits(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads((folder / "split.json").read_text())
    return found


def uieb_tree(root: Path, names: tuple[str, ...] | None = None) -> Path:
    for number, name in enumerate(names or [f"{i}_img_" for i in range(12)]):
        write_rgb(root / "raw-890" / f"{name}.png", scene(number, 64))
        write_rgb(root / "reference-890" / f"{name}.png", scene(number, 64))
    return root


def test_uieb_is_divided_by_our_lists_and_has_a_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("10151", "106_img_", "3001", "16_img_", "4", "unknown_1", "unknown_2", "unknown_3")
    source = uieb_tree(tmp_path / "source", names)
    prepare_uieb(source, tmp_path / "one", 32)
    one = splits(tmp_path / "one")
    assert {"10151", "106_img_"} <= set(one["train"])
    assert "3001" in one["val"] and {"16_img_", "4"} <= set(one["test"])
    assert sorted(name for members in one.values() for name in members) == sorted(names)
    assert "8 pairs, not the 890" in capsys.readouterr().out
    assert read_rgb(tmp_path / "one" / "input" / "3001.png").shape == (32, 32, 3)
    assert main(["prepare", "check", str(tmp_path / "one")]) == 0
    assert "one: 17 files, all as" in capsys.readouterr().out  # 16 pictures and split.json
    recipe = SourceRecipe("pairs", "one", "val")
    assert "3001" in open_source(recipe, tmp_path, ImageCache(32)).scenes


def test_a_manifest_notices_what_changed(tmp_path: Path) -> None:
    prepare_uieb(uieb_tree(tmp_path / "source"), tmp_path / "one", 32)
    before = manifest_digest(tmp_path / "one")
    write_rgb(tmp_path / "one" / "input" / "3_img_.png", scene(99, 32))
    with pytest.raises(InputError, match=r"3_img_\.png is not the file"):
        check_manifest(tmp_path / "one")
    assert manifest_digest(tmp_path / "one") != before
    (tmp_path / "one" / "input" / "3_img_.png").unlink()
    with pytest.raises(InputError, match=r"3_img_\.png is in the manifest but missing"):
        check_manifest(tmp_path / "one")


def test_uieb_says_what_is_missing_where(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match=r"no folder with the raw pictures.*raw-890"):
        prepare_uieb(tmp_path / "nothing", tmp_path / "out", 32)
    source = uieb_tree(tmp_path / "source")
    (source / "reference-890" / "4_img_.png").unlink()
    with pytest.raises(InputError, match=r"raw-890/4_img_\.png has no partner in .*reference-890"):
        prepare_uieb(source, tmp_path / "out", 32)
    assert not (tmp_path / "out").exists()
    write_rgb(source / "reference-890" / "4_img_.png", scene(0, 50))
    with pytest.raises(InputError, match="pair '4_img_' are 64×64 and 50×50"):
        prepare_uieb(source, tmp_path / "out", 32)
    with pytest.raises(InputError, match="not empty"):
        prepare_uieb(source, tmp_path / "out", 32)


def fivek_tree(root: Path) -> Path:
    for number in (7, 4500, 4501, 5000):
        picture = scene(number, 60)[:40]
        write_rgb(root / "input" / f"a{number:04d}-x_DSC1.png", picture // 4)
        (root / "tiff16_c").mkdir(parents=True, exist_ok=True)
        wide = picture.astype(np.uint16) * 257
        tifffile.imwrite(root / "tiff16_c" / f"a{number:04d}-x_DSC1.tif", wide, photometric="rgb")
    return root


def test_fivek_is_divided_as_published_with_val_from_what_is_trained_on(tmp_path: Path) -> None:
    source = fivek_tree(tmp_path / "source")
    prepare_fivek(source, tmp_path / "out", 30, workers=1)
    expected = {"train": ["a0007"], "val": ["a4500"], "test": ["a4501", "a5000"]}
    assert splits(tmp_path / "out") == expected
    target = read_rgb(tmp_path / "out" / "target" / "a4501.png")
    assert target.shape == (20, 30, 3)
    shrunk = cv2.resize(scene(4501, 60)[:40], (30, 20), interpolation=cv2.INTER_AREA)
    assert np.abs(target.astype(int) - shrunk).max() <= 1
    parts = [fivek_split(f"a{number:04d}") for number in range(1, 5001)]
    assert [parts.count(split) for split in ("train", "val", "test")] == [4400, 100, 500]


def test_fivek_goes_on_where_it_was_and_lists_what_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = fivek_tree(tmp_path / "source"), tmp_path / "out"
    whole = (source / "tiff16_c" / "a4501-x_DSC1.tif").read_bytes()
    (source / "tiff16_c" / "a4501-x_DSC1.tif").write_bytes(b"II*\0broken")
    (source / "input" / "a5000-x_DSC1.png").unlink()
    write_rgb(source / "input" / "a0007-x_DSC1.png", scene(7, 60)[:30] // 4)
    prepare_fivek(source, out, 30, workers=2)
    assert splits(out) == {"train": [], "val": ["a4500"], "test": []}
    with (out / "left_out.csv").open() as stream:
        reasons = {row["name"]: row["reason"] for row in csv.DictReader(stream)}
    assert "60×30 and 60×40" in reasons["a0007"]
    assert "cannot be read as a TIFF" in reasons["a4501"]
    assert reasons["a5000"] == "only a5000-x_DSC1.tif is there, not its partner"
    assert "3 pairs were left out" in capsys.readouterr().out
    # What is done is not done again, what is mended is taken up.
    done = (out / "target" / "a4500.png").stat().st_mtime_ns
    (source / "tiff16_c" / "a4501-x_DSC1.tif").write_bytes(whole)
    write_rgb(source / "input" / "a0007-x_DSC1.png", scene(7, 60)[:40] // 4)
    write_rgb(source / "input" / "a5000-x_DSC1.png", scene(5000, 60)[:40] // 4)
    prepare_fivek(source, out, 30, workers=1)
    assert splits(out) == {"train": ["a0007"], "val": ["a4500"], "test": ["a4501", "a5000"]}
    assert not (out / "left_out.csv").exists()
    assert (out / "target" / "a4500.png").stat().st_mtime_ns == done
    assert check_manifest(out) == 9
    with pytest.raises(InputError, match="begun with other settings"):
        prepare_fivek(source, out, 40, workers=1)


def test_fivek_puts_up_with_a_developer_s_other_borders(tmp_path: Path) -> None:
    source = tmp_path / "source"
    picture = scene(5, 120)
    write_rgb(source / "input" / "a0001.png", picture)
    (source / "tiff16_c").mkdir()
    inner = picture[1:-1, 1:-1].astype(np.uint16) * 257
    tifffile.imwrite(source / "tiff16_c" / "a0001.tif", inner, photometric="rgb")
    prepare_fivek(source, tmp_path / "out", 200, workers=1)
    cut = read_rgb(tmp_path / "out" / "input" / "a0001.png")
    np.testing.assert_array_equal(cut, picture[1:-1, 1:-1])


def test_fivek_s_prophoto_is_converted(tmp_path: Path) -> None:
    # Neutral colours keep their lightness; a saturated one becomes more saturated numbers.
    gray = np.full((2, 2, 3), round(0.4 * 65535), np.uint16)
    linear = 0.4**1.8
    expected = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(prophoto_to_srgb(gray).astype(float) - expected).max() < 1.0
    red = np.array([[[0.6, 0.3, 0.3]]]) * 65535
    converted = prophoto_to_srgb(red.astype(np.uint16))[0, 0].astype(int)
    assert converted[0] - converted[1] > 255 * 0.3
    source = fivek_tree(tmp_path / "source")
    path = source / "tiff16_c" / "a0007-x_DSC1.tif"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    named = profile + "ProPhoto RGB".encode("utf-16-be")
    pixels = tifffile.imread(path)
    tifffile.imwrite(path, pixels, photometric="rgb", iccprofile=named)
    prepare_fivek(source, tmp_path / "out", 60, workers=1)
    np.testing.assert_array_equal(
        read_rgb(tmp_path / "out" / "target" / "a0007.png"), prophoto_to_srgb(pixels)
    )


def test_fivek_says_what_is_missing_where(tmp_path: Path) -> None:
    raw = tmp_path / "raw photos"
    raw.mkdir()
    (raw / "a0001.dng").write_bytes(b"")
    with pytest.raises(InputError, match=r"only as DNG.*Develop") as caught:
        prepare_fivek(raw, tmp_path / "out", 30)
    assert f"find '{raw}' -name '*.dng' -exec dcraw -w -W -o 1 " in str(caught.value)
    assert not (tmp_path / "out").exists()
    source = fivek_tree(tmp_path / "source")
    write_rgb(source / "input" / "holiday.png", scene(1))
    with pytest.raises(InputError, match=r"holiday\.png does not begin with a FiveK number"):
        prepare_fivek(source, tmp_path / "out", 30)
    (source / "input" / "holiday.png").unlink()
    for path in (source / "tiff16_c").iterdir():
        path.write_bytes(b"II*\0broken")
    with pytest.raises(InputError, match=r"None of 4 pairs .*a0007-x_DSC1\.tif cannot be read"):
        prepare_fivek(source, tmp_path / "out", 30, workers=1)


def test_the_command_for_dngs_puts_what_it_makes_where_it_is_looked_for(tmp_path: Path) -> None:
    """The real shell line, with a dcraw that copies: DNGs lie in folders of folders."""
    programs, source = tmp_path / "bin", tmp_path / "five k"
    programs.mkdir()
    dcraw = programs / "dcraw"
    dcraw.write_text(
        '#!/bin/sh\nfor f; do case "$f" in *.dng) cp "$f" "${f%.dng}.tiff";; esac; done'
    )
    dcraw.chmod(0o755)
    place = source / "raw_photos" / "HQa1to700" / "photos"
    place.mkdir(parents=True)
    for name in ("a0001-x", "a0002-y"):
        tifffile.imwrite(place / f"{name}.dng", scene(1)[None][0], photometric="rgb")
    path = {"PATH": f"{programs}:{os.environ['PATH']}"}
    subprocess.run(develop(source), shell=True, check=True, env=os.environ | path)
    assert sorted(p.name for p in (source / "input").iterdir()) == ["a0001-x.tiff", "a0002-y.tiff"]


def test_brackets_are_sorted_and_their_dark_frames_found(tmp_path: Path) -> None:
    for name in ("1", "2", "3", "Label"):
        good = scene(int(name) if name != "Label" else 9).astype(float)
        for frame, gain in (("b", 0.1), ("a", 1.0), ("c", 0.3), ("d", 2.5)):
            picture = np.clip(good * gain, 0, 255).astype(np.uint8)
            write_rgb(tmp_path / "source" / name / f"{frame}.png", picture)
    prepare_brackets(tmp_path / "source", tmp_path / "out", 48, 0.34, 0)
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert sorted(index) == ["1", "2", "3"]
    assert index["2"]["frames"] == ["2_b.jpg", "2_c.jpg", "2_a.jpg", "2_d.jpg"]
    assert index["2"]["underexposed"] == ["2_b.jpg", "2_c.jpg"]
    assert index["2"]["single"] == "2_a.jpg"
    assert len(open_source(SourceRecipe("brackets", "out"), tmp_path, ImageCache(48))) == 2
    write_rgb(tmp_path / "source" / "2" / "e.png", scene(1, 20))
    with pytest.raises(InputError, match=r"e\.png is not as large"):
        prepare_brackets(tmp_path / "source", tmp_path / "other", 48, 0.34, 0)


def test_pairs_and_photos(data_root: Path, tmp_path: Path) -> None:
    prepare_pairs(data_root / "pairs", tmp_path / "pairs", 24, 0.34, 0)
    assert {name: len(m) for name, m in splits(tmp_path / "pairs").items()} == {
        "train": 2,
        "val": 1,
    }
    prepare_photos(data_root / "photos", tmp_path / "photos", 24, ("CC0", "CC-BY"), 0.5, 0)
    with (tmp_path / "photos" / "index.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["file"] for row in rows] == ["f0.jpg", "f1.jpg"]
    recipe = SourceRecipe("photos", "photos", "train", licences=("CC",))
    assert len(open_source(recipe, tmp_path, ImageCache(24))) == 1
    with pytest.raises(InputError, match=r"No photograph .*MIT"):
        prepare_photos(data_root / "photos", tmp_path / "x", 24, ("MIT",), 0.5, 0)
    with pytest.raises(InputError, match=r"no .*index\.csv"):
        prepare_photos(data_root / "masks", tmp_path / "x", 24, ("MIT",), 0.5, 0)
