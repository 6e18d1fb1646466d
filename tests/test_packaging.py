"""What is in the wheel and in the source archive: all that is needed, and nothing else."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import maskupe

ROOT = Path(__file__).resolve().parent.parent
#: The promise of the README: everything included, weights too.
LARGEST = 15_000_000
PACKAGES = (
    "maskupe",
    "daemon/maskupe_client",
    "daemon/maskupe_daemon",
    "training/maskupe_training",
    "gimp_plugin/maskupe_gimp",
)
NOT_FOR_USERS = ("__pycache__", ".pyc", ".git/", ".venv", ".cache", "runs/", ".pt", ".DS_Store")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive, made by the project's own build backend.

    Without the compiled kernel, which takes a compiler and half a minute: `make package` builds
    all of it, installs it and tries the commands.
    """
    folder = tmp_path_factory.mktemp("dist")
    pytest.importorskip("hatchling")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        cwd=ROOT,
        env=os.environ | {"MASKUPE_WITHOUT_KERNEL": "1"},
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(built.glob("*.whl")))


@pytest.fixture(scope="module")
def source(built: Path) -> list[str]:
    """Names in the source archive, from its top folder."""
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        return [name.partition("/")[2] for name in archive.getnames()]


def files_below(*folders: str) -> set[str]:
    """Every file of the packages that git knows."""
    done = subprocess.run(
        ["git", "ls-files", "--", *folders], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode or not done.stdout:
        pytest.skip("not a git checkout")
    return {name for name in done.stdout.splitlines() if (ROOT / name).is_file()}


def test_the_wheel_has_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    plug_in = "gimp_plugin/maskupe-local-underexposure"
    place = "maskupe_gimp/plug-in"
    expected = {name.replace("gimp_plugin", place) for name in files_below(plug_in)}
    for package in PACKAGES:
        above = package.rpartition("/")[0]
        names_below = {name.removeprefix(f"{above}/") for name in files_below(package)}
        expected |= {name for name in names_below if not name.endswith((".c", ".h"))}
    missing = expected - names
    assert not missing, sorted(missing)
    assert "maskupe/weights/lantern.onnx" in names and "maskupe/py.typed" in names


def test_the_wheel_has_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    information = f"maskupe-{maskupe.__version__}.dist-info"
    assert tops == {
        *("maskupe", "maskupe_client", "maskupe_daemon", "maskupe_gimp", "maskupe_training"),
        information,
    }
    assert not [name for name in wheel.namelist() if any(part in name for part in NOT_FOR_USERS)]
    assert not [name for name in wheel.namelist() if name.endswith((".c", ".h"))]
    assert f"{information}/licenses/LICENSE" in wheel.namelist()


def test_every_weight_file_has_its_graph_and_its_card_with_the_licence(
    wheel: zipfile.ZipFile,
) -> None:
    weights = [name for name in wheel.namelist() if name.endswith(".safetensors")]
    assert weights
    for name in weights:
        stem = name.removesuffix(".safetensors")
        assert f"{stem}.onnx" in wheel.namelist()
        assert "Licence of the weights" in wheel.read(f"{stem}.md").decode()


def test_the_metadata(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith("/METADATA"))
    found = email.message_from_bytes(wheel.read(name))
    assert found["Version"] == maskupe.__version__
    assert found["License-Expression"] == "Apache-2.0"
    needs = [line for line in found.get_all("Requires-Dist") if "extra ==" not in line]
    assert not [line for line in needs if line.startswith(("torch", "scipy", "ray"))], (
        "a user must not need PyTorch"
    )
    assert {"torch", "train", "ray", "test", "dev"} <= set(found.get_all("Provides-Extra"))
    commands = wheel.read(name.replace("METADATA", "entry_points.txt")).decode()
    for command in ("maskupe", "maskupe-daemon", "maskupe-gimp", "maskupe-train"):
        assert f"\n{command} = " in commands


def test_the_source_archive_has_what_a_build_and_its_tests_need(source: list[str]) -> None:
    needed = files_below(".") - {".gitignore"}
    missing = needed - set(source)
    assert not missing, sorted(missing)


def test_the_source_archive_has_nothing_else(source: list[str]) -> None:
    extra = set(source) - files_below(".") - {"PKG-INFO", ".gitignore"}
    extra = {name for name in extra if (ROOT / name).is_file()} - uncommitted()
    assert not extra, sorted(extra)
    assert not [name for name in source if any(part in name for part in NOT_FOR_USERS)]


def uncommitted() -> set[str]:
    """New files of somebody who is at work here."""
    done = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines())


def test_both_are_small(built: Path) -> None:
    for path in built.iterdir():
        assert path.stat().st_size < LARGEST, f"{path.name} has {path.stat().st_size} bytes"
