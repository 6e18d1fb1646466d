"""The demo: a daemon of its own, a real photograph, an enhanced one, and nothing left running."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
import tifffile

from maskupe.areas.partition import make_areas
from maskupe.areas.transition import Transition
from maskupe.cli import main as maskupe_main
from maskupe.io import read_photo
from maskupe_daemon import demo, demo_image
from tests import photographs as ph


def command_of(process: psutil.Process) -> str:
    """The command line of a child, or nothing if it has ended and only waits to be reaped."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path, monkeypatch):
    """The demo's daemon and its state directory are gone afterwards."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(psutil.Process().children(recursive=True))
    yield
    assert not list(tmp_path.glob("maskupe-demo-*"))
    daemons = [
        process
        for process in psutil.Process().children(recursive=True)
        if process not in before and "maskupe_daemon" in command_of(process)
    ]
    # Its connection file goes first; Python needs a moment more to end.
    _, alive = psutil.wait_procs(daemons, timeout=15)
    assert not alive


def test_the_portrait_comes_out_of_the_shade(tmp_path, capsys):
    assert maskupe_main(["demo", "--out", str(tmp_path / "demo")]) == 0
    said = capsys.readouterr().out
    assert "Stopped the daemon." in said
    assert "outside the selection and its transition: 0." in said
    before, after = (float(v) for v in re.findall(r"(\d+\.\d) dB (?:before|after)", said))
    assert after > before + 3

    original = read_photo(demo_image.PORTRAIT).pixels
    mask = demo_image.silhouette(*original.shape[:2])
    dark = demo_image.shaded(original, mask, demo_image.SHADE)
    result = read_photo(tmp_path / "demo" / "result.png").pixels
    areas = make_areas(mask)
    np.testing.assert_array_equal(result[areas.c], dark[areas.c])
    assert result[areas.a].mean() > 1.3 * dark[areas.a].mean()
    sheet = read_photo(tmp_path / "demo" / "sheet.png").pixels
    assert sheet.shape == (514, 3 * 480, 3)
    assert str(tmp_path / "demo" / "sheet.png") in said


def test_one_s_own_photo_keeps_its_depth_and_format(tmp_path, capsys):
    pixels = ph.scene(90, 120, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "mine.tif", pixels, photometric="rgb")
    mask = ph.save(tmp_path / "mask.png", ph.disc(90, 120))
    command = ["--photo", str(tmp_path / "mine.tif"), "--mask", str(mask)]
    assert demo.main([*command, "--out", str(tmp_path / "out")]) == 0
    result = read_photo(tmp_path / "out" / "result.tif").pixels
    assert result.dtype == np.uint16 and result.shape == pixels.shape
    areas = make_areas(ph.disc(90, 120))
    # Beyond the fade, and beyond the reach within which edges are followed, nothing changes.
    rows, columns = np.nonzero(ph.disc(90, 120))
    reach = Transition().edge_reach(int(np.ptp(rows) + 1) * int(np.ptp(columns) + 1), 90)
    beyond = (ph.disc(90, 120) == 0).astype(np.uint8)
    far = cv2.distanceTransform(beyond, cv2.DIST_L2, 5) > 1 + max(reach, areas.width)
    assert far.any()
    np.testing.assert_array_equal(result[far], pixels[far])
    assert (result[areas.a] != pixels[areas.a]).any()
    assert "dB" not in capsys.readouterr().out  # nobody knows how it should look


def test_the_shade_takes_linear_light():
    gray = np.full((60, 60, 3), 188, np.uint8)  # 0.503 of the light
    mask = np.zeros((60, 60), np.uint8)
    mask[:, 30:] = 255
    shaded = demo_image.shaded(gray, mask, 1.0)
    assert (shaded[:, 50:] == 137).all()  # half of it
    assert (shaded[:, :10] == 188).all()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--photo", "a.png"], "go together"),
        (["--photo", "missing.png", "--mask", "missing.png"], "no file"),
        (["--model", "nonsense"], "nonsense"),
    ],
)
def test_slips_are_one_sentence(tmp_path, capsys, arguments, part):
    assert demo.main([*arguments, "--out", str(tmp_path / "out")]) in (1, 2)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("maskupe demo: ") and part in lines[0]
    assert not list(Path(tmp_path).glob("out/*"))
