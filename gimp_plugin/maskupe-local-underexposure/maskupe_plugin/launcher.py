"""What the installer wrote beside the plug-in: how to start the daemon, and the models."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parent.parent / "launcher.json"


def daemon_command() -> list[str]:
    """Return the command line that starts the daemon; empty if the installer did not leave one."""
    command = _read().get("command")
    known = isinstance(command, list) and all(isinstance(part, str) for part in command)
    return list(command) if known else []


@dataclass(frozen=True)
class Model:
    """What the dialog tells about a model.

    Attributes:
        purpose: what it is for, one sentence in English.
        licence: what it may be used for, in English.
    """

    purpose: str = ""
    licence: str = ""


def known_models() -> dict[str, Model]:
    """Return the models that were there at installation, by name; at least default."""
    models = _read().get("models")
    found = {"default": Model()}
    for name, about in models.items() if isinstance(models, dict) else ():
        if isinstance(about, dict):
            found[str(name)] = Model(str(about.get("purpose", "")), str(about.get("licence", "")))
    return found


def _read() -> dict[str, Any]:
    try:
        values = json.loads(_FILE.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
