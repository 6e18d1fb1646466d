"""Preparing data sets: splits, manifests, colour spaces, what is missing."""

from __future__ import annotations

import csv
import json
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
from maskupe_training.data.open import SourceRecipe, open_source
from maskupe_training.prepare.brackets import prepare_brackets
from maskupe_training.prepare.fivek import prepare_fivek, prophoto_to_srgb
from maskupe_training.prepare.pairs import prepare_pairs
from maskupe_training.prepare.photos import prepare_photos
from maskupe_training.prepare.uieb import prepare_uieb
from tests.training.conftest import scene


def splits(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads((folder / "split.json").read_text())
    return found


def uieb_tree(root: Path, count: int = 12) -> Path:
    for number in range(count):
        write_rgb(root / "raw-890" / f"{number}_img_.png", scene(number, 64))
        write_rgb(root / "reference-890" / f"{number}_img_.png", scene(number, 64))
    return root


def test_uieb_is_divided_by_seed_and_has_a_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = uieb_tree(tmp_path / "source")
    prepare_uieb(source, tmp_path / "one", 32, 0)
    prepare_uieb(source, tmp_path / "two", 32, 0)
    prepare_uieb(source, tmp_path / "three", 32, 1)
    one = splits(tmp_path / "one")
    assert {name: len(members) for name, members in one.items()} == {"train": 11, "val": 1}
    assert one == splits(tmp_path / "two") != splits(tmp_path / "three")
    assert "12 pairs, not the 890" in capsys.readouterr().out
    assert read_rgb(tmp_path / "one" / "input" / "3_img_.png").shape == (32, 32, 3)
    assert main(["prepare", "check", str(tmp_path / "one")]) == 0
    assert "one: 25 files, all as" in capsys.readouterr().out  # 24 pictures and split.json
    recipe = SourceRecipe("pairs", "one", "val")
    assert len(open_source(recipe, tmp_path, ImageCache(32))) == 1


def test_a_manifest_notices_what_changed(tmp_path: Path) -> None:
    prepare_uieb(uieb_tree(tmp_path / "source"), tmp_path / "one", 32, 0)
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
        prepare_uieb(tmp_path / "nothing", tmp_path / "out", 32, 0)
    source = uieb_tree(tmp_path / "source")
    (source / "reference-890" / "4_img_.png").unlink()
    with pytest.raises(InputError, match=r"raw-890/4_img_\.png has no partner in .*reference-890"):
        prepare_uieb(source, tmp_path / "out", 32, 0)
    assert not (tmp_path / "out").exists()
    write_rgb(source / "reference-890" / "4_img_.png", scene(0, 50))
    with pytest.raises(InputError, match="pair '4_img_' are 64×64 and 50×50"):
        prepare_uieb(source, tmp_path / "out", 32, 0)
    with pytest.raises(InputError, match="not empty"):
        prepare_uieb(source, tmp_path / "out", 32, 0)


def fivek_tree(root: Path) -> Path:
    for number in (7, 4500, 4501, 5000):
        picture = scene(number, 60)[:40]
        write_rgb(root / "input" / f"a{number:04d}-x_DSC1.png", picture // 4)
        (root / "tiff16_c").mkdir(parents=True, exist_ok=True)
        wide = picture.astype(np.uint16) * 257
        tifffile.imwrite(root / "tiff16_c" / f"a{number:04d}-x_DSC1.tif", wide, photometric="rgb")
    return root


def test_fivek_takes_the_first_4500_to_train(tmp_path: Path) -> None:
    source = fivek_tree(tmp_path / "source")
    prepare_fivek(source, tmp_path / "out", 30)
    assert splits(tmp_path / "out") == {"train": ["a0007", "a4500"], "val": ["a4501", "a5000"]}
    target = read_rgb(tmp_path / "out" / "target" / "a4501.png")
    assert target.shape == (20, 30, 3)
    expected = cv2.resize(scene(4501, 60)[:40], (30, 20), interpolation=cv2.INTER_AREA)
    assert np.abs(target.astype(int) - expected).max() <= 1


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
    prepare_fivek(source, tmp_path / "out", 60)
    np.testing.assert_array_equal(
        read_rgb(tmp_path / "out" / "target" / "a0007.png"), prophoto_to_srgb(pixels)
    )


def test_fivek_says_what_is_missing_where(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "a0001.dng").write_bytes(b"")
    with pytest.raises(InputError, match=r"only as DNG.*Develop"):
        prepare_fivek(raw, tmp_path / "out", 30)
    source = fivek_tree(tmp_path / "source")
    write_rgb(source / "input" / "holiday.png", scene(1))
    with pytest.raises(InputError, match=r"holiday\.png does not begin with a FiveK number"):
        prepare_fivek(source, tmp_path / "out", 30)
    (source / "input" / "holiday.png").unlink()
    (source / "tiff16_c" / "a0007-x_DSC1.tif").write_bytes(b"II*\0broken")
    with pytest.raises(InputError, match=r"a0007-x_DSC1\.tif cannot be read"):
        prepare_fivek(source, tmp_path / "out", 30)


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
