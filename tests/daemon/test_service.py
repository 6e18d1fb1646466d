"""The service's files: what systemd and launchd would read, as they read it."""

import configparser
import os
import plistlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from maskupe_client import launcher
from maskupe_client.errors import NotRunningError
from maskupe_daemon import service
from maskupe_daemon.cli import main


def parsed(text):
    """A unit file; keys keep their case, as systemd sees them."""
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str
    unit.read_string(text)
    return unit


def test_the_unit_starts_this_daemon_and_restarts_only_what_a_restart_mends():
    unit = parsed(service.unit_text(["/opt/a b/maskupe-daemon", "run"]))
    words = shlex.split(unit["Service"]["ExecStart"])
    assert words == ["/opt/a b/maskupe-daemon", "run"]
    assert unit["Service"]["Environment"] == "GLIBC_TUNABLES=glibc.malloc.hugetlb=1"
    assert unit["Service"]["Type"] == "notify"
    assert unit["Service"]["Restart"] == "on-failure"
    # The statuses of cli.py that stand for a standing fault.
    assert unit["Service"]["RestartPreventExitStatus"].split() == ["2", "3", "4", "5"]
    # A path unit whose service has reached its limit of starts is dead until the next login.
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert unit["Service"]["NoNewPrivileges"] == "yes"
    assert "PrivateTmp" not in unit["Service"]
    assert unit["Install"]["WantedBy"] == "default.target"


def test_systemd_specifiers_in_a_path_are_escaped():
    unit = parsed(service.unit_text(["/home/100%/$USER/d", "run"]))
    assert '"/home/100%%/$$USER/d"' in unit["Service"]["ExecStart"]


def test_the_daemon_is_where_the_one_who_installed_the_service_looks(tmp_path, monkeypatch):
    state = tmp_path / '100% "mine" for $5'
    monkeypatch.setenv("MASKUPE_STATE_DIR", str(state))
    unit = parsed(service.unit_text(["/bin/d", "run"]))
    _tuning, place = shlex.split(unit["Service"]["Environment"])
    assert place.replace("%%", "%") == f"MASKUPE_STATE_DIR={state}"
    agent = plistlib.loads(service.plist_text(["/bin/d", "run"]))
    assert agent["EnvironmentVariables"] == {"MASKUPE_STATE_DIR": str(state)}
    monkeypatch.setenv("MASKUPE_STATE_DIR", "/state")
    entry = parsed(service.autostart_text(["/bin/d", "run"]))["Desktop Entry"]
    assert shlex.split(entry["Exec"]) == ["env", "MASKUPE_STATE_DIR=/state", "/bin/d", "run"]
    monkeypatch.delenv("MASKUPE_STATE_DIR")
    for text in (service.unit_text(["d"]), service.autostart_text(["d"])):
        assert "MASKUPE_STATE_DIR" not in text
    assert "EnvironmentVariables" not in plistlib.loads(service.plist_text(["d"]))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_finds_no_fault_in_the_units(tmp_path):
    (tmp_path / "maskupe.service").write_text(service.unit_text(service.command()))
    path = tmp_path / "maskupe.path"
    path.write_text(service.path_unit_text())
    # Without this folder it gives up before it looks at the unit.
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(path), str(path.with_suffix(".service"))],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert "maskupe" not in done.stderr, done.stderr


def test_the_path_unit_watches_the_file_that_a_sandbox_writes(tmp_path, monkeypatch):
    state = tmp_path / "100% mine" / "state"
    monkeypatch.setenv("MASKUPE_STATE_DIR", str(state))
    unit = parsed(service.path_unit_text())
    watched = Path(unit["Path"]["PathChanged"].replace("%%", "%"))
    assert unit["Path"]["Unit"] == "maskupe.service"
    assert not watched.exists()
    with pytest.raises(NotRunningError):
        launcher.wake(0.1)
    assert watched.read_text().endswith("python\n")
    assert watched.parent.stat().st_mode & 0o777 == 0o700


def test_the_wake_file_is_written_again_while_nobody_came(tmp_path, monkeypatch):
    """While a daemon is ending, the path unit does not watch it yet."""
    monkeypatch.setattr(launcher, "_WAKE_AGAIN", 0.1)
    wake, seen = tmp_path / launcher.WAKE_FILE, set()
    with pytest.raises(NotRunningError):
        launcher.wake(0.5, wait=lambda: seen.add(wake.read_text()), directory=tmp_path)
    assert 2 <= len(seen) <= 6


def test_a_desktop_reads_the_command_of_the_autostart_entry():
    words = [r'/opt/a b/100%/$x/`y`/"z\w', "run"]
    entry = parsed(service.autostart_text(words))["Desktop Entry"]
    assert entry["Type"] == "Application"
    # First the escapes of a string are taken back, then those between the quotes, then %%.
    text = entry["Exec"].replace("\\\\", "\\")
    quoted = re.findall(r'"((?:[^"\\]|\\.)*)"', text)
    assert [re.sub(r"\\(.)", r"\1", word).replace("%%", "%") for word in quoted] == words


def test_the_agent_for_macos():
    agent = plistlib.loads(service.plist_text(["/opt/a b/maskupe-daemon", "run"]))
    assert agent["ProgramArguments"] == ["/opt/a b/maskupe-daemon", "run"]
    assert agent["RunAtLoad"] is True
    assert agent["KeepAlive"] == {"SuccessfulExit": False}


def test_the_command_exists_and_answers():
    words = service.command()
    assert Path(words[0]).is_file()
    shown = subprocess.run([*words[:-1], "--version"], capture_output=True, text=True)
    assert shown.stdout.startswith("maskupe-daemon ")


@pytest.mark.skipif(sys.platform != "linux", reason="where systemd is")
def test_install_and_uninstall(tmp_path, monkeypatch, capsys):
    """With a systemctl that writes down what it is told."""
    calls = tmp_path / "calls"
    fake = tmp_path / "bin" / "systemctl"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    unit = tmp_path / "config" / "systemd" / "user" / "maskupe.service"
    path = unit.with_name("maskupe.path")
    assert main(["service", "install", "--print"]) == 0
    assert not unit.exists() and not path.exists()
    assert "ExecStart" in capsys.readouterr().out
    assert main(["service", "install"]) == 0
    assert "ExecStart" in unit.read_text()
    assert "PathChanged" in path.read_text()
    assert main(["service", "status"]) == 0
    assert main(["service", "uninstall"]) == 0
    assert not unit.exists() and not path.exists()
    assert main(["service", "status"]) == 1
    assert calls.read_text().splitlines() == [
        "--user daemon-reload",
        "--user enable --now maskupe.service maskupe.path",
        "--user is-active maskupe.path",
        "--user disable --now maskupe.service maskupe.path",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="where systemd is")
def test_without_systemd_it_starts_at_login(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    entry = tmp_path / "config" / "autostart" / "maskupe-daemon.desktop"
    assert main(["service", "install"]) == 0
    assert "no systemd" in capsys.readouterr().out
    assert service.command()[0] in entry.read_text()
    assert main(["service", "uninstall"]) == 0
    assert not entry.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="where systemd is")
def test_a_session_manager_that_refuses_is_quoted(tmp_path, monkeypatch, capsys):
    fake = tmp_path / "systemctl"
    fake.write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2; exit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert main(["service", "install"]) == 1
    assert "Failed to connect to bus" in capsys.readouterr().err
    assert main(["service", "status"]) == 1  # though its files are there
    assert "Failed to connect to bus" in capsys.readouterr().out
