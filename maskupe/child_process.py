"""Starting a module of this package in a process of its own, spoken to through pipes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start ``python -m MODULE ARGUMENTS``, with pipes for stdin and stdout; stderr is dropped."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Where the package is; no module of the user's current folder can take another's place.
        cwd=Path(__file__).parents[1],
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows would open a console
    )
