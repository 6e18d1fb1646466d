"""Output that nobody reads or that cannot be written, of all four programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENTRIES = {
    "maskupe": "maskupe.cli",
    "maskupe-daemon": "maskupe_daemon.cli",
    "maskupe-gimp": "maskupe_gimp.cli",
    "maskupe-train": "maskupe_training.cli",
}
COMMANDS = [
    ("maskupe", "--version"),
    ("maskupe", "models"),
    ("maskupe-daemon", "--help"),
    ("maskupe-daemon", "service", "install", "--print"),
    ("maskupe-gimp", "doctor", "--profile", "."),
    ("maskupe-train", "evaluate", "--help"),
]
by_command = pytest.mark.parametrize("command", COMMANDS, ids=" ".join)


def run(command, home: Path, stdout: int, stderr: int = subprocess.PIPE, unbuffered: str = ""):
    """Runs a program as its script does, in an empty home."""
    name, *arguments = command
    program = f"import sys; from {ENTRIES[name]} import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={
            **os.environ,
            "MASKUPE_STATE_DIR": str(home / "state"),
            "PYTHONUNBUFFERED": unbuffered,
        },
        stdout=stdout,
        stderr=stderr,
        text=True,
        timeout=60,
    )


@pytest.fixture
def closed_pipe():
    """The writing end of a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@by_command
def test_a_reader_that_goes_away_is_no_traceback(command, tmp_path, closed_pipe):
    done = run(command, tmp_path, closed_pipe)
    assert (done.returncode, done.stderr) == (1, "")


def test_nor_where_every_line_is_written_at_once(tmp_path, closed_pipe):
    done = run(("maskupe-gimp", "doctor", "--profile", "."), tmp_path, closed_pipe, unbuffered="1")
    assert (done.returncode, done.stderr) == (1, "")


def test_nor_where_errors_go_the_same_way(tmp_path, closed_pipe):
    done = run(("maskupe-daemon", "status"), tmp_path, closed_pipe, stderr=subprocess.STDOUT)
    assert done.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@by_command
def test_a_full_disk_is_a_sentence(command, tmp_path):
    with Path("/dev/full").open("w") as full:
        done = run(command, tmp_path, full.fileno())
    assert done.returncode == 1
    *_, last = done.stderr.splitlines()
    assert last.endswith("The output cannot be written (No space left on device).")
    assert "Traceback" not in done.stderr and "ignored" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp850", "cp1251"])
def test_a_console_that_has_few_signs(encoding, tmp_path, monkeypatch):
    """The name of the menu entry ends in three dots as one sign."""
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    profile = tmp_path / "3.2"
    profile.mkdir()
    command = ("maskupe-gimp", "install", "--profile", str(profile))
    with (tmp_path / "out").open("wb") as out:
        done = run(command, tmp_path, out.fileno())
    assert (done.returncode, done.stderr) == (0, "")
    assert "Local Underexposure" in (tmp_path / "out").read_text(encoding)
