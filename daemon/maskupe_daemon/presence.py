"""One daemon for each user, and the file by which it is found.

What serves clients holds the lock of the state directory and writes the connection file there:
the daemon itself, or a link to one on another machine (:mod:`maskupe_daemon.forward`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import filelock

from maskupe.errors import MaskUPEError
from maskupe_client.connection import FILE_NAME, Connection
from maskupe_daemon.permissions import AccessError, replace_json


class AlreadyRunningError(MaskUPEError):
    """Another daemon holds the lock."""

    code = "already-running"
    exit_status = 3


@contextlib.contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """Hold the lock that decides who is the one daemon; it ends with the process.

    Raises:
        AlreadyRunningError: if another process holds it.
        AccessError: if there can be no lock in this directory.
    """
    lock = filelock.FileLock(directory / "daemon.lock", mode=0o600)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise AlreadyRunningError(
            "Another MaskUPE daemon is running already.",
            "Ask it with 'maskupe-daemon status', or stop it with 'maskupe-daemon stop'.",
        ) from None
    except (OSError, NotImplementedError) as error:  # the latter: a file system without locks
        reason = getattr(error, "strerror", None) or "it has no locks"
        raise AccessError(
            f"The lock in {directory} cannot be taken: {reason}.",
            "Set MASKUPE_STATE_DIR to a directory on a local disk.",
        ) from error
    try:
        yield
    finally:
        lock.release()


def await_end(directory: Path, timeout: float) -> bool:
    """Wait until nobody holds the lock; return whether that came to pass in ``timeout`` seconds."""
    lock = filelock.FileLock(directory / "daemon.lock", mode=0o600)
    try:
        with lock.acquire(timeout=timeout, poll_interval=0.02):
            return True
    except filelock.Timeout:
        return False


def announce(connection: Connection, directory: Path) -> None:
    """Write the connection file, for its owner only, in place of an older one.

    Raises:
        AccessError: if it cannot be written.
    """
    try:
        replace_json(directory / FILE_NAME, asdict(connection))
    except OSError as error:
        raise AccessError(
            f"The connection file in {directory} cannot be written: {error.strerror}.",
            f"Make room there, remove a {FILE_NAME} that is no file, or set MASKUPE_STATE_DIR to "
            "another place.",
        ) from error


def withdraw(directory: Path) -> None:
    """Remove the connection file, if there is one."""
    with contextlib.suppress(OSError):
        (directory / FILE_NAME).unlink()
