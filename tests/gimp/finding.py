"""Finding a real GIMP 3: one that is installed, or one in a root of its own that is built."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

HERE = Path(__file__).resolve().parent


class NoGimpError(Exception):
    """There is no GIMP 3 to test with; the text says why."""


def fail_or_skip(error: NoGimpError) -> NoReturn:
    """Skip the test that needs a GIMP, or fail it where MASKUPE_REQUIRE_GIMP=1 is set."""
    if os.environ.get("MASKUPE_REQUIRE_GIMP") == "1":
        pytest.fail(str(error))
    pytest.skip(str(error))


@dataclass(frozen=True)
class Gimp:
    """How a GIMP 3 is started.

    Attributes:
        version: ``"3.0"`` or ``"3.2"``.
        root: the root that it lives in, or None for an installed one.
    """

    version: str
    root: Path | None

    def command(self, arguments: list[str], work: Path, environment: dict[str, str]) -> list[str]:
        """The command line that runs a program beside this GIMP.

        Inside and outside of a root the work folder has the same path.
        """
        settings = [f"{name}={value}" for name, value in environment.items()]
        if self.root is None:
            return ["env", *settings, *arguments]
        enter = str(HERE / "enter_root.sh")
        share = f"MASKUPE_SHARE={work}"
        return ["env", share, enter, str(self.root), *settings, "--", *arguments]


def find_gimp(version: str) -> Gimp:
    """A GIMP of that minor version.

    Raises:
        NoGimpError: if it is not installed and no root can be built.
    """
    program = shutil.which("gimp-console")
    if program:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        match = re.search(r"version (3\.\d+)", told.stdout)
        if match and match[1] == version:
            return Gimp(version, None)
    built = subprocess.run(
        [str(HERE / "build_root.sh"), version],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ},
    )
    if built.returncode != 0:
        reason = (built.stderr.strip().splitlines() or ["build_root.sh failed"])[-1]
        raise NoGimpError(f"GIMP {version} is not installed. {reason}")
    return Gimp(version, Path(built.stdout.strip().splitlines()[-1]))
