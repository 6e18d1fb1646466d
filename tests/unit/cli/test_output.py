"""Output that nobody reads or that cannot be written, of all four programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import photographs as ph

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


# ------------------------------------------------------------------------- encodings and terminals


def enhanced(folder: Path, name: str, encoding: str) -> subprocess.CompletedProcess[bytes]:
    """What `maskupe enhance` says of a photo of that name, on a terminal of that encoding."""
    photo = ph.save(folder / "in.png", ph.scene()).rename(folder / name)
    program = "import sys; from maskupe.cli import main; sys.exit(main())"
    # Weights that ship, as these have a graph: importing PyTorch would take longer than the rest.
    command = ["enhance", photo, "-o", photo, "--model", "star-dce-mconcat", "--device", "cpu"]
    return subprocess.run(
        [sys.executable, "-c", program, *map(os.fsencode, command)],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=60,
    )


@pytest.mark.parametrize("encoding", ["cp1251", "ascii", "cp437", "latin-1", "utf-8"])
@pytest.mark.parametrize("name", ["plain.png", "Füße 日本.png"])
def test_an_output_s_encoding_costs_no_result(tmp_path, encoding, name):
    done = enhanced(tmp_path, name, encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    said = done.stdout.decode(encoding)
    times = "×" if encoding in ("latin-1", "utf-8") else "x"
    assert f"(64 {times} 48 pixels" in said and said.startswith("Wrote ")
    if encoding == "cp1251" and name != "plain.png":
        assert r"F\xfc\xdfe \u65e5\u672c.png" in said


HOSTILE = "a\x1b[2J\x07\nb\r\u202egnp.\x9b31m.png"


@pytest.mark.skipif(sys.platform == "win32", reason="such names cannot be there")
@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_names_do_nothing_to_a_terminal(tmp_path, capfd, debug):
    from maskupe.cli import main

    done = enhanced(tmp_path, HOSTILE, "utf-8")
    assert done.returncode == 0
    said = done.stdout.decode()
    assert r"a\x1b[2J\x07\x0ab\x0d\u202egnp.\x9b31m.png" in said
    assert said.count("\n") == 1 and said.endswith("\n")
    missing = str(tmp_path / f"no{HOSTILE}")
    assert main(["enhance", missing, "-o", str(tmp_path / "o.png"), *debug]) == 2
    error = capfd.readouterr().err
    for character in "\x1b\x07\r\u202e\x9b":
        assert character not in error
    assert bool(debug) == ("Traceback" in error)


def test_a_name_that_is_no_text_is_said(tmp_path):
    if sys.platform != "linux":
        pytest.skip("names are bytes on Linux")
    done = enhanced(tmp_path, os.fsdecode(b"B\xe4r.png"), "utf-8")
    assert done.returncode == 0
    assert rb"B\udce4r.png" in done.stdout


def test_five_thousand_letters_are_cut_in_a_sentence(tmp_path, capsys):
    from maskupe.cli import main

    photo = str(ph.save(tmp_path / "a.png", ph.scene()))
    for model in ("x" * 5000, "x" * 5000 + ".safetensors", "x/" * 2500 + ".safetensors"):
        assert main(["enhance", photo, "-o", str(tmp_path / "b.png"), "--model", model]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "There is no" in line and len(line) < 700


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
