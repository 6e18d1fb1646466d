"""The plug-in as a photographer meets it: menu, dialog with live preview, undo, repeat, cancel.

One GIMP with its user interface under Xvfb plays the whole story, because a start takes long; each
test looks at one part of it. Set MASKUPE_SCREENSHOTS to a folder to keep the pictures.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskupe_gimp import NAME, bundle
from tests.gimp.conftest import REQUIRED
from tests.gimp.daemon import Daemon
from tests.gimp.desktop import SIZE, Desktop
from tests.gimp.finding import Gimp, NoGimpError
from tests.gimp.photo import babl, dark_photo
from tests.gimp.session import Session, prepare, settle

TITLE = "^Local Underexposure$"
OPEN = """
image = new_image(width, height)
layer = new_layer(image, width, height)
write(layer, path, babl)
select_ellipse(image, *ellipse)
display = Gimp.Display.new(image)
Gimp.displays_flush()
"""


class Story:
    """The actors, and what was seen.

    Args:
        gimp: the GIMP.
        work: a new folder.
        size: of the screen, in pixels.
        environment: variables that GIMP is started with besides.
    """

    def __init__(
        self,
        gimp: Gimp,
        work: Path,
        size: tuple[int, int] = SIZE,
        environment: dict[str, str] | None = None,
    ) -> None:
        bundle.copy_to(prepare(work))
        settle(gimp, work)
        self.daemon = Daemon(work)
        self.desktop = Desktop(gimp, work, size)
        self.daemon.start()
        self.session = Session(gimp, work, display=self.desktop.display, environment=environment)
        self.seen: dict[str, Any] = {}

    def close(self) -> None:
        self.session.close()
        self.desktop.close()
        self.daemon.stop()

    def open(self, photo: np.ndarray, ellipse: tuple[int, int, int, int]) -> None:
        height, width = photo.shape[:2]
        values = {"width": width, "height": height, "ellipse": ellipse}
        self.session.run(OPEN, path=self.session.put(photo), babl=babl(photo), **values)
        time.sleep(1.0)

    def pixels(self) -> bytes:
        self.session.run("read(layer, None)")
        return (self.session.work / "out.raw").read_bytes()

    def until(self, wanted: Callable[[], bool], timeout: float = 30.0) -> bool:
        deadline = time.monotonic() + timeout
        while not wanted():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def press(self, *keys: str) -> None:
        self.desktop.keys(*keys)
        time.sleep(0.5)

    def dialog(self) -> str:
        """The dialog's window, with a preview in it."""
        window = self.desktop.window(TITLE)
        self.desktop.focus(window)
        assert self.until(lambda: self.shows_picture(self.look(window))), "no preview"
        time.sleep(1.5)  # from the layer as it is to the result
        return window

    def look(self, window: str, name: str = "look") -> np.ndarray:
        return self.desktop.screenshot(name, window)

    @staticmethod
    def shows_picture(dialog: np.ndarray) -> bool:
        """Whether the middle of the dialog's left part is more than its background."""
        return bool(dialog[150:350, 150:450].std() > 8)

    @staticmethod
    def changed(one: np.ndarray, other: np.ndarray) -> int:
        """How many pixels of the dialog's left part, where the preview is, differ."""
        if one.shape != other.shape:
            return one.shape[0] * one.shape[1]
        half = one.shape[1] // 2
        return int((one[:, :half] != other[:, :half]).any(axis=2).sum())

    def play(self) -> None:
        self.open(dark_photo(), (150, 120, 200, 240))
        before = self.pixels()
        self.desktop.focus(self.desktop.window("GIMP$"))
        self.press("alt+r")
        self.press("h")
        self.desktop.screenshot("menu")
        self.press("l")
        window = self.dialog()
        lit = self.look(window, "dialog")

        self.strength("0.2")
        weaker = self.look(window, "weaker")
        self.seen["slider changed the preview by"] = self.changed(lit, weaker)
        self.strength("1.0")
        self.seen["and back by"] = self.changed(lit, self.look(window))

        self.press("alt+v")
        self.press("alt+t")
        self.seen["split view changed it by"] = self.changed(lit, self.look(window, "split-view"))
        self.press("alt+t")
        self.press("alt+v")
        self.press("alt+p")
        self.seen["preview off changed it by"] = self.changed(lit, self.look(window, "off"))
        self.press("alt+p")
        self.follow_edges()
        self.look(window, "edges-off")
        self.follow_edges()

        self.press("alt+o")
        self.seen["dialog closed"] = self.desktop.gone(TITLE)
        after = self.pixels()
        self.seen["ok changed the layer"] = after != before
        self.desktop.focus(self.desktop.window("GIMP$"))
        self.desktop.screenshot("done")
        self.press("ctrl+z")
        self.seen["undone by one step"] = self.until(lambda: self.pixels() == before, 5)
        self.seen["selection still there"] = not self.session.run(
            "result = Gimp.Selection.is_empty(image)"
        )
        self.seen["same layer active after undo"] = self.session.run(
            "result = [item == layer for item in image.get_selected_layers()]"
        )
        self.desktop.screenshot("undone")
        self.press("ctrl+y")
        self.seen["redone"] = self.until(lambda: self.pixels() == after, 5)
        self.press("ctrl+z")
        self.press("ctrl+f")
        self.seen["repeated by Ctrl+F"] = self.until(lambda: self.pixels() == after, 20)
        self.press("ctrl+z")
        self.values(lit, weaker)
        self.without_daemon()
        self.cancel()

    def strength(self, number: str) -> None:
        """Types a strength into the dialog, by keys alone."""
        self.press("alt+g")
        self.desktop.run("xdotool", "key", "ctrl+a")
        self.desktop.run("xdotool", "type", number)
        self.press("Tab")
        time.sleep(1.0)

    def follow_edges(self) -> None:
        """Ticks "Follow edges", or clears it, and counts the previews made since."""
        with self.daemon.client() as client:
            before = client.status()["served"]
            self.press("alt+f")
            time.sleep(1.5)
            self.seen.setdefault("previews by ticking", []).append(
                client.status()["served"] - before
            )

    def again(self) -> str:
        """The dialog once more, with its preview."""
        self.desktop.focus(self.desktop.window("GIMP$"))
        self.press("ctrl+shift+f")
        return self.dialog()

    def values(self, lit: np.ndarray, weaker: np.ndarray) -> None:
        """Saves settings, runs with others, and looks for each at the next time."""
        window = self.again()
        self.press("alt+s")  # Save Settings: those of the run before
        self.strength("0.2")
        self.press("alt+o")
        self.desktop.gone(TITLE)
        self.press("ctrl+z")
        window = self.again()
        self.seen["last values off by"] = self.changed(weaker, self.look(window, "last-values"))
        self.press("alt+l")  # Load Saved Settings
        time.sleep(1.0)
        self.seen["saved settings off by"] = self.changed(lit, self.look(window, "loaded"))
        self.strength("0.2")
        self.press("alt+r")  # Reset
        self.desktop.screenshot("reset-menu")
        self.press("Tab", "Return")  # its second entry: factory defaults
        time.sleep(1.0)
        self.seen["defaults off by"] = self.changed(lit, self.look(window, "reset"))
        self.press("Escape")
        self.seen["escape closed it"] = self.desktop.gone(TITLE)

    def without_daemon(self) -> None:
        """Opens the dialog while no daemon can be had: it says so, and stays usable."""
        self.daemon.stop()
        launcher = self.session.work / "profile" / "plug-ins" / NAME / bundle.LAUNCHER
        recorded = json.loads(launcher.read_text("utf-8"))
        launcher.write_text(json.dumps({**recorded, "command": []}), "utf-8")
        self.desktop.focus(self.desktop.window("GIMP$"))
        self.press("ctrl+shift+f")
        window = self.desktop.window(TITLE)
        self.desktop.focus(window)
        time.sleep(3.0)
        said = self.look(window, "no-daemon")
        self.daemon.start()
        self.strength("0.9")
        self.seen["came back by"] = self.changed(said, self.look(window, "daemon-back"))
        self.press("Escape")
        self.desktop.gone(TITLE)

    def cancel(self) -> None:
        """Presses Cancel while the daemon is at work on a large photo."""
        self.open(np.tile(dark_photo(), (14, 14, 1)), (100, 100, 6900, 6900))
        before = self.pixels()
        with self.daemon.client() as client:

            def at_work() -> bool:
                return self.until(lambda: client.status()["running"] == 1, 20)

            self.again()
            # No pauses here: a picture of the window alone takes as long as the job does.
            self.desktop.keys("alt+o")
            self.seen["was at work"] = at_work()
            self.desktop.run("xdotool", "key", "alt+c")
            self.seen["dialog closed by cancel"] = self.desktop.gone(TITLE)
            self.seen["daemon free"] = self.until(lambda: client.status()["running"] == 0, 60)
            self.seen["cancelled layer untouched"] = self.pixels() == before
            window = self.again()
            self.press("alt+o")
            at_work()
            self.look(window, "working")
            self.desktop.gone(TITLE)


