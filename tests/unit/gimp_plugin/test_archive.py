"""The archive that people unpack themselves: complete, told how, and it finds what it needs."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from maskupe import __version__
from maskupe_gimp import NAME, bundle


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle.write_archive(tmp_path_factory.mktemp("dist") / "made on demand")


@pytest.fixture(scope="module")
def unpacked(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plug-in's folder, as a program that keeps modes unpacks it."""
    folder = tmp_path_factory.mktemp("plug-ins")
    with zipfile.ZipFile(archive) as content:
        for member in content.infolist():
            (folder / content.extract(member, folder)).chmod(member.external_attr >> 16)
    assert [path.name for path in folder.iterdir()] == [NAME]
    return folder / NAME


def test_it_is_what_the_installer_puts_down_and_a_readme(unpacked: Path) -> None:
    assert bundle.differences(unpacked) == [bundle.LAUNCHER]
    readme = (unpacked / "README.txt").read_text("utf-8")
    assert f"MaskUPE {__version__}" in readme and "{" not in readme
    installed = bundle.copy_to(unpacked.parent.parent / "profile")
    names = [{p.relative_to(f) for p in f.rglob("*")} for f in (unpacked, installed)]
    assert names[0] - names[1] == {Path("README.txt")}
    assert not names[1] - names[0]


def test_its_name_tells_the_version_and_its_script_can_run(archive: Path, unpacked: Path) -> None:
    assert archive.name == f"{NAME}-{__version__}.zip"
    script = unpacked / f"{NAME}.py"
    assert stat.S_IMODE(script.stat().st_mode) == 0o755
    assert stat.S_IMODE((unpacked / "README.txt").stat().st_mode) == 0o644


def test_nothing_of_the_machine_that_made_it_is_in_it(unpacked: Path) -> None:
    assert json.loads((unpacked / bundle.LAUNCHER).read_text("utf-8"))["command"] == []
    foreign = [str(Path.home()).encode(), sys.prefix.encode()]
    for path in unpacked.rglob("*"):
        assert not (path.is_file() and any(part in path.read_bytes() for part in foreign)), path


def test_the_same_sources_give_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    assert bundle.write_archive(tmp_path).read_bytes() == archive.read_bytes()


def asked(plug_in: Path, code: str, home: Path, path: Path) -> str:
    """What the plug-in's own module answers in a process with this home and search path."""
    before = "import sys; sys.path[:0] = sys.argv[1:]; from maskupe_plugin import launcher"
    folders = [str(plug_in), str(plug_in / "vendored")]
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{before}\n{code}", *folders],
        env=os.environ | {"HOME": str(home), "USERPROFILE": str(home), "PATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


COMMAND = "print(*launcher.daemon_command(), sep='|')"


@pytest.mark.skipif(sys.platform == "win32", reason="programs are named otherwise there")
def test_it_finds_the_daemon_on_the_path_then_where_pip_and_pipx_put_programs(
    unpacked: Path, tmp_path: Path
) -> None:
    home, path = tmp_path / "a home", tmp_path / "bin"
    assert asked(unpacked, COMMAND, home, path) == ""
    for folder in (home / ".local/bin", path):
        program = folder / "maskupe-daemon"
        folder.mkdir(parents=True)
        program.touch(mode=0o644)
        assert asked(unpacked, COMMAND, home, path) != f"{program}|run", "it cannot be run"
        program.chmod(0o755)
        assert asked(unpacked, COMMAND, home, path) == f"{program}|run"


@pytest.mark.skipif(sys.platform == "win32", reason="programs are named otherwise there")
def test_an_installed_plug_in_keeps_to_what_was_recorded(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "maskupe-daemon"
    program.parent.mkdir()
    program.touch(mode=0o755)
    installed = bundle.copy_to(tmp_path / "plug-ins")
    recorded = "|".join(bundle.daemon_command())
    assert asked(installed, COMMAND, tmp_path, program.parent) == recorded
    (installed / bundle.LAUNCHER).unlink()
    assert asked(installed, COMMAND, tmp_path, program.parent) == ""


@pytest.mark.parametrize(
    ("platform", "command"),
    [
        ("win32", "py -m pip install maskupe"),
        ("darwin", "pipx install maskupe"),
        ("linux", "pipx install maskupe"),
    ],
)
def test_each_system_is_told_how_to_install_in_its_own_words(
    unpacked: Path, tmp_path: Path, platform: str, command: str
) -> None:
    code = f"sys.platform = {platform!r}; print(launcher.install_command())"
    assert asked(unpacked, code, tmp_path, tmp_path) == command
    assert command in (unpacked / "README.txt").read_text("utf-8")
