"""The daemon is not running: the plug-in starts it by the command that the installer recorded."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from maskupe_client.launcher import WAKE_FILE
from maskupe_gimp import NAME, bundle, cli
from tests.gimp.daemon import Daemon
from tests.gimp.finding import Gimp
from tests.gimp.photo import babl, dark_photo
from tests.gimp.session import Session, prepare

# In a root there is none of the host's Python. What is started there hands the command over to
# the host, as it came, and lives as long as a daemon would.
RELAY = """#!/usr/bin/env python3
import json, sys, time
from pathlib import Path
work = Path({work!r})
(work / "asked.new").write_text(json.dumps(sys.argv[1:]))
(work / "asked.new").rename(work / "asked.json")
while work.exists() and not (work / "over").exists():
    time.sleep(0.05)
"""
CODE = """
image = new_image(512, 512)
layer = new_layer(image, 512, 512)
write(layer, path, babl)
select_ellipse(image, 150, 120, 200, 240)
result = enhance(image, [layer])
read(layer, babl)
image.delete()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A work folder of this test alone."""
    work = Path(tempfile.mkdtemp(prefix="maskupe-"))
    yield work
    (work / "over").touch()
    shutil.rmtree(work, ignore_errors=True)


def start_when_asked(work: Path, daemon: list[Daemon]) -> None:
    """Waits for the relay and starts what it was asked to."""
    asked = work / "asked.json"
    while not asked.exists() and not (work / "over").exists():
        time.sleep(0.05)
    if asked.exists():
        daemon.append(Daemon(work, json.loads(asked.read_text("utf-8"))))
        daemon[0].start()


def test_the_plug_in_starts_the_daemon(installed_gimp: Gimp, folder: Path) -> None:
    prepare(folder)
    assert cli.main(["install", "--profile", str(folder / "profile")]) == 0
    launcher = folder / "profile" / "plug-ins" / NAME / bundle.LAUNCHER
    recorded = json.loads(launcher.read_text("utf-8"))
    daemons: list[Daemon] = []
    thread = threading.Thread(target=start_when_asked, args=(folder, daemons))
    if installed_gimp.root is not None:
        relay = folder / "relay"
        relay.write_text(RELAY.format(work=str(folder)), "utf-8")
        relay.chmod(0o755)
        command = [str(relay), *recorded["command"]]
        launcher.write_text(json.dumps({**recorded, "command": command}), "utf-8")
        thread.start()
    photo = dark_photo()
    session = Session(installed_gimp, folder)
    try:
        asked = session.run(CODE, path=session.put(photo), babl=babl(photo), timeout=120)
        assert asked == [True, ""]
        after = session.get(photo.shape, np.uint8)
        assert after[220:260, 230:270].mean() > 1.3 * photo[220:260, 230:270].mean()
        client = Daemon(folder).client()
        assert client.status()["served"] == 1
        client.shutdown()
        client.close()
    finally:
        (folder / "over").touch()
        session.close()
        if thread.ident is not None:
            thread.join(30)
        for daemon in daemons:
            daemon.stop()


def test_a_daemon_that_does_not_start(installed_gimp: Gimp, folder: Path) -> None:
    """The program is not there any more: the sentence names it and the log.

    Also where GIMP was started from the terminal of an editor that is a Snap.
    """
    plug_ins = prepare(folder)
    launcher = bundle.copy_to(plug_ins) / bundle.LAUNCHER
    launcher.write_text(json.dumps({"command": ["/moved/away/python", "-m", "x"]}), "utf-8")
    photo = dark_photo()
    snap = {"SNAP": "/snap/code/174", "SNAP_NAME": "code"}
    session = Session(installed_gimp, folder, environment=snap)
    try:
        succeeded, message = session.run(CODE, path=session.put(photo), babl=babl(photo))
        assert not succeeded
        assert "not running" in message
        assert "/moved/away/python -m x" in message
        assert str(folder / "state") in message
        assert np.array_equal(session.get(photo.shape, np.uint8), photo)
    finally:
        session.close()


def start_when_woken(work: Path, daemon: Daemon) -> None:
    """Does what systemd does with the path unit: waits for the file, and starts the service."""
    wake = work / "state" / WAKE_FILE
    while not (work / "over").exists():
        if wake.exists():
            daemon.start()
            return
        time.sleep(0.05)


def test_from_a_sandbox_the_service_starts_the_daemon(installed_gimp: Gimp, folder: Path) -> None:
    bundle.copy_to(prepare(folder))
    photo, daemon = dark_photo(), Daemon(folder)
    snap = {"SNAP": "/snap/gimp/1", "SNAP_NAME": "gimp"}
    session = Session(installed_gimp, folder, environment=snap)
    service = threading.Thread(target=start_when_woken, args=(folder, daemon))
    try:
        values = {"path": session.put(photo), "babl": babl(photo)}
        succeeded, message = session.run(CODE, **values)  # there is no service yet
        assert not succeeded
        assert "not running" in message
        assert "maskupe-daemon service install" in message
        (folder / "state" / WAKE_FILE).unlink()
        service.start()
        assert session.run(CODE, **values) == [True, ""]
        after = session.get(photo.shape, np.uint8)
        assert after[220:260, 230:270].mean() > 1.3 * photo[220:260, 230:270].mean()
    finally:
        (folder / "over").touch()
        session.close()
        if service.ident is not None:
            service.join(30)
        daemon.stop()


def test_a_plug_in_unpacked_by_hand_says_how_to_get_maskupe_and_then_finds_it(
    installed_gimp: Gimp, folder: Path
) -> None:
    plug_ins = prepare(folder)
    with zipfile.ZipFile(bundle.write_archive(folder)) as archive:
        archive.extractall(plug_ins)
    (plug_ins / NAME / f"{NAME}.py").chmod(0o755)  # which Python's own unpacking forgets
    photo = dark_photo()
    daemons: list[Daemon] = []
    thread = threading.Thread(target=start_when_asked, args=(folder, daemons))
    session = Session(installed_gimp, folder)
    try:
        values = {"path": session.put(photo), "babl": babl(photo)}
        succeeded, message = session.run(CODE, **values)
        assert not succeeded
        assert "not running" in message
        assert "pipx install maskupe" in message
        assert np.array_equal(session.get(photo.shape, np.uint8), photo)

        program = folder / "home" / ".local" / "bin" / "maskupe-daemon"
        program.parent.mkdir(parents=True, exist_ok=True)
        before = repr(bundle.daemon_command()[:-1])
        relay = RELAY.format(work=str(folder)).replace("sys.argv", f"{before} + sys.argv")
        program.write_text(relay, "utf-8")
        program.chmod(0o755)
        thread.start()
        assert session.run(CODE, **values, timeout=120) == [True, ""]
        after = session.get(photo.shape, np.uint8)
        assert after[220:260, 230:270].mean() > 1.3 * photo[220:260, 230:270].mean()
    finally:
        (folder / "over").touch()
        session.close()
        if thread.ident is not None:
            thread.join(30)
        for daemon in daemons:
            daemon.stop()


def test_errors_in_german(installed_gimp: Gimp, folder: Path) -> None:
    plug_ins = prepare(folder)
    (bundle.copy_to(plug_ins) / bundle.LAUNCHER).unlink()
    photo = dark_photo()
    session = Session(installed_gimp, folder, environment={"LANGUAGE": "de"})
    daemon = Daemon(folder)
    try:
        values = {"path": session.put(photo), "babl": babl(photo)}
        _succeeded, message = session.run(CODE, **values)
        assert message.startswith("Der MaskUPE-Dienst läuft nicht. Starten ")
        daemon.start()
        unknown = CODE.replace("[layer])", "[layer], model='no-such-model')")
        _succeeded, message = session.run(unknown, **values)
        assert message.startswith("Der Dienst hat dieses ")
        assert "'no-such-model'" in message
    finally:
        session.close()
        daemon.stop()
