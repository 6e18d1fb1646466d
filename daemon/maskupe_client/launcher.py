"""Having the daemon started by a program that found none. Standard library only."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from maskupe_client.client import Client
from maskupe_client.connection import state_directory
from maskupe_client.errors import ClientError, NotAnsweringError, NotRunningError

#: What a host program may have set for its own libraries and Python, harmful to ours.
_FOREIGN = ("LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONHOME", "PYTHONPATH", "DYLD_LIBRARY_PATH")
#: What a daemon is started with: on Linux its C library then takes large pages for what is large,
#: where the system has them. A plane that came or goes out is touched for the first time at a
#: fraction of the cost. It must be there before the process begins, and is ignored elsewhere.
TUNING = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
#: Set for a daemon that is started because a job is about to come: it loads its models at once.
WANTED_VARIABLE = "MASKUPE_WANTED"
#: The file in the state directory that programs in a sandbox write to, which can start nothing
#: themselves: the service watches it, see ``maskupe-daemon service install``.
WAKE_FILE = "wake"
#: After so many seconds it is written again: while a daemon is ending, nobody watches the file.
_WAKE_AGAIN = 2.0
#: The exit status with which a daemon says that another one is there already.
_ALREADY_RUNNING = 3
#: The other one may be ending: so many seconds after one attempt there is another.
_START_AGAIN = 1.0


def ensure_running(
    command: Sequence[str],
    timeout: float = 30.0,
    *,
    wait: Callable[[], object] | None = None,
    directory: Path | None = None,
    name: str = "python",
) -> Client:
    """Return a client of the running daemon, which is started with ``command`` if there is none.

    Args:
        command: argument list that starts the daemon in the foreground, recorded by the installer.
        timeout: how long it may take to come up, in seconds.
        wait: called every 50 ms meanwhile; what it raises ends the waiting.
        directory: the state directory, if not the usual one.
        name: what the daemon's log calls this client.

    Raises:
        NotRunningError: if it cannot be started or does not come up in time.
        ClientError: as :meth:`.client.Client.connect`.
    """
    try:
        return Client.connect(directory=directory, name=name)
    except NotRunningError:
        pass
    began, process = time.monotonic(), _start(command)

    def check() -> None:
        nonlocal began, process
        status = process.poll()
        if status == _ALREADY_RUNNING:
            if time.monotonic() - began >= _START_AGAIN:
                began, process = time.monotonic(), _start(command)
        elif status:
            raise NotRunningError(f"it ended with status {status}; see its log")

    return _connect_within(timeout, check, wait, directory, name)


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start the daemon, in a session of its own.

    Raises:
        NotRunningError: if it cannot be started.
    """
    ours = {k: v for k, v in os.environ.items() if k not in _FOREIGN}
    environment: Mapping[str, str] = {**TUNING, **ours, WANTED_VARIABLE: "1"}
    # With "python -m", a module in the current folder takes the place of one of Python's own: the
    # home folder may well hold a "random.py". Beside the program there is none.
    program = Path(command[0])
    try:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=program.parent if program.is_absolute() else Path.home(),
            start_new_session=True,
            # Windows would open a console, and closing that would end the daemon.
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except (OSError, ValueError) as error:
        # Of which file is told by the command; that of the error may be its folder.
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise NotRunningError(f"it cannot be started: {reason}") from error


def wake(
    timeout: float = 10.0,
    *,
    wait: Callable[[], object] | None = None,
    directory: Path | None = None,
    name: str = "python",
) -> Client:
    """Return a client of the running daemon; where there is none, the session's service starts it.

    For programs in a sandbox. They share the home directory with the service, which waits for a
    change of the file :data:`WAKE_FILE`.

    Args:
        timeout: how long the daemon may take to come up, in seconds.
        wait: called every 50 ms meanwhile; what it raises ends the waiting.
        directory: the state directory, if not the usual one.
        name: what the daemon's log calls this client.

    Raises:
        NotRunningError: if it does not come up in time: there is no such service, perhaps.
        ClientError: as :meth:`.client.Client.connect`.
    """
    try:
        return Client.connect(directory=directory, name=name)
    except NotRunningError:
        pass
    folder = directory or state_directory()
    written = float("-inf")

    def write() -> None:
        nonlocal written
        if time.monotonic() - written < _WAKE_AGAIN:
            return
        written = time.monotonic()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / WAKE_FILE).write_text(f"{time.time():.3f} {name}\n", "utf-8")
        except OSError as error:
            raise NotRunningError(f"it cannot be woken: {error}") from error

    return _connect_within(timeout, write, wait, directory, name)


def _connect_within(
    timeout: float,
    check: Callable[[], None],
    wait: Callable[[], object] | None,
    directory: Path | None,
    name: str,
) -> Client:
    """Connect as soon as the daemon is there; ``check`` is called while it is not."""
    deadline = time.monotonic() + timeout
    last: ClientError = NotRunningError("it did not come up in time")
    while time.monotonic() < deadline:
        try:
            return Client.connect(directory=directory, name=name)
        except (NotRunningError, NotAnsweringError) as error:
            last = error
        check()
        if wait:
            wait()
        time.sleep(0.05)
    raise last
