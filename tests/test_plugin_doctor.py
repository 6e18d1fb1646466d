"""The doctor finds each broken link and names its remedy; the commands speak in sentences."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from maskupe_gimp import bundle, cli
from maskupe_gimp.doctor import Finding, examine
from maskupe_gimp.places import Place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A profile with the plug-in installed, and a state folder of its own for the daemon.

    The doctor starts a daemon and leaves it running, as a user wants it; here it is stopped.
    """
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    monkeypatch.setenv("MASKUPE_STATE_DIR", str(state))
    place = Place("test", "3.0", tmp_path / "3.0")
    bundle.copy_to(place.plug_ins)
    yield place
    subprocess.run(
        [sys.executable, "-m", "maskupe_daemon", "stop"], capture_output=True, check=False
    )


def script(place: Place) -> Path:
    return place.plug_ins / bundle.NAME / f"{bundle.NAME}.py"


def failures(place: Place) -> list[Finding]:
    """What is wrong with the files; the daemon is not asked."""
    found = []
    for finding in examine([place]):
        if "daemon" in finding.what.split()[:2]:
            break
        if not finding.ok:
            found.append(finding)
    return found


def test_a_sound_installation_lights_a_picture_up(place: Place) -> None:
    findings = list(examine([place]))
    assert [finding for finding in findings if not finding.ok] == []
    assert "a test job took" in findings[-1].what


def test_missing_and_damaged_files(place: Place) -> None:
    if os.name == "posix":
        script(place).chmod(0o644)
        assert "chmod +x" in failures(place)[0].remedy
    bundle.copy_to(place.plug_ins)
    (place.plug_ins / bundle.NAME / "vendored/msgpack/fallback.py").unlink()
    (broken, unloadable) = failures(place)
    assert "fallback.py" in broken.what
    assert "cannot load" in unloadable.what
    bundle.remove_from(place.plug_ins)
    assert "maskupe-gimp install" in failures(place)[0].remedy
    (place.plug_ins / script(place).name).touch()
    assert "loose" in failures(place)[0].what


def test_another_version(place: Place) -> None:
    launcher = script(place).parent / bundle.LAUNCHER
    values = json.loads(launcher.read_text("utf-8"))
    launcher.write_text(json.dumps({**values, "version": "0.0.1"}), "utf-8")
    assert "0.0.1" in failures(place)[0].what


def test_gimp_did_not_take_it_up(place: Place) -> None:
    pluginrc = place.profile / "pluginrc"
    pluginrc.write_text("(plug-in-def ...)")
    os.utime(pluginrc, (2**31, 2**31))
    assert "did not take it up" in failures(place)[0].what
    pluginrc.write_text('(proc-def "plug-in-maskupe-local-underexposure" 1')
    os.utime(pluginrc, (2**31, 2**31))
    assert failures(place) == []


def test_gimp_ran_before_the_plug_in_was_installed_and_not_since(place: Place) -> None:
    """The package's files are older than that: only what the installer wrote tells when it was."""
    pluginrc = place.profile / "pluginrc"
    pluginrc.write_text("(plug-in-def ...)")
    os.utime(pluginrc, (10**9, 10**9))
    os.utime(script(place), (10**8, 10**8))
    assert any("has not been started since" in finding.what for finding in examine([place]))
    assert failures(place) == []


def test_gimp_looks_elsewhere(place: Place, tmp_path: Path) -> None:
    gimprc = place.profile / "gimprc"
    gimprc.write_text(f'(plug-in-path "{tmp_path}/other:/usr/lib/gimp")\n')
    assert "elsewhere" in failures(place)[0].what
    gimprc.write_text('(plug-in-path "/usr/lib/gimp:${gimp_dir}/plug-ins")\n')
    assert failures(place) == []


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile = tmp_path / "3.2"
    profile.mkdir()
    assert cli.main(["install", "--profile", str(profile)]) == 0
    assert (profile / "plug-ins" / bundle.NAME / f"{bundle.NAME}.py").exists()
    assert "Filters > Enhance > Local Underexposure" in capsys.readouterr().out
    assert cli.main(["uninstall", "--profile", str(profile)]) == 0
    assert list((profile / "plug-ins").iterdir()) == []
    assert cli.main(["install", "--profile", str(tmp_path / "none")]) == 1
    error = capsys.readouterr().err
    assert "no such GIMP profile folder" in error
    assert "Traceback" not in error


def test_no_gimp_at_all(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PATH": ""}
    ran = subprocess.run(
        [sys.executable, "-m", "maskupe_gimp.cli", "install"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert ran.returncode == 1
    assert "No GIMP 3 was found" in ran.stderr
