"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from maskupe.native import library
from maskupe.rendering import default_backend


def describe() -> dict[str, str]:
    """Return processor, system, the commit, and the renderer that is in use."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        processor = f"{names[0]} × {len(names)}" if names else processor
    found = [path.name for path in library.candidates() if path.is_file()]
    return {
        "processor": processor,
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": _commit(),
        "renderer": f"{default_backend()} {found[0] if found else ''}".strip(),
    }


def load() -> float | None:
    """Return how many programs wanted to run, on average of the last minute.

    None where nobody counts.
    """
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def _commit() -> str:
    """Return the commit, with a plus where the program was changed since.

    The report itself may be.
    """
    folder = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "-uno", "--", ".", ":!docs")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
