"""What was written beside the plug-in: how to start the daemon, and the models.

The installer records the command. The archive that people unpack themselves cannot know it: the
plug-in then looks where pip and pipx put programs.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parent.parent / "launcher.json"


#: Where the programs of a user's own Python are that no search path may name: below the home
#: folder, or on Windows below the folders of these environment variables.
_FOLDERS = {
    "win32": (
        ("APPDATA", "Python/Python3*/Scripts"),
        ("LOCALAPPDATA", "Programs/Python/Python3*/Scripts"),
        ("LOCALAPPDATA", "Python/pythoncore-3*/Scripts"),
        ("USERPROFILE", ".local/bin"),
    ),
    "darwin": (("HOME", ".local/bin"), ("HOME", "Library/Python/3*/bin")),
}
_ELSEWHERE = (("HOME", ".local/bin"),)


def daemon_command() -> list[str]:
    """Return the command line that starts the daemon; empty if it is not known and not found."""
    if from_archive():
        program = shutil.which("maskupe-daemon", path=os.pathsep.join(_search_path()))
        return [program, "run"] if program else []
    command = _read().get("command")
    if isinstance(command, list) and all(isinstance(part, str) for part in command):
        return command
    return []


def from_archive() -> bool:
    """Whether the plug-in was unpacked by hand, so that MaskUPE itself may not be there."""
    return _read().get("command") == []


def install_command() -> str:
    """Return what to type in a terminal to get MaskUPE itself."""
    return "py -m pip install maskupe" if sys.platform == "win32" else "pipx install maskupe"


def _search_path() -> list[str]:
    """Return the folders to look for programs in: the system's path, then the user's own ones."""
    found = os.environ.get("PATH", os.defpath).split(os.pathsep)
    for variable, pattern in _FOLDERS.get(sys.platform, _ELSEWHERE):
        base = os.environ.get(variable)
        if base:
            # The newest Python's first.
            found += sorted(map(str, Path(base).glob(pattern)), reverse=True)
    return found


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
