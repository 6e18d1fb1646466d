"""Starting the daemon with the user's session: a systemd user unit, or a launchd agent on macOS."""

from __future__ import annotations

import os
import plistlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from maskupe.errors import MaskUPEError
from maskupe_client.launcher import TUNING

UNIT = "maskupe.service"
LABEL = "org.maskupe.daemon"

# Type=notify: systemd waits until the daemon listens. The exit statuses 2 to 5 are faults that a
# restart does not mend. No PrivateTmp or ProtectHome: the socket lies in the home directory.
_UNIT_TEXT = """\
[Unit]
Description=MaskUPE, local underexposure correction for GIMP

[Service]
Type=notify
Environment={tuning}
ExecStart={command}
Restart=on-failure
RestartSec=2
RestartPreventExitStatus=2 3 4 5
TimeoutStopSec=10
UMask=0077
MemoryMax=80%
OOMPolicy=kill
NoNewPrivileges=yes
LockPersonality=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
RestrictNamespaces=yes
SystemCallArchitectures=native
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6

[Install]
WantedBy=default.target
"""


class ServiceError(MaskUPEError):
    """The service manager is missing or refused."""

    code = "service"


def command() -> list[str]:
    """Return the argument list that starts this very daemon, whatever PATH says."""
    script = Path(sys.executable).parent / "maskupe-daemon"
    if script.is_file():
        return [str(script), "run"]
    return [sys.executable, "-m", "maskupe_daemon", "run"]


def unit_text(arguments: Sequence[str]) -> str:
    """Return the systemd user unit that runs ``arguments``."""
    return _UNIT_TEXT.format(
        command=" ".join(_quoted(word) for word in arguments),
        tuning=" ".join(f"{name}={value}" for name, value in TUNING.items()),
    )


def plist_text(arguments: Sequence[str]) -> bytes:
    """Return the launchd property list that runs ``arguments``."""
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(arguments),
            "RunAtLoad": True,
            # Restarted after a crash, not after a clean end.
            "KeepAlive": {"SuccessfulExit": False},
            "ProcessType": "Interactive",
            "Umask": 0o077,
        }
    )


def install(*, only_print: bool = False) -> None:
    """Write the unit or agent for this user and start it.

    Raises:
        ServiceError: on a system with neither, or if its manager refuses.
    """
    path, text, commands = _plan()
    if only_print:
        print(f"# {path}\n{text.decode()}")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    print(f"Wrote {path}.")
    for arguments in commands:
        _manage(arguments)
    print("The daemon starts with your session from now on, and is running.")


def uninstall(*, only_print: bool = False) -> None:
    """Stop the service and remove what :func:`install` wrote.

    Raises:
        ServiceError: on a system with neither, or if its manager refuses.
    """
    path, _, _ = _plan()
    if not path.exists():
        print("The service is not installed.")
        return
    if only_print:
        print(f"# would remove {path}")
        return
    if sys.platform == "darwin":
        _manage(["launchctl", "unload", "-w", str(path)])
    else:
        _manage(["systemctl", "--user", "disable", "--now", UNIT])
    path.unlink()
    print(f"Removed {path}.")


def _plan() -> tuple[Path, bytes, list[list[str]]]:
    """Return where the service's file goes, what it says, and the commands that start it."""
    if sys.platform == "darwin":
        path = Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"
        return path, plist_text(command()), [["launchctl", "load", "-w", str(path)]]
    if sys.platform == "linux":
        config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        path = config / "systemd" / "user" / UNIT
        commands = [
            ["systemctl", "--user", "daemon-reload"],
            ["systemctl", "--user", "enable", "--now", UNIT],
        ]
        return path, unit_text(command()).encode(), commands
    raise ServiceError(
        "Services are known on Linux (systemd) and macOS (launchd) only.",
        "Start 'maskupe-daemon' by hand, or let the plug-in start it.",
    )


def _manage(arguments: Sequence[str]) -> None:
    program = shutil.which(arguments[0])
    if program is None:
        raise ServiceError(
            f"'{arguments[0]}' is not to be found, so the service cannot be started.",
            "Start 'maskupe-daemon' by hand, or let the plug-in start it.",
        )
    done = subprocess.run([program, *arguments[1:]], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServiceError(
            f"'{' '.join(arguments)}' failed: {done.stderr.strip() or done.returncode}."
        )


def _quoted(text: str) -> str:
    """Return a word as systemd reads it: quoted, with its % and $ and quotes escaped."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        text = text.replace(plain, escaped)
    return f'"{text}"'
