"""One real daemon and one real GIMP per version for all tests of this folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from maskupe_gimp import NAME, bundle
from tests.gimp.daemon import Daemon
from tests.gimp.finding import Gimp, NoGimpError, fail_or_skip, find_gimp
from tests.gimp.gui import Gui
from tests.gimp.session import Session, prepare

VERSIONS = os.environ.get("MASKUPE_GIMP_VERSIONS", "3.0").split(",")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks everything here; the first test of a machine waits for a root to be built."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.gimp)
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session", params=VERSIONS)
def installed_gimp(request: pytest.FixtureRequest) -> Gimp:
    """A GIMP 3 of each version asked for."""
    try:
        return find_gimp(request.param)
    except NoGimpError as error:
        fail_or_skip(error)


@pytest.fixture(scope="session")
def work(installed_gimp: Gimp) -> Iterator[Path]:
    """A work folder whose path is short: a socket's path may have 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="maskupe-"))
    plug_ins = prepare(folder)
    bundle.copy_to(plug_ins)
    # The tests decide when a daemon runs; starting it is a test of its own.
    (plug_ins / NAME / bundle.LAUNCHER).unlink()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def daemon(work: Path) -> Iterator[Daemon]:
    """A real daemon, started as a program of its own."""
    daemon = Daemon(work)
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture(scope="session")
def console(installed_gimp: Gimp, work: Path) -> Iterator[Session]:
    """A GIMP without a user interface that runs snippets."""
    session = Session(installed_gimp, work)
    yield session
    session.close()


@pytest.fixture
def gimp(console: Session, daemon: Daemon) -> Session:
    """GIMP with its daemon running, whatever the test before did to it."""
    daemon.start()
    return console


@pytest.fixture(scope="module")
def shared_gui(installed_gimp: Gimp) -> Iterator[Gui]:
    """A GIMP with its user interface; modules with more to do in it have a class of their own."""
    with Gui.opened(installed_gimp) as gui:
        yield gui


@pytest.fixture
def gui(shared_gui: Gui) -> Iterator[Gui]:
    """The module's GIMP without an image, whose dialog opens with the defaults."""
    yield shared_gui
    shared_gui.leave()
    shared_gui.forget_settings()
