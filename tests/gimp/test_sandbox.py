"""GIMP in Flatpak's sandbox, the user's own systemd outside of it, and only a file in between.

Flatpak itself is not here: its sandbox is made by bubblewrap, as Flatpak makes it, with what GIMP's
manifest on Flathub grants. All else is real: systemd, its units, the commands, GIMP, the daemon.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from maskupe import Enhancer
from maskupe_client.connection import FILE_NAME, read_connection
from maskupe_client.launcher import WAKE_FILE, wake
from maskupe_gimp import NAME
from tests.gimp.finding import Gimp
from tests.gimp.photo import babl, dark_photo
from tests.gimp.sandbox import FLATPAK, FlatpakGimp, NoSessionError, UserSession
from tests.gimp.session import Session

CODE = """
image = new_image(512, 512)
layer = new_layer(image, 512, 512)
write(layer, path, babl)
select_ellipse(image, 150, 120, 200, 240)
(WORK / "selection.raw").write_bytes(selection_bytes(image))
result = enhance(image, [layer])
read(layer, babl)
image.delete()
"""
#: What the plug-in's Python sees in there.
LOOK = """
import os, subprocess, sys
found = subprocess.run([sys.executable, "-c", "import maskupe_daemon"], stderr=subprocess.PIPE)
result = {
    "runtime": os.listdir(os.environ["XDG_RUNTIME_DIR"]),
    "systemd": os.path.exists("/run/systemd"),
    "first": Path("/proc/1/comm").read_text().strip(),
    "same profile": os.path.samefile(Gimp.directory(), profile),
    "config": os.environ["XDG_CONFIG_HOME"],
    "error": found.stderr.decode(),
}
"""


_RUNNING = ("active", "deactivating")


class User:
    """Somebody with the Flatpak of GIMP and MaskUPE, at a terminal."""

    def __init__(self, work: Path, gimp: Gimp) -> None:
        self.work = work
        self.session = UserSession(work)
        self.gimp = FlatpakGimp(gimp.version, gimp.root, self.session)
        (work / "flatpak" / "app" / FLATPAK).mkdir(parents=True)
        self.profile = self.session.home / ".config" / "GIMP" / gimp.version
        self.profile.mkdir(parents=True)  # as GIMP's first start leaves it
        self.state = self.session.home / ".local" / "state" / "maskupe"

    def types(self, command: str, *arguments: str) -> tuple[int, str]:
        """Run a command of ours; return its exit status and what it says."""
        module = {"maskupe-gimp": "maskupe_gimp.cli", "maskupe-daemon": "maskupe_daemon"}[command]
        done = self.session.run(sys.executable, "-m", module, *arguments)
        return done.returncode, done.stdout + done.stderr

    def systemctl(self, *arguments: str) -> str:
        """Run ``systemctl --user``; return what it says."""
        return self.session.run("systemctl", "--user", *arguments).stdout.strip()

    def ended(self) -> str:
        """Wait for the service's end; return its state. Its program is seen to end before it is."""
        while (state := self.systemctl("is-active", "maskupe.service")) in _RUNNING:
            time.sleep(0.02)
        return state


@pytest.fixture
def user(installed_gimp: Gimp) -> Iterator[User]:
    work = Path(tempfile.mkdtemp(prefix="maskupe-", dir="/tmp"))
    try:
        user = User(work, installed_gimp)
    except NoSessionError as error:
        shutil.rmtree(work, ignore_errors=True)
        pytest.skip(f"A GIMP in a sandbox cannot be had. {error}")
    yield user
    user.session.close()
    shutil.rmtree(work, ignore_errors=True)


