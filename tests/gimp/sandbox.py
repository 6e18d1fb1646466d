"""A user's session with its own systemd, and a GIMP in the sandbox that Flatpak would make."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.gimp.finding import Gimp

FLATPAK = "org.gimp.GIMP"
_SYSTEMD = (Path("/usr/lib/systemd/systemd"), Path("/lib/systemd/systemd"))
_RUNTIME = "/run/user/0"
#: Its /run is its own, with the folder that systemctl takes for a sign of systemd. The shell stays:
#: when the first program of a process namespace ends, so do all others, and as the first one
#: systemd would take itself for the system's.
_START = f"""
for group in $MASKUPE_GROUPS; do echo 0 >$group/cgroup.procs || exit; done
unset MASKUPE_GROUPS
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system {_RUNTIME} && chmod 700 {_RUNTIME} || exit
dbus-daemon --session --fork --nopidfile --address=unix:path={_RUNTIME}/bus || exit
"$@" &
wait $!
"""


_CONTROL_GROUPS = Path("/sys/fs/cgroup")


def _own_groups(name: str) -> list[Path]:
    """Return a new control group's folder in each hierarchy where systemd keeps processes.

    It moves all that it finds beside itself, so it must be alone there.
    """
    found = []
    for line in Path("/proc/self/cgroup").read_text("utf-8").splitlines():
        _, kind, path = line.split(":", 2)
        if kind not in ("", "name=systemd"):
            continue
        mount = _CONTROL_GROUPS / kind.removeprefix("name=")
        if not kind and not (mount / "cgroup.procs").exists():
            mount /= "unified"
        if mount.is_dir():
            found.append(mount / path.lstrip("/") / name)
    return found


def _removed(folder: str) -> bool:
    """Remove a control group's folder; return whether it was empty."""
    try:
        Path(folder).rmdir()
    except OSError:
        return False
    return True


class NoSessionError(Exception):
    """There can be no session here; the text says why."""


