"""One running GIMP that tests talk to: a start takes seconds, so many tests share one.

GIMP runs ``inside.py`` as its batch command. That waits for snippets of Python in the work
folder, runs each in GIMP, and writes what came out as JSON. Arrays travel as raw files.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.gimp.finding import HERE, Gimp


class InsideError(AssertionError):
    """A snippet raised inside GIMP; the text is its traceback."""


class Session:
    """A running GIMP. Snippets see the names of ``inside.py`` and those of earlier snippets."""

    def __init__(
        self,
        gimp: Gimp,
        work: Path,
        *,
        display: str = "",
        environment: dict[str, str] | None = None,
    ) -> None:
        self.gimp = gimp
        self.work = work
        self._count = 0
        self._log = (work / "gimp.log").open("wb")
        (work / "commands").mkdir()
        variables = {
            "HOME": str(work / "home"),
            "GIMP3_DIRECTORY": str(work / "profile"),
            "MASKUPE_STATE_DIR": str(work / "state"),
            "MASKUPE_TEST_WORK": str(work),
            **({"DISPLAY": display} if display else {}),
            **(environment or {}),
        }
        program = ["gimp", "-n", "--no-splash"] if display else ["gimp-console", "-i"]
        inside = work / "inside.py"
        inside.write_text((HERE / "inside.py").read_text("utf-8"), "utf-8")
        arguments = [
            *program,
            "--batch-interpreter=python-fu-eval",
            "-b",
            f"exec(open({str(inside)!r}).read(), globals())",
            "--quit",
        ]
        self.process = subprocess.Popen(
            gimp.command(arguments, work, variables), stdout=self._log, stderr=self._log
        )
        self.run("result = True", timeout=120)

    def begin(self, code: str, **values: Any) -> int:
        """Hands a snippet over without waiting; the number is for :meth:`finish`."""
        self._count += 1
        command = self.work / "commands" / f"{self._count:04d}.json"
        beside = command.with_suffix(".new")
        beside.write_text(json.dumps({"code": code, "values": values}), "utf-8")
        beside.rename(command)
        return self._count

    def finish(self, number: int, timeout: float = 60.0) -> Any:
        """What the snippet assigned to ``result``.

        Raises:
            InsideError: if it raised.
        """
        answer = self.work / "commands" / f"{number:04d}.answer"
        deadline = time.monotonic() + timeout
        while not answer.exists():
            if self.process.poll() is not None:
                raise InsideError(f"GIMP ended with status {self.process.returncode}: {self.log()}")
            if time.monotonic() > deadline:
                raise InsideError(f"GIMP did not answer in {timeout:.0f} s: {self.log()}")
            time.sleep(0.01)
        found = json.loads(answer.read_text("utf-8"))
        if found["error"]:
            raise InsideError(found["error"])
        return found["result"]

    def run(self, code: str, timeout: float = 60.0, **values: Any) -> Any:
        """Runs a snippet, which sees ``values`` as variables; returns its ``result``."""
        return self.finish(self.begin(code, **values), timeout)

    def put(self, array: np.ndarray, name: str = "array.raw") -> str:
        """Writes an array where snippets can read it; returns the path."""
        path = self.work / name
        np.ascontiguousarray(array).tofile(path)
        return str(path)

    def get(self, shape: tuple[int, ...], dtype: Any, name: str = "out.raw") -> np.ndarray:
        """Reads an array that a snippet wrote."""
        return np.fromfile(self.work / name, dtype).reshape(shape)

    def log(self) -> str:
        """The end of what GIMP printed."""
        return (self.work / "gimp.log").read_text("utf-8", "replace")[-3000:]

    def close(self) -> None:
        """Ends GIMP."""
        (self.work / "commands" / "quit").touch()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


def settle(gimp: Gimp, work: Path) -> None:
    """Writes settings that keep GIMP's welcome window and its check for updates away."""
    asked = gimp.command(["gimp-console", "--version"], work, {"HOME": str(work / "home")})
    told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    version = next(word for word in told.split() if word.startswith("3."))
    # Without its own version there GIMP takes itself for newly installed.
    settings = (f'(config-version "{version}")', "(check-updates no)", "(show-welcome-dialog no)")
    (work / "profile" / "gimprc").write_text("\n".join(settings) + "\n", "utf-8")


def prepare(work: Path) -> Path:
    """Makes the folders that a session needs; returns the profile's plug-in folder."""
    for name in ("home", "profile", "state"):
        (work / name).mkdir(parents=True, exist_ok=True)
    (work / "state").chmod(0o700)
    plug_ins = work / "profile" / "plug-ins"
    plug_ins.mkdir(exist_ok=True)
    return plug_ins
