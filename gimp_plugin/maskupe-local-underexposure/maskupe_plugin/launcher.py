"""What the installer wrote beside the plug-in: how to start the daemon, and the models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parent.parent / "launcher.json"


def daemon_command() -> list[str]:
    """The command line that starts the daemon; empty if the installer did not leave one."""
    command = _read().get("command")
    known = isinstance(command, list) and all(isinstance(part, str) for part in command)
    return list(command) if known else []


def known_models() -> dict[str, str]:
    """The models that were there at installation: name and a line about each; at least default."""
    models = _read().get("models")
    if not isinstance(models, dict):
        models = {}
    found = {str(name): str(about) for name, about in models.items()}
    return {"default": "", **found}


def _read() -> dict[str, Any]:
    try:
        values = json.loads(_FILE.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
