"""The doctor finds each broken link and names its remedy; the commands speak in sentences."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from maskupe import registry
from maskupe_client.launcher import ensure_running
from maskupe_gimp import NAME, bundle, cli
from maskupe_gimp.doctor import Finding, examine
from maskupe_gimp.profiles import GimpProfile
from tests.untrained import needs_research_weights


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GimpProfile]:
    """A profile with the plug-in installed, and a state folder of its own for the daemon.

    The doctor starts a daemon and leaves it running, as a user wants it; here it is stopped.
    """
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    monkeypatch.setenv("MASKUPE_STATE_DIR", str(state))
    place = GimpProfile("test", "3.0", tmp_path / "3.0")
    bundle.copy_to(place.plug_ins)
    yield place
    subprocess.run(
        [sys.executable, "-m", "maskupe_daemon", "stop"], capture_output=True, check=False
    )


def script(place: GimpProfile) -> Path:
    return place.plug_ins / NAME / f"{NAME}.py"


def failures(place: GimpProfile) -> list[Finding]:
    """What is wrong with the files; the daemon is not asked."""
    found = []
    for finding in examine([place]):
        if "daemon" in finding.what.split()[:2]:
            break
        if not finding.ok and not only_lacks_gimp(finding):
            found.append(finding)
    return found


def only_lacks_gimp(finding: Finding) -> bool:
    """Whether nothing is wrong but that there is no GIMP 3; tests/gimp looks at one that has."""
    return "gir1.2-gimp-3.0" in finding.remedy


def test_a_sound_installation_lights_a_picture_up(place: GimpProfile) -> None:
    findings = list(examine([place]))
    assert [finding for finding in findings if not (finding.ok or only_lacks_gimp(finding))] == []
    assert "a test job took" in findings[-1].what


def test_missing_and_damaged_files(place: GimpProfile) -> None:
    if os.name == "posix":
        script(place).chmod(0o644)
        assert "chmod +x" in failures(place)[0].remedy
    bundle.copy_to(place.plug_ins)
    (place.plug_ins / NAME / "vendored/msgpack/fallback.py").unlink()
    assert "fallback.py" in failures(place)[0].what
    bundle.remove_from(place.plug_ins)
    assert "maskupe-gimp install" in failures(place)[0].remedy
    (place.plug_ins / script(place).name).touch()
    assert "loose" in failures(place)[0].what


def test_another_version(place: GimpProfile) -> None:
    launcher = script(place).parent / bundle.LAUNCHER
    values = json.loads(launcher.read_text("utf-8"))
    launcher.write_text(json.dumps({**values, "version": "0.0.1"}), "utf-8")
    assert "0.0.1" in failures(place)[0].what


def test_gimp_did_not_take_it_up(place: GimpProfile) -> None:
    pluginrc = place.folder / "pluginrc"
    pluginrc.write_text("(plug-in-def ...)")
    os.utime(pluginrc, (2**31, 2**31))
    assert "did not take it up" in failures(place)[0].what
    pluginrc.write_text('(proc-def "plug-in-maskupe-local-underexposure" 1')
    os.utime(pluginrc, (2**31, 2**31))
    assert failures(place) == []


def test_gimp_ran_before_the_plug_in_was_installed_and_not_since(place: GimpProfile) -> None:
    """The package's files are older than that: only what the installer wrote tells when it was."""
    pluginrc = place.folder / "pluginrc"
    pluginrc.write_text("(plug-in-def ...)")
    os.utime(pluginrc, (10**9, 10**9))
    os.utime(script(place), (10**8, 10**8))
    assert any("has not been started since" in finding.what for finding in examine([place]))
    assert failures(place) == []


def test_gimp_looks_elsewhere(place: GimpProfile, tmp_path: Path) -> None:
    gimprc = place.folder / "gimprc"
    gimprc.write_text(f'(plug-in-path "{tmp_path}/other:/usr/lib/gimp")\n')
    assert "elsewhere" in failures(place)[0].what
    gimprc.write_text('(plug-in-path "/usr/lib/gimp:${gimp_dir}/plug-ins")\n')
    assert failures(place) == []


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile = tmp_path / "3.2"
    profile.mkdir()
    assert cli.main(["install", "--profile", str(profile)]) == 0
    assert (profile / "plug-ins" / NAME / f"{NAME}.py").exists()
    assert "Filters > Enhance > Local Underexposure" in capsys.readouterr().out
    assert cli.main(["uninstall", "--profile", str(profile)]) == 0
    assert list((profile / "plug-ins").iterdir()) == []
    assert cli.main(["install", "--profile", str(tmp_path / "none")]) == 1
    error = capsys.readouterr().err
    assert "no such GIMP profile folder" in error
    assert "Traceback" not in error


@needs_research_weights
def test_without_the_weights_for_research_the_installer_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = tmp_path / "3.0"
    profile.mkdir()
    command = ["install", "--research-models", "--profile", str(profile)]
    offer = "pip install 'maskupe[research]'"
    assert cli.main(command) == 0
    assert offer not in capsys.readouterr().out
    monkeypatch.setattr(registry, "weights_folders", lambda: (registry.WEIGHTS_FOLDER,))
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert offer in said and "Then run this command again." in said
    assert cli.main(["install", "--profile", str(profile)]) == 0
    assert offer not in capsys.readouterr().out


