"""The service's files: what systemd and launchd would read, as they read it."""

import configparser
import os
import plistlib
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert unit["Service"]["NoNewPrivileges"] == "yes"
    assert "PrivateTmp" not in unit["Service"]
    assert unit["Install"]["WantedBy"] == "default.target"


def test_systemd_specifiers_in_a_path_are_escaped():
    unit = parsed(service.unit_text(["/home/100%/$USER/d", "run"]))
    assert '"/home/100%%/$$USER/d"' in unit["Service"]["ExecStart"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_finds_no_fault_in_the_unit(tmp_path):
    path = tmp_path / "maskupe.service"
    path.write_text(service.unit_text(service.command()))
    # Without this folder it gives up before it looks at the unit.
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(path)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert "maskupe" not in done.stderr, done.stderr


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
    assert main(["service", "install", "--print"]) == 0
    assert not unit.exists()
    assert "ExecStart" in capsys.readouterr().out
    assert main(["service", "install"]) == 0
    assert "ExecStart" in unit.read_text()
    assert main(["service", "uninstall"]) == 0
    assert not unit.exists()
    assert calls.read_text().splitlines() == [
        "--user daemon-reload",
        "--user enable --now maskupe.service",
        "--user disable --now maskupe.service",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="where systemd is")
def test_without_systemd_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert main(["service", "install"]) == 1
    assert "systemctl" in capsys.readouterr().err
