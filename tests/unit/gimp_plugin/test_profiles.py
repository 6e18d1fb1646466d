"""Finding GIMP's profiles, on made-up trees of every system."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskupe_gimp.profiles import find_profiles

#: No programs and no Flatpak of this machine.
NO_PROGRAMS = {"PATH": "", "FLATPAK_SYSTEM_DIR": "/nowhere"}


def make_folders(home: Path, *names: str) -> None:
    for name in names:
        (home / name).mkdir(parents=True)


def found(home: Path, platform: str, **environment: str) -> list[tuple[str, str]]:
    profiles = find_profiles(
        platform=platform, home=home, environment={**NO_PROGRAMS, **environment}
    )
    return [(profile.version, str(profile.plug_ins.relative_to(home))) for profile in profiles]


def test_linux_system_flatpak_and_snap(tmp_path: Path) -> None:
    flatpak = ".var/app/org.gimp.GIMP/config/GIMP/3.0"
    snap = "snap/gimp/current/.config/GIMP/3.0"
    make_folders(
        tmp_path, ".config/GIMP/2.10", ".config/GIMP/3.2", ".config/GIMP/3.0", flatpak, snap
    )
    (tmp_path / ".config/GIMP/3.4").touch()  # not a folder
    assert found(tmp_path, "linux") == [
        ("3.0", ".config/GIMP/3.0/plug-ins"),
        ("3.2", ".config/GIMP/3.2/plug-ins"),
        ("3.0", f"{flatpak}/plug-ins"),
        ("3.0", f"{snap}/plug-ins"),
    ]
    profiles = find_profiles(platform="linux", home=tmp_path, environment=NO_PROGRAMS)
    assert [profile.sandboxed for profile in profiles] == [False, False, True, True]


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside another GIMP"])
def test_a_flatpak_uses_the_profiles_of_the_system(tmp_path: Path, beside: bool) -> None:
    """Its manifest binds the folder in; ~/.var/app then holds a link at most."""
    make_folders(
        tmp_path, ".config/GIMP/3.2", "flatpak/app/org.gimp.GIMP", ".var/app/org.gimp.GIMP/config"
    )
    (tmp_path / ".var/app/org.gimp.GIMP/config/GIMP").symlink_to(tmp_path / ".config/GIMP")
    environment = {**NO_PROGRAMS, "FLATPAK_SYSTEM_DIR": str(tmp_path / "flatpak")}
    if beside:
        program = tmp_path / "bin" / "gimp"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\necho 'GNU Image Manipulation Program version 3.2.6'\n")
        program.chmod(0o755)
        environment["PATH"] = str(program.parent)
    profiles = find_profiles(platform="linux", home=tmp_path, environment=environment)
    told = [(str(profile), profile.sandboxed) for profile in profiles]
    flatpak = ("GIMP 3.2 (Flatpak)", True)
    assert told == ([("GIMP 3.2 (system or AppImage)", False), flatpak] if beside else [flatpak])
    assert {profile.folder for profile in profiles} == {tmp_path / ".config/GIMP/3.2"}


def test_another_config_folder(tmp_path: Path) -> None:
    make_folders(tmp_path, "settings/GIMP/3.0")
    found_there = found(tmp_path, "linux", XDG_CONFIG_HOME=str(tmp_path / "settings"))
    assert found_there == [("3.0", "settings/GIMP/3.0/plug-ins")]


def test_macos(tmp_path: Path) -> None:
    make_folders(tmp_path, "Library/Application Support/GIMP/3.0")
    expected = [("3.0", "Library/Application Support/GIMP/3.0/plug-ins")]
    assert found(tmp_path, "darwin") == expected


@pytest.mark.parametrize("given", [True, False])
def test_windows(tmp_path: Path, given: bool) -> None:
    make_folders(tmp_path, "AppData/Roaming/GIMP/3.0", "AppData/Roaming/GIMP/3.2")
    environment = {"APPDATA": str(tmp_path / "AppData/Roaming")} if given else {}
    assert found(tmp_path, "win32", **environment) == [
        ("3.0", "AppData/Roaming/GIMP/3.0/plug-ins"),
        ("3.2", "AppData/Roaming/GIMP/3.2/plug-ins"),
    ]


def test_gimps_own_variable_wins(tmp_path: Path) -> None:
    make_folders(tmp_path, ".config/GIMP/3.0")
    profiles = found(tmp_path, "linux", GIMP3_DIRECTORY=str(tmp_path / "mine"))
    assert profiles == [("3", "mine/plug-ins")]


def test_a_gimp_that_was_never_started(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "gimp-console"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'GNU Image Manipulation Program version 3.2.6'\n")
    program.chmod(0o755)
    path = str(program.parent)
    assert found(tmp_path, "linux", PATH=path) == [("3.2", ".config/GIMP/3.2/plug-ins")]


def test_nothing_there(tmp_path: Path) -> None:
    assert found(tmp_path, "linux") == []