def test_a_python_without_gi(
    place: GimpProfile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n', "utf-8")
    (programs / "python3").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    (finding,) = (f for f in examine([place]) if not f.ok)
    assert f"{programs}/python3 cannot load the plug-in" in finding.what
    assert "No module named 'gi'" in finding.what
    assert "python3-gi" in finding.remedy


@pytest.mark.skipif(sys.platform != "linux", reason="where Flatpak is")
def test_a_sandbox_needs_the_service(
    place: GimpProfile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without systemd; tests/gimp/test_sandbox.py has a real one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    boxed = replace(place, sandboxed=True)
    (finding,) = (f for f in examine([boxed]) if not f.ok)
    assert "cannot start the daemon" in finding.what
    assert "maskupe-daemon service install" in finding.remedy
    assert bundle.service("install").returncode == 0
    ensure_running(bundle.daemon_command()).close()  # as the desktop does at login
    assert all(f.ok for f in examine([boxed]))


@pytest.mark.skipif(sys.platform != "linux", reason="where Flatpak is")
def test_where_systemd_refuses_the_install_says_so_and_the_doctor_too(
    place: GimpProfile,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a terminal without a session, of root's or in a container, the plug-in is there only."""
    refusing = tmp_path / "systemctl"
    refusing.write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2; exit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    boxed = replace(place, sandboxed=True)
    bundle.remove_from(place.plug_ins)
    monkeypatch.setattr("maskupe_gimp.profiles.find_profiles", lambda: [boxed])
    assert cli.main(["install"]) == 1
    told = capsys.readouterr()
    assert "Failed to connect to bus" in told.err and "maskupe-daemon service install" in told.err
    assert script(place).is_file() and "Restart GIMP" in told.out
    (finding,) = (f for f in examine([boxed]) if not f.ok)
    assert "cannot start the daemon" in finding.what


def test_every_gimp_is_looked_at_and_the_daemon(
    place: GimpProfile, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = GimpProfile("missing", "3.2", place.folder.parent / "3.2")
    monkeypatch.setattr("maskupe_gimp.profiles.find_profiles", lambda: [missing, place])
    assert cli.main(["doctor"]) == 1
    told = capsys.readouterr().out
    assert f"{missing.plug_ins}" in told and f"the plug-in is in {place.plug_ins}" in told
    assert "a test job took" in told


@pytest.mark.parametrize("name", ["plug-ins", "2.10", "Downloads"])
def test_a_folder_that_is_no_profile(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / name
    (folder / "things").mkdir(parents=True)
    assert cli.main(["install", "--profile", str(folder)]) == 1
    told = capsys.readouterr().err
    words = {
        "plug-ins": "give the profile that it lies in",
        "2.10": "belongs to GIMP 2.10; the plug-in needs GIMP 3",
        "Downloads": "does not look like a GIMP profile",
    }
    assert words[name] in told
    assert [path.name for path in folder.iterdir()] == ["things"]


def test_a_profile_that_cannot_be_written_does_not_keep_it_from_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked, good = (GimpProfile("test", name, tmp_path / name) for name in ("3.0", "3.2"))
    for place in (blocked, good):
        place.folder.mkdir()
    blocked.plug_ins.touch()  # root may write into folders that are read-only
    monkeypatch.setattr("maskupe_gimp.profiles.find_profiles", lambda: [blocked, good])
    assert cli.main(["install"]) == 1
    told = capsys.readouterr()
    assert "GIMP 3.0 (test): File exists" in told.err
    assert (good.plug_ins / NAME / f"{NAME}.py").is_file()
    assert "Restart GIMP" in told.out


@pytest.mark.parametrize("older", ["2.10", "3.0", "3.4", None])
def test_a_gimp_that_will_take_over_settings_is_to_be_started_before(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    older: str | None,
) -> None:
    """It does so where its own profile is not there yet, and only then."""
    new = GimpProfile("test", "3.2", tmp_path / "GIMP" / "3.2")
    refused = older in ("2.10", "3.0")
    for name in ("not one", older or "", "2.8" if refused else ""):
        (tmp_path / "GIMP" / name).mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr("maskupe_gimp.profiles.find_profiles", lambda: [new])
    assert cli.main(["install"]) == int(refused)
    told = capsys.readouterr()
    assert new.folder.exists() is not refused
    assert ("Restart GIMP" in told.out) is not refused
    if refused:
        assert f"Start it once, so that it takes over the settings of GIMP {older};" in told.err
        new.folder.mkdir()  # as GIMP does
        assert cli.main(["install"]) == 0
        assert (new.plug_ins / NAME / f"{NAME}.py").is_file()


@pytest.mark.parametrize("ending", [UnicodeError("odd\nbytes"), KeyboardInterrupt()])
def test_what_nobody_foresaw_is_a_sentence_and_ctrl_c_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ending: BaseException
) -> None:
    def fail() -> list[GimpProfile]:
        raise ending

    monkeypatch.setattr("maskupe_gimp.profiles.find_profiles", fail)
    status = cli.main(["install"])
    told = capsys.readouterr().err
    if isinstance(ending, KeyboardInterrupt):
        assert (status, told) == (130, "")
    else:
        assert status == 1
        assert told.startswith(
            "maskupe-gimp: Something unexpected failed (UnicodeError: odd bytes)."
        )
        assert told.count("\n") == 1
        with pytest.raises(UnicodeError):
            cli.main(["--debug", "install"])


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs another file system")
def test_a_plug_in_folder_on_another_disk(tmp_path: Path) -> None:
    profile = tmp_path / "3.2"
    profile.mkdir()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        (profile / "plug-ins").symlink_to(elsewhere)
        assert cli.main(["install", "--profile", str(profile)]) == 0
        assert cli.main(["install", "--profile", str(profile)]) == 0  # over the older one
        assert [path.name for path in Path(elsewhere).iterdir()] == [NAME]


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
