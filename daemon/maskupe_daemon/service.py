"""Starting the daemon with the user's session, and when a program in a sandbox asks for it.

Systemd user units where there is systemd; else an autostart entry, which desktops on Linux read at
login; on macOS a launchd agent.
"""

from __future__ import annotations

import os
import plistlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from maskupe.errors import MaskUPEError
from maskupe_client.connection import STATE_VARIABLE, state_directory
from maskupe_client.launcher import TUNING, WAKE_FILE

UNIT = "maskupe.service"
PATH_UNIT = "maskupe.path"
AUTOSTART = "maskupe-daemon.desktop"
LABEL = "org.maskupe.daemon"

# Type=notify: systemd waits until the daemon listens. The exit statuses 2 to 5 are faults that a
# restart does not mend. No PrivateTmp or ProtectHome: the socket lies in the home directory. No
# limit of starts: where it is reached, systemd gives the path unit up too, until the next login.
_UNIT_TEXT = """\
[Unit]
Description=MaskUPE, local underexposure correction for GIMP
StartLimitIntervalSec=0

[Service]
Type=notify
Environment={environment}
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

# What is stopped, by whatever, is started again by who needs it.
_PATH_UNIT_TEXT = """\
[Unit]
Description=Start MaskUPE when a program in a sandbox needs it

[Path]
PathChanged={wake}
Unit={unit}

[Install]
WantedBy=default.target
"""

_AUTOSTART_TEXT = """\
[Desktop Entry]
Type=Application
Name=MaskUPE
Comment=Local underexposure correction for GIMP
Exec={command}
NoDisplay=true
Terminal=false
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
    own = [_quoted(f"{name}={value}", expanded=False) for name, value in _environment().items()]
    return _UNIT_TEXT.format(
        command=" ".join(_quoted(word) for word in arguments),
        environment=" ".join([*(f"{name}={value}" for name, value in TUNING.items()), *own]),
    )


def _environment() -> dict[str, str]:
    """Return the variable that names the state directory, if it is not the usual one.

    The session's own programs need not have it, but clients look for the daemon there.
    """
    return {STATE_VARIABLE: str(_state())} if os.environ.get(STATE_VARIABLE) else {}


def _state() -> Path:
    return state_directory().absolute()


def path_unit_text() -> str:
    """Return the systemd user unit that starts the service when the wake file changes."""
    wake = str(_state() / WAKE_FILE).replace("%", "%%")
    return _PATH_UNIT_TEXT.format(wake=wake, unit=UNIT)


def autostart_text(arguments: Sequence[str]) -> str:
    """Return the desktop entry that runs ``arguments`` at login."""
    assignments = [f"{name}={value}" for name, value in _environment().items()]
    words = ["env", *assignments] if assignments else []
    words += arguments
    return _AUTOSTART_TEXT.format(command=" ".join(_quoted_for_desktop(word) for word in words))


def plist_text(arguments: Sequence[str]) -> bytes:
    """Return the launchd property list that runs ``arguments``."""
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(arguments),
            **({"EnvironmentVariables": _environment()} if _environment() else {}),
            "RunAtLoad": True,
            # Restarted after a crash, not after a clean end.
            "KeepAlive": {"SuccessfulExit": False},
            "ProcessType": "Interactive",
            "Umask": 0o077,
        }
    )


def install(*, only_print: bool = False) -> None:
    """Write the units, entry or agent for this user and start the daemon where a manager does.

    Raises:
        ServiceError: on a system with neither, or if its manager refuses.
    """
    files, commands = _plan()
    if only_print:
        for path, text in files.items():
            print(f"# {path}\n{text.decode()}")
        return
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
        print(f"Wrote {path}.")
    for arguments in commands:
        _manage(arguments)
    if commands:
        print("The daemon starts with your session from now on, and is running.")
    else:
        print(
            "There is no systemd here: the daemon starts with your session from the next time on."
        )
        print("Until then start 'maskupe-daemon' by hand.")


def missing() -> str:
    """Return why the daemon is not started for others, in a sentence; "" if it is.

    Raises:
        ServiceError: on a system without services.
    """
    files, commands = _plan()
    if not all(path.is_file() for path in files):
        return "The service is not installed."
    if sys.platform == "linux" and commands:
        try:
            _manage(["systemctl", "--user", "is-active", PATH_UNIT])
        except ServiceError as error:
            return f"The service is installed, but systemd does not watch for it. {error.message}"
    return ""


def uninstall(*, only_print: bool = False) -> None:
    """Stop the service and remove what :func:`install` wrote.

    Raises:
        ServiceError: on a system with neither, or if its manager refuses.
    """
    files, commands = _plan()
    present = [path for path in files if path.exists()]
    if not present:
        print("The service is not installed.")
        return
    if only_print:
        for path in present:
            print(f"# would remove {path}")
        return
    if sys.platform == "darwin":
        _manage(["launchctl", "unload", "-w", str(present[0])])
    elif commands:
        _manage(["systemctl", "--user", "disable", "--now", *(path.name for path in present)])
    for path in present:
        path.unlink()
        print(f"Removed {path}.")


def _plan() -> tuple[dict[Path, bytes], list[list[str]]]:
    """Return what each of the service's files says, and the commands that start it."""
    if sys.platform == "darwin":
        path = Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"
        return {path: plist_text(command())}, [["launchctl", "load", "-w", str(path)]]
    if sys.platform == "linux":
        config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        if shutil.which("systemctl") is None:
            return {config / "autostart" / AUTOSTART: autostart_text(command()).encode()}, []
        units = config / "systemd" / "user"
        files = {units / UNIT: unit_text(command()), units / PATH_UNIT: path_unit_text()}
        commands = [
            ["systemctl", "--user", "daemon-reload"],
            ["systemctl", "--user", "enable", "--now", *(path.name for path in files)],
        ]
        return {path: text.encode() for path, text in files.items()}, commands
    raise ServiceError(
        "Services are known on Linux and macOS only.",
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
            f"'{' '.join(arguments)}' failed: "
            f"{done.stderr.strip() or done.stdout.strip() or done.returncode}."
        )


def _quoted(text: str, *, expanded: bool = True) -> str:
    """Return a word as systemd reads it: quoted, with its % and quotes escaped.

    Args:
        text: the word.
        expanded: whether variables are expanded there, so that a $ is escaped too.
    """
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%")):
        text = text.replace(plain, escaped)
    return f'"{text.replace("$", "$$") if expanded else text}"'


def _quoted_for_desktop(text: str) -> str:
    """Return a word as desktop entries have it: quoted, and escaped as a string once more."""
    for character in '\\"`$':
        text = text.replace(character, f"\\{character}")
    return '"' + text.replace("\\", "\\\\").replace("%", "%%") + '"'
