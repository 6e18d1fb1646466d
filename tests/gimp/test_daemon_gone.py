"""The daemon is not there, or goes away in the middle: an error in words, an untouched layer."""

from __future__ import annotations

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
