"""Files are replaced whole or not at all, whoever is killed and whatever the file system cannot."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from maskupe.cli import main
from maskupe.errors import MaskUPEError
from maskupe.io import atomic as module
from maskupe.io.atomic import replace_file, replacing
from tests import photographs as ph
from tests.untrained import write_weights

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refusing(code: int):
    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.EACCES, errno.ENOSYS])
def test_a_file_system_without_permissions_gets_the_result(tmp_path, monkeypatch, code):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "chmod", refusing(code))
    monkeypatch.setattr(Path, "chmod", refusing(code))
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_one_that_cannot_sync_gets_it_too(tmp_path, monkeypatch, code):
    monkeypatch.setattr(os, "fsync", refusing(code))
    replace_file(tmp_path / "a.png", b"new")
    assert (tmp_path / "a.png").read_bytes() == b"new"


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_one_that_fails_to_sync_leaves_the_old_file(tmp_path, monkeypatch, code):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", refusing(code))
    with pytest.raises(MaskUPEError, match=os.strerror(code)):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"


def test_without_locks_it_works_and_removes_nothing(tmp_path, monkeypatch):
    leftover = tmp_path / ".a.0123abcd.part"
    leftover.write_bytes(b"half")
    monkeypatch.setattr(module.fcntl, "flock", refusing(errno.ENOLCK))
    replace_file(tmp_path / "a.png", b"new")
    assert (tmp_path / "a.png").read_bytes() == b"new"
    assert leftover.exists()


@pytest.mark.parametrize("old", [None, 0o640, 0o600, 0o664])
def test_nobody_else_reads_it_before_it_is_complete(tmp_path, old):
    path = tmp_path / "a.png"
    if old is not None:
        path.write_bytes(b"old")
        path.chmod(old)
    with replacing(path) as part:
        part.write_bytes(b"new")
        assert mode(part) == 0o600
    assert mode(path) == (0o666 & ~module._UMASK if old is None else old)


@pytest.mark.parametrize(("source", "expected"), [(0o600, 0o600), (0o400, 0o600), (0o777, 0o644)])
def test_what_comes_of_a_private_photo_is_private(tmp_path, source, expected, monkeypatch):
    monkeypatch.setattr(module, "_UMASK", 0o022)
    photo = ph.save(tmp_path / "a.png", ph.scene())
    photo.chmod(source)
    weights = str(write_weights(tmp_path))
    command = ["enhance", str(photo), "-o", str(tmp_path / "b.png"), "--model", weights]
    assert main([*command, "--save-matte", str(tmp_path / "m.png")]) == 0
    assert mode(tmp_path / "b.png") == expected
    assert mode(tmp_path / "m.png") == expected


PROGRAM = """
import sys, time
from pathlib import Path
from maskupe.io.atomic import replacing
with replacing(Path(sys.argv[1])) as part:
    part.write_bytes(b"half")
    print(part, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("name", ["a.png", "an odd [name] {8} ünïcode.png", "x" * 200 + ".png"])
def test_the_next_run_removes_what_a_killed_one_left(tmp_path, name):
    path = tmp_path / name
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    parts = [Path(process.stdout.readline().strip()) for process in started]
    assert all(part.exists() for part in parts)
    other = tmp_path / ".other.0123abcd.part"
    other.write_bytes(b"of another file")
    started[0].send_signal(signal.SIGKILL)
    started[0].wait()
    replace_file(path, b"new")
    assert not parts[0].exists()
    assert parts[1].exists()  # its writer is at work
    assert other.exists()
    started[1].send_signal(signal.SIGKILL)
    started[1].wait()
    replace_file(path, b"newer")
    assert sorted(tmp_path.iterdir()) == sorted([path, other])
    for process in started:
        process.stdout.close()
