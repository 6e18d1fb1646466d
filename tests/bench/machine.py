"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from maskupe.native import library
from maskupe.rendering import default_backend


def describe() -> dict[str, str]:
    """Processor, system, load, the commit, and the renderer that is in use."""
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
        "load": " ".join(f"{value:.1f}" for value in os.getloadavg())
        if hasattr(os, "getloadavg")
        else "",
        "commit": _commit(),
        "renderer": f"{default_backend()} {found[0] if found else ''}".strip(),
    }


def _commit() -> str:
    folder = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],
            cwd=folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
