"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from maskupe.native import library
from maskupe.rendering import default_backend
from maskupe_training.source_commit import source_commit


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
        "commit": source_commit() or "unknown",
        "renderer": f"{default_backend()} {found[0] if found else ''}".strip(),
    }


def load() -> float | None:
    """Return how many programs wanted to run, on average of the last minute.

    None where nobody counts.
    """
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
