"""A desktop without a screen: Xvfb and a small window manager beside GIMP, driven by xdotool."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from tests.gimp.finding import Gimp, NoGimpError

#: Width and height of the screen in pixels.
SIZE = (1360, 900)
_PROGRAMS = ("Xvfb", "openbox", "xdotool", "import")


class Desktop:
    """An X display of its own.

    Args:
        gimp: the GIMP beside which it runs.
        work: the work folder.
        size: width and height of the screen in pixels.
    """

    def __init__(self, gimp: Gimp, work: Path, size: tuple[int, int] = SIZE) -> None:
        if gimp.root is None:
            missing = [name for name in _PROGRAMS if shutil.which(name) is None]
            if missing:
                raise NoGimpError(f"Not installed: {', '.join(missing)}.")
        self.gimp = gimp
        self.work = work
        self._log = (work / "desktop.log").open("wb")
        told = work / "display"
        screen = f"{size[0]}x{size[1]}x24"
        self._programs = [
            self._start(["sh", "-c", f"exec Xvfb -displayfd 3 -screen 0 {screen} 3> {told}"])
        ]
        self.display = f":{self._wait_for(told)}"
        self._programs.append(self._start(["openbox"], self.display))

    def _start(self, command: list[str], display: str = "") -> subprocess.Popen[bytes]:
        line = self.gimp.command(command, self.work, self._variables(display))
        return subprocess.Popen(line, stdout=self._log, stderr=self._log)

    def _variables(self, display: str) -> dict[str, str]:
        home = {"HOME": str(self.work / "home")}
        return {**home, "DISPLAY": display} if display else home

    def _wait_for(self, file: Path) -> str:
        deadline = time.monotonic() + 20
        while not (file.exists() and file.read_text().endswith("\n")):
            if time.monotonic() > deadline:
                raise AssertionError((self.work / "desktop.log").read_text("utf-8", "replace"))
            time.sleep(0.05)
        return file.read_text().strip()

    def run(self, *command: str) -> str:
        """Runs a program on the display; what it printed."""
        line = self.gimp.command(list(command), self.work, self._variables(self.display))
        ran = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
        return ran.stdout

    def keys(self, *keys: str) -> None:
        """Presses keys, one after the other, in the window that has the focus."""
        self.run("xdotool", "key", "--delay", "120", *keys)

    def windows(self, title: str = ".*") -> list[str]:
        """Identifiers of all visible windows, those inside of others too, whose title matches."""
        return self.run("xdotool", "search", "--onlyvisible", "--name", title).split()

    def window(self, title: str, timeout: float = 30.0) -> str:
        """Identifier of the visible window whose title matches, once it is there."""
        deadline = time.monotonic() + timeout
        while True:
            if found := self.windows(title):
                return found[0]
            if time.monotonic() > deadline:
                self.screenshot("missing-window")
                raise AssertionError(f"No window {title!r} appeared.")
            time.sleep(0.2)

    def gone(self, title: str, timeout: float = 30.0) -> bool:
        """Whether no visible window has such a title any more, waiting for that."""
        deadline = time.monotonic() + timeout
        while self.windows(title):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def focus(self, window: str) -> None:
        """Gives a window the keyboard."""
        self.run("xdotool", "windowactivate", "--sync", window)

    def screenshot(self, name: str, window: str = "root") -> npt.NDArray[np.uint8]:
        """A picture of a window, or of the whole display, as (H, W, 3); also kept as PNG."""
        path = self.work / f"{name}.png"
        self.run("import", "-window", window, "-quality", "10", str(path))  # 10: quickly
        kept = os.environ.get("MASKUPE_SCREENSHOTS")
        if kept:
            Path(kept).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, Path(kept) / f"gimp-{self.gimp.version}-{name}.png")
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        assert picture is not None, f"no screenshot {name}"
        return np.asarray(picture, np.uint8)

    def close(self) -> None:
        """Ends the display and everything on it."""
        for program in reversed(self._programs):
            program.terminate()
        for program in self._programs:
            try:
                program.wait(10)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()
        self._log.close()
