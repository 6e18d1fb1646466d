"""Real daemons, each in a state directory of its own."""

import pytest

from tests.daemon.running import RunningDaemon, new_home, running_daemon


@pytest.fixture
def home(monkeypatch):
    """An empty state directory, made the usual one for this process and its children."""
    with new_home() as path:
        monkeypatch.setenv("MASKUPE_STATE_DIR", str(path))
        yield path


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
    with running_daemon() as running:
        yield running
