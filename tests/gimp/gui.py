"""A GIMP with its user interface on a virtual screen, driven by keys and seen by screenshots.

Whatever needs time is waited for by its state: a window that is there or gone, a picture that
shows what was asked for, a file that was written. No test depends on how fast the machine is.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from maskupe_client.errors import ClientError
from maskupe_gimp import bundle
from tests.gimp.daemon import Daemon
from tests.gimp.desktop import SIZE, Desktop
from tests.gimp.finding import Gimp, NoGimpError, fail_or_skip
from tests.gimp.photo import babl, dark_photo
from tests.gimp.session import Session, prepare, settle

Picture = npt.NDArray[np.uint8]
AnyGui = TypeVar("AnyGui", bound="Gui")

#: Regular expression of the dialog's title.
TITLE = "^Local Underexposure$"
#: What is selected in an image of the test photograph: x, y, width and height in pixels.
ELLIPSE = (150, 120, 200, 240)
#: Seconds after which something is taken for not happening, on the slowest machine.
TIMEOUT = 30.0
#: Seconds between two pictures that are to be equal.
_INTERVAL = 0.25
#: A text cursor may blink between two pictures of a dialog at rest: so many pixels at most.
_CURSOR = 50
_LAST = "GimpProcedureConfigRun-plug-in-maskupe-local-underexposure.last"
_OPEN = """
image = new_image(width, height)
layer = new_layer(image, width, height)
write(layer, path, babl)
select_ellipse(image, *ellipse)
display = Gimp.Display.new(image)
Gimp.displays_flush()
result = image.get_id()
"""


class Gui:
    """A running GIMP with its windows, a daemon, and what tests do with the plug-in's dialog.

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
        self.settings = work / "profile" / "plug-in-settings"
        self.daemon = Daemon(work)
        self.desktop = Desktop(gimp, work, size)
        self.daemon.start()
        self.session = Session(gimp, work, display=self.desktop.display, environment=environment)

    @classmethod
    @contextmanager
    def opened(
        cls: type[AnyGui],
        gimp: Gimp,
        size: tuple[int, int] = SIZE,
        environment: dict[str, str] | None = None,
    ) -> Iterator[AnyGui]:
        """Start one in a folder of its own, and end it; skip or fail the test if it cannot be."""
        work = Path(tempfile.mkdtemp(prefix="maskupe-"))
        try:
            gui = cls(gimp, work, size, environment)
        except NoGimpError as error:
            fail_or_skip(error)
        try:
            yield gui
        finally:
            gui.close()
            shutil.rmtree(work, ignore_errors=True)

    def close(self) -> None:
        """End GIMP, the screen and the daemon."""
        self.session.close()
        self.desktop.close()
        self.daemon.stop()

    def open(self, photo: np.ndarray, ellipse: tuple[int, int, int, int] = ELLIPSE) -> None:
        """Open an image of one layer with a selection, and wait for its window."""
        height, width = photo.shape[:2]
        values = {"width": width, "height": height, "ellipse": ellipse}
        image = self.session.run(_OPEN, path=self.session.put(photo), babl=babl(photo), **values)
        self.desktop.window(rf"\]-{image}\.0 .*GIMP$")  # the title has the image's number

    def show(
        self,
        code: str = "",
        photo: np.ndarray | None = None,
        ellipse: tuple[int, int, int, int] = ELLIPSE,
    ) -> str:
        """Open an image, run a snippet on it, open the dialog from the menu; return its window."""
        self.open(dark_photo() if photo is None else photo, ellipse)
        if code:
            self.session.run(code + "\nGimp.displays_flush()")
        before = self.served()
        self.open_from_menu()
        return self.dialog(before)

    def open_from_menu(self) -> None:
        """Choose the plug-in's entry in the menu of the image's window."""
        self.focus_image()
        self.open_menu("alt+r")
        self.open_menu("h")
        self.desktop.screenshot("menu")
        self.press("l")

    def again(self, code: str = "") -> str:
        """Run a snippet, then open the dialog anew on what is active; return its window."""
        self.session.run(code + "\nGimp.displays_flush()")
        before = self.served()
        self.focus_image()
        self.press("ctrl+shift+f")
        return self.dialog(before)

    def dialog(self, served: int) -> str:
        """Wait for the dialog with its first preview; return its window.

        Args:
            served: how many jobs the daemon had done before the dialog was opened.
        """
        window = self.desktop.window(TITLE)
        self.desktop.focus(window)
        assert self.until(lambda: self.served() > served), "no preview was asked for"
        assert shows_picture(self.picture(window, wanted=shows_picture)), "no preview"
        return window

    def finish(self) -> None:
        """Press OK, and wait until the dialog has gone and GIMP has kept the settings."""
        before = self._last_written()
        self.press("alt+o")
        assert self.desktop.gone(TITLE), "the dialog stayed"
        # The plug-in writes them when it ends, after its dialog.
        assert self.until(lambda: self._last_written() != before), "no settings were kept"

    def cancel(self) -> None:
        """Press Escape, and wait until the dialog has gone."""
        self.press("Escape")
        assert self.desktop.gone(TITLE), "the dialog stayed"

    def leave(self) -> None:
        """Close the dialog, if it is there, and the image."""

        def closed() -> bool:
            for window in self.desktop.windows(TITLE):
                self.desktop.focus(window)
                self.press("Escape")  # which may close a menu in it first
            return not self.desktop.windows(TITLE)

        assert self.until(closed), "the dialog stayed"
        self.session.run("display.delete()")

    def forget_settings(self) -> None:
        """Remove all settings that were kept: the next dialog has the defaults."""
        shutil.rmtree(self.settings, ignore_errors=True)
        self.settings.mkdir()

    def last(self, name: str) -> str:
        """Return the value of an argument in the run before, once GIMP has written the file."""
        found: list[str] = []

        def written() -> bool:
            text = (self.settings / _LAST).read_text("utf-8")
            found[:] = re.findall(rf'^\({name} "?([^")]*)"?\)', text, re.MULTILINE)
            return bool(found)

        assert self.until(written), f"GIMP has not kept {name}"
        return found[0]

    def _last_written(self) -> int:
        """Return when the last run's settings were written, in nanoseconds; 0: never."""
        try:
            return (self.settings / _LAST).stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def pixels(self) -> bytes:
        """Return the layer's pixels as GIMP has them."""
        self.session.run("read(layer, None)")
        return (self.session.work / "out.raw").read_bytes()

    def focus_image(self) -> None:
        """Give the image's window the keyboard."""
        self.desktop.focus(self.desktop.window("GIMP$"))

    def press(self, *keys: str) -> None:
        """Press keys, one after the other; what comes of it is still to be waited for."""
        self.desktop.keys(*keys)

    def open_menu(self, *keys: str) -> None:
        """Press keys that open a menu, and wait for it."""
        with self.menu_opening():
            self.press(*keys)

    @contextmanager
    def menu_opening(self) -> Iterator[None]:
        """Wait, at the end, for the menu that what is inside opens: a window more on the screen."""
        before = set(self.desktop.windows())
        yield
        assert self.until(lambda: not before.issuperset(self.desktop.windows())), "no menu"

    def type(self, entry: str, text: str, end: str = "Tab") -> None:
        """Type into the entry with a shortcut, in place of what is there, and press a key."""
        self.press(entry, "ctrl+a")
        self.desktop.run("xdotool", "type", text)
        if end:
            self.press(end)

    def strength(self, number: str) -> None:
        """Type a strength."""
        self.type("alt+g", number)

    def size(self, window: str) -> tuple[int, int]:
        """Return a window's width and height."""
        told = self.desktop.run("xdotool", "getwindowgeometry", "--shell", window)
        found = dict(line.split("=") for line in told.split())
        return int(found["WIDTH"]), int(found["HEIGHT"])

    @staticmethod
    def until(wanted: Callable[[], bool], timeout: float = TIMEOUT) -> bool:
        """Wait until a condition holds; return whether it did in time."""
        deadline = time.monotonic() + timeout
        while not wanted():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def jobs(self) -> tuple[int, int]:
        """Return how many jobs the daemon has done, and how many it has yet to do.

        (0, 0) where there is no daemon.
        """
        try:
            with self.daemon.client() as client:
                status = client.status()
        except ClientError:
            return 0, 0
        return status["served"], status["running"] + status["queued"]

    def served(self) -> int:
        """Return how many jobs the daemon has done."""
        return self.jobs()[0]

    @contextmanager
    def renewing(self) -> Iterator[None]:
        """Wait, at the end, until the daemon has made a preview that was asked for meanwhile."""
        before = self.served()
        yield
        assert self.until(lambda: self.served() > before), "the preview was not made anew"

    def look(self, window: str, name: str = "look") -> Picture:
        """Return a window's picture as it is now."""
        return self.desktop.screenshot(name, window)

    def picture(
        self,
        window: str,
        name: str = "look",
        wanted: Callable[[Picture], bool] = lambda _picture: True,
    ) -> Picture:
        """Return a picture of the dialog at rest.

        The dialog rests when the daemon has nothing to do and its preview does not change.

        Args:
            window: the dialog's.
            name: of the file that the picture is kept in.
            wanted: what the picture must be like. After :data:`TIMEOUT` seconds one that is not
                is returned too, so that the test's own comparison fails with its numbers.
        """
        deadline = time.monotonic() + TIMEOUT
        jobs, last = self.jobs(), self.look(window, name)
        while True:
            time.sleep(_INTERVAL)
            now_jobs, now = self.jobs(), self.look(window, name)
            rests = jobs == now_jobs and not jobs[1] and changed(last, now) < _CURSOR
            late = time.monotonic() > deadline
            if rests and (late or wanted(now)):
                return now
            assert not late, "the dialog does not come to rest"
            jobs, last = now_jobs, now


def shows_picture(dialog: Picture) -> bool:
    """Return whether the middle of the dialog's left part is more than its background."""
    return bool(dialog[150:350, 150:450].std() > 8)


def changed(one: Picture, other: Picture) -> int:
    """Return how many pixels of the dialog's left part, where the preview is, differ."""
    if one.shape != other.shape:
        return one.shape[0] * one.shape[1]
    half = one.shape[1] // 2
    return int((one[:, :half] != other[:, :half]).any(axis=2).sum())


def differs_from(other: Picture, by: int) -> Callable[[Picture], bool]:
    """Return the condition that more than so many pixels of a picture have :func:`changed`."""
    return lambda picture: changed(other, picture) > by


def resembles(other: Picture, within: int) -> Callable[[Picture], bool]:
    """Return the condition that fewer than so many pixels of a picture have :func:`changed`."""
    return lambda picture: changed(other, picture) < within
