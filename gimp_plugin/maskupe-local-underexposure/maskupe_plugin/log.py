"""The plug-in's log file, for what GIMP does not show. Works before anything else could be read."""

from __future__ import annotations

import sys
import time
import traceback
from pathlib import Path

_LARGEST = 1_000_000


def log_file() -> Path:
    """Return where the log is: beside the daemon's own."""
    try:
        from maskupe_client.connection import state_directory

        return state_directory() / "gimp-plug-in.log"
    except Exception:  # the vendored client may be what is broken
        return Path.home() / ".local" / "state" / "maskupe" / "gimp-plug-in.log"


def failure(text: str) -> None:
    """Note the exception that is being handled. Never raises: there is nobody to tell."""
    try:
        path = log_file()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > _LARGEST:
            path.replace(path.with_suffix(".old.log"))
        # The name of a file need not be Unicode.
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S")
            version = ".".join(str(part) for part in sys.version_info[:3])
            file.write(f"{stamp} {text} (Python {version})\n{traceback.format_exc()}\n")
    except OSError:
        pass
