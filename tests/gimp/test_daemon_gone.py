"""The daemon is not there, or goes away in the middle: an error in words, an untouched layer."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time

import numpy as np

from tests.gimp.daemon import Daemon
from tests.gimp.photo import babl, dark_photo
from tests.gimp.session import Session

PREPARE = """
image = new_image(width, height)
layer = new_layer(image, width, height)
write(layer, path, babl)
select_ellipse(image, 10, 10, width - 20, height - 20)
selected = selection_bytes(image)
read(layer, None, "before.raw")
"""
CALL = "result = enhance(image, [layer])"
LOOK = """
read(layer, None, "after.raw")
result = [selected == selection_bytes(image), len(image.get_channels())]
"""


def prepare(gimp: Session, photo: np.ndarray) -> None:
    height, width = photo.shape[:2]
    gimp.run(PREPARE, path=gimp.put(photo), babl=babl(photo), width=width, height=height)


def untouched(gimp: Session, photo: np.ndarray) -> bool:
    selection_kept, channels = gimp.run(LOOK)
    before = gimp.get(photo.shape, np.uint8, "before.raw")
    after = gimp.get(photo.shape, np.uint8, "after.raw")
    return selection_kept and channels == 0 and np.array_equal(before, after)


def test_killed_before_the_call(gimp: Session, daemon: Daemon) -> None:
    photo = dark_photo()
    prepare(gimp, photo)
    daemon.kill()
    succeeded, message = gimp.run(CALL)
    assert not succeeded
    assert "daemon is not running" in message
    assert "maskupe-daemon" in message  # how to start it
    assert untouched(gimp, photo)


def test_killed_during_the_call_and_started_again(gimp: Session, daemon: Daemon) -> None:
    photo = np.tile(dark_photo(), (8, 8, 1))  # 16.8 megapixels: long enough to be caught at work
    prepare(gimp, photo)
    with daemon.client() as client:
        call = gimp.begin(CALL)
        deadline = time.monotonic() + 60
        while not client.status()["running"]:
            assert time.monotonic() < deadline, "the job never ran"
            time.sleep(0.002)
        daemon.kill()
    succeeded, message = gimp.finish(call)
    assert not succeeded
    assert "stopped in the middle" in message
    assert untouched(gimp, photo)

    daemon.start()
    assert gimp.run(CALL) == [True, ""]
    assert not untouched(gimp, photo)


class Cut:
    """Stands between GIMP and the daemon and cuts every answer off after some bytes."""

    def __init__(self, daemon: Daemon, after: int) -> None:
        self._daemon = daemon
        self._after = after
        self._file = daemon.state / "connection.json"
        self._true = self._file.read_bytes()
        self._path = daemon.state / "cut.sock"

    def __enter__(self) -> None:
        endpoint = json.loads(self._true)["endpoint"]
        self._behind = endpoint.removeprefix("ipc://")
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self._path))
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        there = {**json.loads(self._true), "endpoint": f"ipc://{self._path}"}
        self._file.write_text(json.dumps(there), "utf-8")

    def __exit__(self, *_error: object) -> None:
        self._file.write_bytes(self._true)
        self._listening.close()
        self._path.unlink()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            daemon = socket.socket(socket.AF_UNIX)
            daemon.connect(self._behind)
            for source, sink, most in ((client, daemon, 1 << 40), (daemon, client, self._after)):
                threading.Thread(target=self._pass, args=(source, sink, most), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket, most: int) -> None:
        try:
            while most > 0 and (data := source.recv(min(most, 1 << 16))):
                sink.sendall(data)
                most -= len(data)
        except OSError:
            pass
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def test_cut_off_in_the_middle_of_the_result(gimp: Session, daemon: Daemon) -> None:
    """Half of the picture has arrived, and none of it is seen."""
    photo = np.tile(dark_photo(), (4, 4, 1))
    prepare(gimp, photo)
    with Cut(daemon, photo.nbytes // 2):
        succeeded, message = gimp.run(CALL)
    assert not succeeded
    assert "stopped in the middle" in message
    assert untouched(gimp, photo)
    assert gimp.run(CALL) == [True, ""]
    assert not untouched(gimp, photo)
