"""Checks every link of the chain from GIMP's menu to an enhanced picture, in that order.

Each check gives a finding, and where it fails the remedy. What cannot be looked at from here
(a sandbox's Python) is left out rather than guessed.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from maskupe import __version__
from maskupe.errors import MemoryLimitError
from maskupe.memory import require_address_space
from maskupe_client.client import Client, EnhanceRequest, PlaneSpec
from maskupe_client.errors import ClientError, NotRunningError
from maskupe_client.launcher import ensure_running, wake
from maskupe_gimp import NAME, bundle
from maskupe_gimp.profiles import GimpProfile

_INSTALL = "Run: maskupe-gimp install"
_SERVICE = "Run: maskupe-daemon service install"


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        ok: whether this link holds.
        what: what was looked at, and what was seen.
        remedy: what to do if it does not hold.
    """

    ok: bool
    what: str
    remedy: str = ""


def examine(profiles: Iterable[GimpProfile]) -> Iterator[Finding]:
    """Yield all findings, GIMP by GIMP, then the daemon."""
    profiles = list(profiles)
    served = (
        any(profile.sandboxed for profile in profiles) and bundle.service("status").returncode == 0
    )
    for profile in profiles:
        yield Finding(True, f"{profile} has its profile in {profile.folder}")
        yield from _files(profile)
        if (profile.plug_ins / NAME / f"{NAME}.py").is_file():
            yield from _script(profile)
            yield from _menu(profile)
        if profile.sandboxed:
            yield _sandbox(served)
    yield from _daemon(woken=served and all(profile.sandboxed for profile in profiles))


def _files(profile: GimpProfile) -> Iterator[Finding]:
    folder = profile.plug_ins / NAME
    script = folder / f"{NAME}.py"
    loose = profile.plug_ins / script.name
    if loose.exists():
        remedy = f"{_INSTALL}, which moves it into a folder of its own name."
        yield Finding(False, f"{loose} lies loose, where GIMP ignores it", remedy)
    if not script.is_file():
        yield Finding(False, f"{script} is missing", f"{_INSTALL}.")
        return
    yield Finding(True, f"the plug-in is in {folder}")
    if b"\r\n" in script.read_bytes()[:200]:
        yield Finding(False, "the script has Windows line ends, so it cannot start", f"{_INSTALL}.")
    yield from _version(folder)
    searched = _search_path(profile.folder / "gimprc")
    if searched and not any(str(profile.plug_ins).startswith(part) for part in searched):
        yield Finding(
            False,
            f"this GIMP looks for plug-ins elsewhere: {', '.join(searched)}",
            "Add the folder under Edit > Preferences > Folders > Plug-ins.",
        )


def _version(folder: Path) -> Iterator[Finding]:
    try:
        launcher = json.loads((folder / bundle.LAUNCHER).read_text("utf-8"))
        version, command = str(launcher["version"]), list(launcher["command"])
    except (OSError, ValueError, KeyError, TypeError):
        yield Finding(False, f"{bundle.LAUNCHER} is missing or damaged", f"{_INSTALL}.")
        return
    if version != __version__:
        what = f"the plug-in is of version {version}, this program of {__version__}"
        yield Finding(False, what, f"{_INSTALL}, then restart GIMP.")
        return
    different = bundle.differences(folder)
    if different:
        what = f"files are missing or changed: {', '.join(different[:4])}"
        yield Finding(False, what, f"{_INSTALL}, then restart GIMP.")
        return
    program = shutil.which(command[0]) if command else None
    if program is None:
        what = f"the program that starts the daemon is gone: {' '.join(command)}"
        yield Finding(False, what, f"{_INSTALL}.")
        return
    yield Finding(True, f"it is complete and of version {version}")


def _search_path(gimprc: Path) -> list[str]:
    """Return folders of the user's own plug-in path, if gimprc has one."""
    try:
        text = gimprc.read_text("utf-8", "replace")
    except OSError:
        return []
    match = re.search(r'^\(plug-in-path\s+("(?:[^"\\]|\\.)*")\)', text, re.MULTILINE)
    if not match:
        return []
    parts = str(ast.literal_eval(match[1])).split(os.pathsep)
    home = str(gimprc.parent)
    return [part.replace("${gimp_dir}", home).rstrip("/") for part in parts if part]