def test_from_the_installation_to_a_result_in_the_sandbox(user: User) -> None:
    status, told = user.types("maskupe-gimp", "install")
    assert status == 0, told
    assert f"GIMP {user.gimp.version} (Flatpak): {user.profile / 'plug-ins' / NAME}" in told
    assert user.systemctl("is-active", "maskupe.path", "maskupe.service") == "active\nactive"

    photo = dark_photo()
    gimp = Session(user.gimp, user.work)
    values = {"path": gimp.put(photo), "babl": babl(photo)}

    def enhances() -> None:
        """Run the filter; it succeeds, and the one who worked is the service's process."""
        assert gimp.run(CODE, **values) == [True, ""]
        worker = int(user.systemctl("show", "--property=MainPID", "--value", "maskupe.service"))
        assert worker == read_connection(user.state).pid

    try:
        assert user.types("maskupe-daemon", "stop")[0] == 0
        assert user.ended() == "inactive"
        assert not (user.state / FILE_NAME).exists()
        enhances()
        assert (user.state / WAKE_FILE).read_text("utf-8").endswith(" gimp\n")
        selection = np.fromfile(user.work / "selection.raw", np.uint8).reshape(512, 512)
        expected = Enhancer.load("default").enhance(photo, selection)
        assert np.array_equal(gimp.get(photo.shape, np.uint8), expected)
        assert expected[220:260, 230:270].mean() > 1.3 * photo[220:260, 230:270].mean()

        seen = gimp.run(LOOK, profile=str(user.profile))
        assert seen["same profile"]
        assert seen["config"] == f"{user.session.home}/.var/app/{FLATPAK}/config"
        assert seen["first"] == "bwrap"
        assert seen["runtime"] == [] and not seen["systemd"]
        assert "No module named 'maskupe_daemon'" in seen["error"]

        user.systemctl("kill", "--signal=KILL", "maskupe.service")
        enhances()
    finally:
        gimp.close()


def test_a_service_that_is_ending_or_was_woken_often(user: User) -> None:
    assert user.types("maskupe-daemon", "service", "install")[0] == 0
    # Five starts in ten seconds are systemd's limit; after it nobody would be woken.
    for _ in range(7):
        client = wake(directory=user.state)
        client.shutdown()
        client.close()
        assert user.ended() == "inactive"

    # While a service is ending, its path unit does not watch.
    units = user.session.home / ".config" / "systemd" / "user"
    slow = units / "maskupe.service.d" / "slow.conf"
    slow.parent.mkdir()
    slow.write_text("[Service]\nExecStopPost=sleep 1\n", "utf-8")
    user.systemctl("daemon-reload")
    wake(directory=user.state).close()
    user.systemctl("stop", "--no-block", "maskupe.service")
    while (user.state / FILE_NAME).exists():
        time.sleep(0.02)
    wake(directory=user.state).close()


def test_the_doctor_and_the_service(user: User) -> None:
    assert user.types("maskupe-gimp", "install")[0] == 0
    assert user.types("maskupe-daemon", "stop")[0] == 0
    status, told = user.types("maskupe-gimp", "doctor")
    assert status == 0, told
    assert "a service starts the daemon for this GIMP" in told
    assert "a test job took" in told
    assert user.ended() == "inactive"
    assert user.systemctl("is-active", "maskupe.path") == "active"
    # It was woken, as from the sandbox.
    assert (user.state / WAKE_FILE).read_text("utf-8").endswith(" doctor\n")

    # Its files are there, but systemd does not watch: as where they were copied from elsewhere.
    user.systemctl("stop", "maskupe.path")
    status, told = user.types("maskupe-gimp", "doctor")
    assert status == 1
    assert "FAIL  from its sandbox this GIMP cannot start the daemon, and no service does" in told
    assert "-> Run: maskupe-daemon service install" in told
    assert user.types("maskupe-daemon", "service", "install")[0] == 0
    assert user.types("maskupe-gimp", "doctor")[0] == 0

    status, told = user.types("maskupe-gimp", "uninstall")
    assert status == 0
    assert "maskupe-daemon service uninstall" in told
    assert user.types("maskupe-daemon", "service", "uninstall")[0] == 0
    assert user.types("maskupe-daemon", "status")[0] == 1
    assert user.systemctl("list-unit-files", "maskupe*", "--no-legend") == ""
