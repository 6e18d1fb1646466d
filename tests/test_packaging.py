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
from maskupe import registry
from tests.untrained import needs_research_weights

pytest.importorskip("hatchling")

from tools import wheels

ROOT = Path(__file__).resolve().parent.parent
#: The promise of the README: everything included, weights too.
LARGEST = 8_000_000
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
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        cwd=ROOT,
        env=os.environ | {"MASKUPE_WITHOUT_KERNEL": "1"},
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="module")
def research(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the weights for research."""
    return wheels.build(wheels.RESEARCH, tmp_path_factory.mktemp("research"))


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


def test_every_weight_file_has_its_graph_and_its_card_and_may_be_used_for_anything(
    wheel: zipfile.ZipFile,
) -> None:
    assert wheel.filename is not None
    names = wheels.check_weights(Path(wheel.filename), registry.ANY_USE)
    assert names == ["lantern.safetensors", "matte.safetensors"]
    for name in names:
        card = wheel.read(f"maskupe/weights/{Path(name).stem}.md").decode()
        assert "| Licence of the weights | any use |" in card


@needs_research_weights
def test_the_weights_for_research_are_a_wheel_of_their_own(
    wheel: zipfile.ZipFile, research: Path
) -> None:
    found = wheels.check_weights(research, registry.RESEARCH_USE)
    assert set(found) == registry.RESEARCH_WEIGHTS
    with zipfile.ZipFile(research) as archive:
        information = next(n for n in archive.namelist() if n.endswith("/METADATA"))
        about = email.message_from_bytes(archive.read(information))
        licence = archive.read(information.replace("METADATA", "licenses/LICENSE")).decode()
    assert about["Name"] == "maskupe-research-weights"
    assert about["License-Expression"] == "LicenseRef-Research-Use-Non-Commercial"
    assert "not commercial" in " ".join(licence.split())
    with pytest.raises(wheels.WheelError, match=r"deepupe.*for 'research use, non-commercial' and"):
        wheels.check_weights(research, registry.ANY_USE)


@needs_research_weights
def test_without_the_weights_for_research_models_says_how_to_get_them_and_with_them_uses_them(
    built: Path, research: Path, tmp_path: Path
) -> None:
    """The two wheels as they are unpacked by an installer."""
    for path, folder in ((next(built.glob("*.whl")), "alone"), (research, "research")):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / folder)

    def run(*folders: str, code: str) -> subprocess.CompletedProcess[str]:
        places = os.pathsep.join(str(tmp_path / folder) for folder in folders)
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": places, "COLUMNS": "100"},
            capture_output=True,
            text=True,
            check=False,
        )

    models = "from maskupe.cli import main; main(['models'])"
    load = "from maskupe import Enhancer; print(Enhancer.load('star-dce', device='cpu'))"
    offer = "pip install 'maskupe[research]'"
    alone = run("alone", code=models).stdout
    table, _, below = alone.partition("\n\n")
    assert "lantern (default)" in table and "star-dce" not in table
    assert "For research, not installed: deepupe, star-dce, deepupe-mconcat," in below
    assert "lpf-mconcat." in below and offer in below
    refused = run("alone", code=load)
    assert refused.returncode and "No weights are installed for the model star-dce." in (
        refused.stderr
    )
    assert offer in refused.stderr
    both = run("alone", "research", code=models).stdout
    assert "star-dce-mconcat-uieb-research" in both.partition("\n\n")[0] and offer not in both
    loaded = run("alone", "research", code=load)
    assert loaded.returncode == 0, loaded.stderr


def test_the_metadata(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith("/METADATA"))
    found = email.message_from_bytes(wheel.read(name))
    assert found["Version"] == maskupe.__version__
    assert found["License-Expression"] == "Apache-2.0"
    needs = [line for line in found.get_all("Requires-Dist") if "extra ==" not in line]
    assert not [line for line in needs if line.startswith(("torch", "scipy", "ray"))], (
        "a user must not need PyTorch"
    )
    assert {"torch", "train", "ray", "research", "test", "dev"} <= set(
        found.get_all("Provides-Extra")
    )
    commands = wheel.read(name.replace("METADATA", "entry_points.txt")).decode()
    for command in ("maskupe", "maskupe-daemon", "maskupe-gimp", "maskupe-train"):
        assert f"\n{command} = " in commands


def test_the_source_archive_has_what_a_build_and_its_tests_need(source: list[str]) -> None:
    # The weights for research are not under the archive's licence.
    own = files_below(
        "research_weights/maskupe_research_weights", "research_weights/pyproject.toml"
    )
    missing = files_below(".") - own - {".gitignore"} - set(source)
    assert not missing, sorted(missing)
    assert own and not own & set(source)


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
