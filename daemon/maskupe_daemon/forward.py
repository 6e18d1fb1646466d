"""``maskupe-daemon forward``: the daemon of another machine in the place of this one's.

ssh leads a socket of this machine to the daemon's there, and the connection file names that
socket. Clients see nothing else, so all of them can use it. Who may connect is decided by ssh
there and by the owner-only directory here, as ever.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import signal
import socket
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from maskupe import __version__
from maskupe.errors import InputError, MaskUPEError
from maskupe_client.client import Client
from maskupe_client.connection import (
    FILE_NAME,
    Connection,
    as_connection,
    read_connection,
    state_directory,
)
from maskupe_client.errors import ClientError, NotAnsweringError, ProtocolMismatchError
from maskupe_client.launcher import ensure_running
from maskupe_daemon import ssh
from maskupe_daemon.logfile import logging_to
from maskupe_daemon.permissions import AccessError, owner_only, secure_directory
from maskupe_daemon.presence import announce, only_one, withdraw
from maskupe_daemon.service import command as daemon_command
from maskupe_daemon.sockets import LONGEST_SOCKET_PATH, is_served
from maskupe_daemon.ssh import SshError, Tunnel, UnreachableError

log = logging.getLogger("maskupe_daemon.forward")

#: What the other machine's answer is known by: a login shell may write more than that.
_KEY = "maskupe-daemon"
#: Seconds: for finding or starting the daemon there, for ssh to listen here, …
_LOCATING, _LISTENING = 90.0, 30.0
#: … between two looks at ssh and the connection file, and between two questions to the daemon.
_LOOK, _ASK = 0.1, 3.0
#: Seconds before the first new attempt, which double up to the last; a link that held for the
#: third counts as good.
_FIRST_PAUSE, _LAST_PAUSE, _GOOD = 1.0, 30.0, 30.0


class _EndedError(Exception):
    """The person wants no link any more."""


def print_location() -> None:
    """Start the daemon of this machine if need be, and print how it is reached, as JSON.

    Raises:
        ClientError: if it does not run and cannot be started.
        InputError: if this machine's daemon is itself on another one.
    """
    ensure_running(daemon_command(), name="locate").close()
    connection = read_connection()
    if connection.host:
        raise InputError(
            f"This machine's work is done by {connection.host}.", "Forward to that one instead."
        )
    print(json.dumps({_KEY: asdict(connection)}), flush=True)


def forward(host: str, command: str = "maskupe-daemon", *, verbose: bool = False) -> None:
    """Link this machine's clients to another one's daemon until SIGINT, SIGTERM or ``stop``.

    Args:
        host: as ssh names it.
        command: what is ``maskupe-daemon`` there; words as in a shell.
        verbose: log debugging messages.

    Raises:
        InputError: for a host or a command that cannot be used.
        AccessError: if the state directory is not safe, or its path too long for a socket.
        AlreadyRunningError: if a daemon or another link is there.
        SshError: if the other machine cannot be used.
    """
    ssh.check_host(host)
    words = _words(command)
    directory = state_directory()
    secure_directory(directory)
    with owner_only(), logging_to(directory, verbose=verbose):
        try:
            with only_one(directory), _ending() as ended:
                _Forward(host, words, directory, ended).run()
        except MaskUPEError as error:
            log.error("%s", error, extra={"is_reported": True})
            raise
    log.info("the link to %s has ended", host)


class _Forward:
    """One run of ``forward``."""

    def __init__(
        self, host: str, command: list[str], directory: Path, ended: threading.Event
    ) -> None:
        self._host = host
        self._command = command
        self._directory = directory
        self._ended = ended
        self._near = directory / "forward.sock"
        self._announced: os.stat_result | None = None
        self._has_linked = False

    def run(self) -> None:
        """Link, and link again whenever the link is lost."""
        self._check_place()
        withdraw(self._directory)
        pause = _FIRST_PAUSE
        try:
            while True:
                began = time.monotonic()
                try:
                    self._link_once()
                except UnreachableError as error:
                    if not self._has_linked:
                        raise
                    if time.monotonic() - began > _GOOD:
                        pause = _FIRST_PAUSE
                    log.warning("%s Trying again in %.0f s.", error, pause)
                    self._wait(pause)
                    pause = min(2 * pause, _LAST_PAUSE)
        except _EndedError:
            pass
        finally:
            if self._is_ours():
                withdraw(self._directory)

    def _link_once(self) -> None:
        """Link to the daemon there, as it is now, and watch until the link is lost.

        Raises:
            UnreachableError: if there is no link, or none any more; this may pass.
            SshError: if there cannot be one.
        """
        far = self._locate()
        is_through = False
        # First the file: a daemon that was started anew has another secret than the last one.
        self._announce(far)
        with contextlib.closing(Tunnel(self._host, self._near, far.endpoint)) as tunnel:
            self._await_socket(tunnel)
            try:
                with Client.connect(5.0, directory=self._directory, name="forward") as client:
                    is_through = True
                    self._tell(client)
                    self._watch(tunnel, client)
            except NotAnsweringError as error:
                raise UnreachableError(f"{self._host} is silent. {error.message}") from error
            except ProtocolMismatchError as error:
                raise self._other_version(far.version) from error
            except ClientError as error:
                tunnel.raise_if_ended()
                if is_through:
                    raise UnreachableError(f"The daemon on {self._host} has ended.") from error
                # It has just answered there, so what is between us does not let us through.
                raise UnreachableError(
                    f"The sshd on {self._host} does not lead to the daemon there.",
                    "Set AllowStreamLocalForwarding yes and AllowTcpForwarding yes for it.",
                ) from error

    def _locate(self) -> Connection:
        """Return how the daemon there is reached, by programs there; start it if need be."""
        words = [*self._command, "locate"]
        answer = ssh.run(self._host, words, _LOCATING, self._wait)
        for line in reversed(answer.splitlines()):
            try:
                values = json.loads(line)[_KEY]
                return as_connection(values)
            except ProtocolMismatchError as error:
                known = values if isinstance(values, dict) else {}
                raise self._other_version(known.get("version", "unknown")) from error
            except (ValueError, KeyError, TypeError, IndexError):
                continue  # a greeting of the login shell
        raise SshError(
            f"{self._command[0]} on {self._host} does not say how its daemon is reached.",
            "Install the same version of MaskUPE there.",
        )

    def _other_version(self, theirs: object) -> SshError:
        return SshError(
            f"{self._host} has MaskUPE {theirs}, which does not understand {__version__} here.",
            "Install the same version on both machines, and restart the daemon there.",
        )

    def _announce(self, far: Connection) -> None:
        connection = replace(
            far,
            endpoint=f"ipc://{self._near}",
            pid=os.getpid(),
            host=self._host,
        )
        announce(connection, self._directory)
        self._announced = (self._directory / FILE_NAME).stat()

    def _tell(self, client: Client) -> None:
        report = client.status()
        log.info(
            "GIMP and the command line now work on %s (MaskUPE %s, device %s)",
            self._host,
            report.get("version"),
            report.get("device"),
        )
        self._has_linked = True
        if report.get("version") != __version__:
            log.warning("this machine has MaskUPE %s; both understand each other", __version__)

    def _watch(self, tunnel: Tunnel, client: Client) -> None:
        """Look after the link until it is lost."""
        asked = time.monotonic()
        while True:
            self._wait(_LOOK)
            tunnel.raise_if_ended()
            if time.monotonic() - asked >= _ASK:
                # ssh itself finds out about a dead line; a slow one is none.
                with contextlib.suppress(NotAnsweringError):
                    client.status()
                asked = time.monotonic()

    def _await_socket(self, tunnel: Tunnel) -> None:
        deadline = time.monotonic() + _LISTENING
        while not is_served(self._near):
            tunnel.raise_if_ended()
            if time.monotonic() > deadline:
                raise UnreachableError(f"ssh has made no link to {self._host} so far.")
            self._wait(_LOOK)

    def _wait(self, seconds: float) -> None:
        """Sleep, unless the link is to end: asked by a signal, or by removing its file."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            stop = self._ended.wait(max(0.0, min(left, _LOOK)))
            if stop or (self._announced is not None and not self._is_ours()):
                raise _EndedError
            if left <= _LOOK:
                return

    def _is_ours(self) -> bool:
        """Return whether the connection file is the one written last by this process."""
        try:
            now = (self._directory / FILE_NAME).stat()
        except OSError:
            return False
        return self._announced is not None and (now.st_ino, now.st_mtime_ns) == (
            self._announced.st_ino,
            self._announced.st_mtime_ns,
        )

    def _check_place(self) -> None:
        if not hasattr(socket, "AF_UNIX"):
            raise SshError("ssh forwards no socket files on this system.")
        if len(os.fsencode(self._near)) > LONGEST_SOCKET_PATH:
            raise AccessError(
                f"The path {self._near} is too long for a socket.",
                "Set MASKUPE_STATE_DIR to a shorter one.",
            )
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self._near.lstat().st_mode):
                raise AccessError(f"{self._near} is in the way and not a socket.", "Remove it.")


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InputError(f"--command cannot be read: {error}.", "Check its quotes.") from error
    if not words:
        raise InputError("--command is empty.", "Name the program on the other machine.")
    return words


@contextlib.contextmanager
def _ending() -> Iterator[threading.Event]:
    """Set an event at the signals that end a program."""
    ended = threading.Event()
    names = [signal.SIGTERM, signal.SIGINT]
    if hasattr(signal, "SIGHUP"):
        names.append(signal.SIGHUP)
    before = {name: signal.signal(name, lambda *_: ended.set()) for name in names}
    try:
        yield ended
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
