"""The walk through README.md: its commands, in their order, and what it complains about.

The walk itself takes root and the root folder of a distribution: see tools/walk.py.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tools import walk
from tools.docs.markdown import ROOT, read

README = read(ROOT / "README.md")


def test_the_commands_are_those_of_the_readme_in_their_order() -> None:
    found = list(walk.steps(README, gimp=True))
    shown = [line for line in found if f"\n{line}\n" in README]
    assert shown == sorted(shown, key=README.index)
    assert shown[0] == "python3 -m venv ~/maskupe"
    assert {"maskupe-gimp install", "maskupe batch jobs.csv --workers 2", "maskupe models"} <= (
        set(shown)
    )
    wheel = found.index("pip install --quiet maskupe")
    assert found.index("maskupe-gimp install") == wheel + 1, "in the place of `pip install .`"
    assert "! maskupe-gimp install" in walk.steps(README, gimp=False)
    with pytest.raises(ValueError, match="no section '## Install'"):
        list(walk.steps(README.replace("## Install", "## Installation"), gimp=False))


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no sh")
def test_the_script_shows_each_command_and_ends_at_the_first_failure(tmp_path: Path) -> None:
    readme = "## Install\n\n```sh\necho 'a $b'\nfalse\necho never\n```\n\n## Without GIMP\n"
    text = walk.script(readme, gimp=False).replace(walk.HOME, str(tmp_path / "a home"))
    (tmp_path / "a home" / walk.FOLDER).mkdir(parents=True)
    (tmp_path / "a home" / "given").mkdir()
    (tmp_path / "a home" / "given" / "photo.jpg").touch()
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == "$ echo 'a $b'\na $b\n$ false\n"
    assert (tmp_path / "a home" / walk.FOLDER / "photo.jpg").is_file()


def test_results_that_are_missing_dark_or_changed_elsewhere_are_complained_about(
    tmp_path: Path,
) -> None:
    folder = tmp_path / walk.HOME.lstrip("/") / walk.FOLDER
    (folder / "demo").mkdir(parents=True)
    with Image.open(walk._PHOTO) as photo:
        dark = photo.convert("RGB")
    mask = Image.new("L", dark.size)
    box = tuple(side * part // 4 for part in (1, 3) for side in dark.size)
    mask.paste(255, box)
    mask.save(folder / "mask.png")
    dark.save(folder / "scan.tif")
    missing = [f"there is no {name}" for name in ("result.jpg", "batch.png", "demo/sheet.png")]
    assert walk.complaints(tmp_path) == [
        *missing,
        "scan.tif was not brightened inside of its mask",
    ]
    for name in ("result.jpg", "batch.png", "demo/sheet.png"):
        (folder / name).touch()
    light = dark.point(lambda value: min(255, value + 60))
    light.save(folder / "scan.tif")
    assert walk.complaints(tmp_path) == ["scan.tif changed far from its mask"]
    Image.composite(light, dark, mask).save(folder / "scan.tif")
    assert walk.complaints(tmp_path) == []