def _script(profile: GimpProfile) -> Iterator[Finding]:
    """Yield whether the plug-in can be started and loaded, by running it as GIMP does."""
    if profile.sandboxed or sys.platform in ("win32", "darwin"):
        return  # these bring their own Python, which cannot be run from outside
    script = profile.plug_ins / NAME / f"{NAME}.py"
    python = shutil.which("python3", path=_session_path())
    if python is None:
        what = "there is no python3 for GIMP to run plug-ins with"
        yield Finding(False, what, "Install python3.")
        return
    environment = {**os.environ, "PATH": _session_path(), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        environment.pop(name, None)
    try:
        ran = subprocess.run(
            [script, "--check"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environment,
        )
    except PermissionError:
        what = f"{script} may not be started"
        remedy = (
            f"Run: chmod +x {script} — or, if its disk is mounted with “noexec”, move the profile."
        )
        yield Finding(False, what, remedy)
        return
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Finding(False, f"{script} cannot be started: {error}", f"{_INSTALL}.")
        return
    if ran.returncode == 0:
        yield Finding(True, f"{python} ({ran.stdout.strip()}) starts and loads the plug-in")
        return
    last = (ran.stderr.strip().splitlines() or ["no message"])[-1]
    what = f"{python} cannot load the plug-in: {last}"
    if "No module named 'gi'" in last or "Namespace" in last:
        remedy = "Install python3-gi and GIMP's introspection data (gir1.2-gimp-3.0 on Debian)."
        yield Finding(False, what, remedy)
    else:
        yield Finding(False, what, f"{_INSTALL}; GIMP needs Python 3.10 or newer as python3.")


def _session_path() -> str:
    """Return the search path as GIMP has it: without the virtual environment that this runs in."""
    own = {str(Path(sys.prefix) / "bin")} if sys.prefix != sys.base_prefix else set()
    parts = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(part for part in parts if part not in own)


def _sandbox(served: bool) -> Finding:
    """Return whether somebody starts the daemon for a GIMP that cannot."""
    if served:
        return Finding(True, "a service starts the daemon for this GIMP, which is in a sandbox")
    what = "from its sandbox this GIMP cannot start the daemon, and no service does"
    return Finding(False, what, _SERVICE)


def _menu(profile: GimpProfile) -> Iterator[Finding]:
    """Yield whether GIMP has taken the plug-in up, which it does at its next start."""
    pluginrc = profile.folder / "pluginrc"
    # Written when it was installed; the other files keep the dates that they were packed with.
    launcher = profile.plug_ins / NAME / bundle.LAUNCHER
    if not launcher.exists():
        return  # said already
    if not pluginrc.exists() or pluginrc.stat().st_mtime < launcher.stat().st_mtime:
        yield Finding(True, "GIMP has not been started since: the entry appears at its next start")
        return
    if "plug-in-maskupe-local-underexposure" in pluginrc.read_text("utf-8", "replace"):
        yield Finding(True, "GIMP knows the procedure plug-in-maskupe-local-underexposure")
        return
    from maskupe_client.connection import state_directory

    log = state_directory() / "gimp-plug-in.log"
    yield Finding(
        False,
        "GIMP has looked at the plug-in and did not take it up",
        f"Look into {log}; remove {pluginrc} and start GIMP from a terminal to see its messages.",
    )


def _daemon(*, woken: bool) -> Iterator[Finding]:
    """Yield the daemon, started as GIMP would start it, and stopped again if it was not running.

    Args:
        woken: whether the service starts it, as for a GIMP in a sandbox.
    """
    try:
        client, started = _connected(woken)
    except (ClientError, MemoryLimitError) as error:
        asleep = woken and isinstance(error, NotRunningError)
        yield Finding(False, error.message, _SERVICE if asleep else error.hint)
        return
    with client:
        yield from _speak(client)
        if started:
            client.shutdown()


def _connected(woken: bool) -> tuple[Client, bool]:
    """Return the daemon's client, and whether the daemon was started for it."""
    try:
        return Client.connect(name="doctor"), False
    except NotRunningError:
        require_address_space()
    if woken:
        return wake(name="doctor"), True
    return ensure_running(bundle.daemon_command(), name="doctor"), True


def _speak(client: Client) -> Iterator[Finding]:
    version = client.welcome["version"]
    if version != __version__:
        what = f"the daemon is of version {version}, this program of {__version__}"
        yield Finding(False, what, "Run: maskupe-daemon stop, and start it again.")
        return
    models = ", ".join(client.welcome["models"])
    where = ", ".join(filter(None, (client.host, client.welcome["device"])))
    yield Finding(True, f"the daemon {version} answers, on {where}: {models}")
    yield _test_job(client)


def _test_job(client: Client) -> Finding:
    """Have a dark gradient brightened inside of a square."""
    side = 64
    photo = bytes(
        (row + column) // 4 for row in range(side) for column in range(side) for _ in "rgb"
    )
    middle = range(side // 4, 3 * side // 4)
    selection = bytes(
        255 * (row in middle and column in middle) for row in range(side) for column in range(side)
    )
    request = EnhanceRequest(
        image=PlaneSpec((side, side, 3), "u8"),
        selection=PlaneSpec((side, side), "u8"),
        layer=(side, side),
    )
    try:
        header, planes = client.enhance(request, [photo, selection])
    except ClientError as error:
        return Finding(False, f"a test job failed: {error.message}", error.hint)
    after = bytes(planes["image"])
    centre = 3 * (side // 2 * side + side // 2)
    if after[:3] != photo[:3] or after[centre] <= photo[centre]:
        what = "a test job came back, but not brightened where it should be"
        return Finding(False, what, "Reinstall MaskUPE; its weights may be damaged.")
    return Finding(
        True, f"a test job took {header['seconds'] * 1000:.0f} ms with {header['model']}"
    )
