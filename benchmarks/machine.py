"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform

from maskupe.native import library
from maskupe.rendering import default_backend
from maskupe_daemon.hardware import processor_name
from maskupe_training.source_commit import source_commit


def describe() -> dict[str, str]:
    """Return processor, system, the commit, and the renderer that is in use."""
    found = [path.name for path in library.candidates() if path.is_file()]
    return {
        "processor": f"{processor_name() or platform.machine()} × {os.cpu_count()}",
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
