"""Which commit the program is that trains, or that is measured."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

_ROOT = Path(__file__).parents[2]


@functools.cache
def source_commit() -> str:
    """Return the checkout's commit, with a plus where it was changed since, its documents aside.

    An empty text outside of a git checkout.
    """
    if not (_ROOT / ".git").exists():  # installed; a repository around that is not ours
        return ""
    try:
        changed = _git("status", "--porcelain", "-uno", "--", ".", ":!docs")
        return _git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
