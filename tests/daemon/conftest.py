"""Real daemons in short directories under /tmp (a socket's path is at most 107 bytes)."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.daemon.running import RunningDaemon


@pytest.fixture
def home(monkeypatch):
    """An empty state directory, made the usual one for this process and its children."""
    path = Path(tempfile.mkdtemp(prefix="mu", dir="/tmp"))
    monkeypatch.setenv("MASKUPE_STATE_DIR", str(path))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start(home):
    """Starts daemons with the stand-in models; whatever still runs in the end is killed."""
    running = []

    def start_one(*arguments, wait=True, **options):
        daemon = RunningDaemon(home, *arguments, **options)
        running.append(daemon)
        if wait:
            daemon.await_ready()
        return daemon

    yield start_one
    for daemon in running:
        daemon.kill()


@pytest.fixture(scope="module")
def daemon():
    """A running daemon with the stand-in models, shared by a module's tests."""
    path = Path(tempfile.mkdtemp(prefix="mu", dir="/tmp"))
    running = RunningDaemon(path)
    try:
        running.await_ready()
        yield running
    finally:
        running.kill()
        shutil.rmtree(path, ignore_errors=True)