@pytest.fixture(scope="module")
def seen(installed_gimp: Gimp) -> Iterator[dict[str, Any]]:
    """What was seen in the course of the story."""
    work = Path(tempfile.mkdtemp(prefix="maskupe-"))
    try:
        story = Story(installed_gimp, work)
    except NoGimpError as error:
        if REQUIRED:
            pytest.fail(str(error))
        pytest.skip(str(error))
    try:
        story.play()
        yield story.seen
    finally:
        story.close()
        shutil.rmtree(work, ignore_errors=True)


def test_the_preview_follows_the_slider(seen: dict[str, Any]) -> None:
    assert seen["slider changed the preview by"] > 5000
    assert seen["and back by"] < 100


def test_split_view_transition_and_preview_toggles(seen: dict[str, Any]) -> None:
    assert seen["split view changed it by"] > 3000
    assert seen["preview off changed it by"] > 5000


def test_following_edges_renews_the_preview(seen: dict[str, Any]) -> None:
    assert seen["previews by ticking"] == [1, 1]


def test_ok_is_one_undo_step(seen: dict[str, Any]) -> None:
    assert seen["dialog closed"]
    assert seen["ok changed the layer"]
    assert seen["undone by one step"]
    assert seen["selection still there"]
    assert seen["same layer active after undo"] == [True]
    assert seen["redone"]


def test_repeat_with_the_last_values(seen: dict[str, Any]) -> None:
    assert seen["repeated by Ctrl+F"]


def test_last_values_saved_settings_and_defaults(seen: dict[str, Any]) -> None:
    assert seen["last values off by"] < 1000
    assert seen["saved settings off by"] < 1000
    assert seen["defaults off by"] < 1000
    assert seen["escape closed it"]


def test_a_daemon_that_comes_back_is_used(seen: dict[str, Any]) -> None:
    assert seen["came back by"] > 5000


def test_cancel_ends_the_job(seen: dict[str, Any]) -> None:
    assert seen["was at work"]
    assert seen["dialog closed by cancel"]
    assert seen["daemon free"]
    assert seen["cancelled layer untouched"]
