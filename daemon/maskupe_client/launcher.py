"""Starting the daemon from a program that found none. Standard library only."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from maskupe_client.client import Client
from maskupe_client.errors import ClientError, NotAnsweringError, NotRunningError

#: What a host program may have set for its own libraries and Python, harmful to ours.
_FOREIGN = ("LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONHOME", "PYTHONPATH", "DYLD_LIBRARY_PATH")
#: What a daemon is started with: on Linux its C library then takes large pages for what is large,
#: where the system has them. A plane that came or goes out is touched for the first time at a
#: fraction of the cost. It must be there before the process begins, and is ignored elsewhere.
TUNING = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
#: The exit status with which a daemon says that another one is there already.
_ALREADY_RUNNING = 3


def ensure_running(
    command: Sequence[str],
    timeout: float = 30.0,
    *,
    wait: Callable[[], None] | None = None,
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
    ours = {k: v for k, v in os.environ.items() if k not in _FOREIGN}
    environment: Mapping[str, str] = {**TUNING, **ours}
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=Path.home(),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise NotRunningError(f"it cannot be started: {error}") from error
    deadline = time.monotonic() + timeout
    last: ClientError = NotRunningError("it did not come up in time")
    while time.monotonic() < deadline:
        status = process.poll()
        try:
            return Client.connect(directory=directory, name=name)
        except (NotRunningError, NotAnsweringError) as error:
            if status not in (None, 0, _ALREADY_RUNNING):
                raise NotRunningError(f"it ended with status {status}; see its log") from error
            last = error
        if wait:
            wait()
        time.sleep(0.05)
    raise last