class UserSession:
    """A real ``systemd --user`` with a bus, in namespaces of its own.

    Processes, mounts and /run are its own, all else is the machine's. The home folder is a fresh
    one, at the same path inside and outside.
    """

    def __init__(self, work: Path) -> None:
        """Start it.

        Raises:
            NoSessionError: if something for it is missing, or it does not come up.
        """
        self.home = work / "home"
        self.home.mkdir()
        self._log = work / "systemd.log"
        ours = ("MASKUPE_", "XDG_", "DBUS_", "GIMP", "FLATPAK_", "SNAP")
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(ours)},
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": _RUNTIME,
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={_RUNTIME}/bus",
            "FLATPAK_SYSTEM_DIR": str(work / "flatpak"),
        }
        if os.geteuid() != 0:
            raise NoSessionError("Only root can give a session namespaces of its own.")
        systemd = next((path for path in _SYSTEMD if path.exists()), None)
        for name in ("unshare", "nsenter", "systemctl", "dbus-daemon", "bwrap"):
            if not shutil.which(name):
                raise NoSessionError(f"The program {name} is not installed.")
        if systemd is None:
            raise NoSessionError("systemd is not installed.")
        self._group = work.name
        groups = _own_groups(self._group)
        try:
            for group in groups:
                group.mkdir()
        except OSError as error:
            raise NoSessionError(f"No control group can be made: {error}.") from error
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        start = ["sh", "-c", _START, "sh", str(systemd), "--user", "--log-target=console"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*namespaces, *start],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self._environment, "MASKUPE_GROUPS": " ".join(map(str, groups))},
            )
        try:
            self._await_systemd()
        except NoSessionError:
            self.close()
            raise

    def _await_systemd(self) -> None:
        deadline = time.monotonic() + 15
        asked = ["systemctl", "--user", "is-system-running"]
        while self._process.poll() is None and time.monotonic() < deadline:
            if self._first() and self.run(*asked).stdout.strip() in ("running", "degraded"):
                return
            time.sleep(0.05)
        last = (self._log.read_text("utf-8", "replace").strip().splitlines() or ["no message"])[-1]
        raise NoSessionError(f"systemd --user does not start here: {last}")

    def _first(self) -> str:
        """Return the number of the first process inside, as seen from outside; "" if none yet."""
        number = self._process.pid
        return Path(f"/proc/{number}/task/{number}/children").read_text().strip()

    def enter(self, arguments: list[str], environment: Mapping[str, str]) -> list[str]:
        """Return the command line that runs a program in this session, with this environment."""
        settings = [f"{name}={value}" for name, value in environment.items()]
        enter = ["nsenter", f"--target={self._first()}", "--mount", "--pid"]
        return [*enter, "--wd=/", "env", "-i", *settings, *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program in this session to its end."""
        return subprocess.run(
            self.enter(list(arguments), self._environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def close(self) -> None:
        """End the session and all that runs in it."""
        if self._process.poll() is None and self._first():
            self.run("systemctl", "--user", "exit")  # which removes its control groups
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        self._process.kill()
        self._process.wait(20)
        deadline = time.monotonic() + 10
        for group in list(_CONTROL_GROUPS.glob(f"**/{self._group}")):
            for folder, _, _ in os.walk(group, topdown=False):
                while not _removed(folder) and time.monotonic() < deadline:
                    time.sleep(0.02)  # the last processes are ending


@dataclass(frozen=True)
class FlatpakGimp(Gimp):
    """A GIMP in a sandbox with what its manifest on Flathub grants.

    That is: the network, shared memory and devices; the host's folders but those of the system,
    with the home folder; ~/.config/GIMP, which Flatpak mounts where XDG_CONFIG_HOME points; and
    /tmp. /usr and /etc are the sandbox's, processes too, and of /run there is nothing.

    Attributes:
        session: the user's.
    """

    session: UserSession

    def command(self, arguments: list[str], work: Path, environment: dict[str, str]) -> list[str]:
        """The command line. Its environment is what Flatpak sets, not a home of the test's."""
        home = self.session.home
        own = home / ".var" / "app" / FLATPAK
        given = {k: v for k, v in environment.items() if k in ("MASKUPE_TEST_WORK", "LANGUAGE")}
        variables = {
            "PATH": "/app/bin:/usr/bin",
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "FLATPAK_ID": FLATPAK,
            "container": "flatpak",
            "XDG_RUNTIME_DIR": _RUNTIME,
            "XDG_CONFIG_HOME": str(own / "config"),
            "XDG_DATA_HOME": str(own / "data"),
            "XDG_CACHE_HOME": str(own / "cache"),
            "XDG_STATE_HOME": str(own / ".local" / "state"),
            "GSETTINGS_BACKEND": "memory",
            "NO_AT_BRIDGE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **given,
        }
        return self.session.enter(["bwrap", *self._grants(own), *arguments], variables)

    def _grants(self, own: Path) -> list[str]:
        """Return bwrap's arguments, in Flatpak's order."""
        root, home = self.root or Path("/"), self.session.home
        for name in ("config", "data", "cache"):
            (own / name).mkdir(parents=True, exist_ok=True)
        shared = home / ".config" / "GIMP"  # as "xdg-config/GIMP:create" says
        shared.mkdir(parents=True, exist_ok=True)
        info = home / ".var" / "flatpak-info"
        info.write_text(f"[Application]\nname={FLATPAK}\n", "utf-8")

        found = ["--unshare-user", "--unshare-pid", "--die-with-parent"]
        found += ["--proc", "/proc", "--dev-bind", "/dev", "/dev", "--ro-bind", "/sys", "/sys"]
        found += ["--ro-bind", f"{root}/usr", "/usr", "--ro-bind", f"{root}/etc", "/etc"]
        for path in sorted(root.iterdir()):
            if path.is_symlink() and str(path.readlink()).lstrip("/").startswith("usr/"):
                found += ["--symlink", str(path.readlink()), f"/{path.name}"]
        found += ["--tmpfs", "/var", "--dir", _RUNTIME]
        found += ["--ro-bind", "/usr", "/run/host/usr", "--ro-bind", "/etc", "/run/host/etc"]
        for path in ("/home", "/media", "/mnt", "/opt", "/srv", "/tmp"):
            found += ["--bind-try", path, path]
        found += ["--bind", str(home), str(home), "--tmpfs", str(own.parent)]
        found += ["--bind", str(own), str(own)]
        found += ["--bind", str(shared), str(own / "config" / "GIMP")]
        return [*found, "--ro-bind", str(info), "/.flatpak-info"]
