"""OpenSSH's client as a child: a command on another machine, and a socket that leads there.

Nothing is asked of the person (``BatchMode``): what a host needs, ``ssh HOST`` must already
do, by keys and ``ssh_config``. A host never goes through a shell on this machine.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from maskupe.errors import InputError, MaskUPEError

log = logging.getLogger("maskupe_daemon.ssh")

#: A line that is dead for half a minute counts as lost. The rest keeps what the person's
#: ssh_config may say for interactive sessions from getting in the way.
_OPTIONS = (
    "BatchMode=yes",
    "ConnectTimeout=10",
    "ServerAliveInterval=10",
    "ServerAliveCountMax=3",
    "ControlMaster=no",
    "ControlPath=none",
    "RemoteCommand=none",
    "PermitLocalCommand=no",
    "LogLevel=INFO",
)
#: Exit status of ssh itself; any other is the remote command's.
_SSH_FAILED = 255
#: Of the remote shell, if there is no such command or it may not be run; and of argparse.
_NOT_FOUND, _NOT_EXECUTABLE, _BAD_USAGE = 127, 126, 2
_SLICE = 0.05
_LAST_LINES = 20


class SshError(MaskUPEError):
    """What is to be done on another machine cannot be done there."""

    code = "ssh"


class UnreachableError(SshError):
    """The other machine, or its daemon, is not there: this may pass."""

    code = "unreachable"


def check_host(host: str) -> None:
    """Refuse what ssh could take for something other than a host.

    Raises:
        InputError: for a host that begins with a dash, is empty, or holds a blank.
    """
    if not host or host.startswith("-") or re.search(r"[\s\0]", host):
        raise InputError(f"{host!r} is not a host.", "Name it as in 'ssh HOST'.")


def run(
    host: str,
    command: Sequence[str],
    timeout: float,
    wait: Callable[[float], None],
) -> str:
    """Run a command on a host and return what it wrote to stdout.

    Args:
        host: as ssh names it.
        command: words, quoted here for the remote shell; a leading ``~/`` is the remote home.
        timeout: how long it may take, in seconds.
        wait: called with some seconds to sleep, again and again; what it raises ends the command.

    Raises:
        UnreachableError: if the host cannot be reached, or does not answer in time.
        SshError: if it refuses us or the command fails there.
    """
    arguments = _arguments(host, ["-o", "ClearAllForwardings=yes"], _remote_line(command))
    process = _start(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    output: list[str] = []
    errors: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
    readers = [_reader(process.stdout, output.append), _reader(process.stderr, errors.append)]
    deadline = time.monotonic() + timeout
    try:
        while process.poll() is None:
            if time.monotonic() > deadline:
                raise UnreachableError(
                    f"{host} has not answered for {timeout:.0f} s.", f"Try 'ssh {host}'."
                )
            wait(_SLICE)
    finally:
        _end(process, readers)
    if process.returncode:
        raise _failure(host, command, process.returncode, list(errors))
    return "".join(output)


class Tunnel:
    """A socket on this machine that leads to one on another, for as long as ssh lives.

    ssh ends with this process, however that ends: it waits for a remote ``cat``, which ends
    when our end of its input is closed.

    Args:
        host: as ssh names it.
        near: the socket file here, made for its owner only; a stale one is replaced.
        far: ``ipc://PATH`` or ``tcp://127.0.0.1:PORT`` there.

    Raises:
        SshError: if there is no ssh, or ``far`` is neither.
    """

    def __init__(self, host: str, near: Path, far: str) -> None:
        self._host = host
        self._near = near
        forward = f"{_escaped(str(near))}:{_target(far)}"
        options = ["ExitOnForwardFailure=yes", "StreamLocalBindUnlink=yes"]
        words = [word for option in options for word in ("-o", option)]
        arguments = _arguments(host, [*words, "-L", forward], "cat")
        near.unlink(missing_ok=True)
        self._process = _start(arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self._said: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
        self._reader = _reader(self._process.stderr, self._hear)

    def close(self) -> None:
        """End ssh and remove the socket; harmless when repeated."""
        _end(self._process, [self._reader])
        self._near.unlink(missing_ok=True)

    def raise_if_ended(self) -> None:
        """Tell why ssh ended, if it did.

        Raises:
            UnreachableError: if the host cannot be reached any more.
            SshError: if it refuses us.
        """
        if self._process.poll() is None:
            return
        self._reader.join(1)
        raise _failure(self._host, [], _SSH_FAILED, list(self._said))

    def _hear(self, line: str) -> None:
        self._said.append(line)
        log.debug("ssh: %s", line.strip())


def _arguments(host: str, options: Sequence[str], line: str) -> list[str]:
    program = shutil.which("ssh")
    if program is None:
        raise SshError("There is no ssh on this machine.", "Install OpenSSH's client.")
    fixed = [word for option in _OPTIONS for word in ("-o", option)]
    # No terminal, no agent, no display: the other machine gets nothing it does not need.
    return [program, "-T", "-a", "-x", *fixed, *options, "--", host, line]


def _start(arguments: list[str], *, stdin: int, stdout: int) -> subprocess.Popen[str]:
    log.debug("%s", shlex.join(arguments))
    try:
        return subprocess.Popen(
            arguments,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # Ctrl-C is for us, who then end it.
            start_new_session=True,
        )
    except OSError as error:
        raise SshError(f"ssh cannot be started: {error.strerror}.") from error


def _end(process: subprocess.Popen[str], readers: Sequence[threading.Thread]) -> None:
    """End ssh, with a ProxyCommand of its own if it has one, and close its pipes."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2)
    for reader in readers:
        reader.join(1)
    for pipe, reading in ((process.stdin, False), (process.stdout, True), (process.stderr, True)):
        # A pipe that is still read, as somebody else holds its other end, would not close.
        if pipe and not (reading and any(reader.is_alive() for reader in readers)):
            with contextlib.suppress(OSError):
                pipe.close()


def _reader(pipe: IO[str] | None, take: Callable[[str], None]) -> threading.Thread:
    """Read lines in a thread, so that nothing that the child writes holds it up."""
    assert pipe is not None

    def read() -> None:
        for line in pipe:
            take(line)

    thread = threading.Thread(target=read, name="ssh-reader", daemon=True)
    thread.start()
    return thread


def _remote_line(words: Sequence[str]) -> str:
    """Join words for the remote shell, which expands nothing in them but a leading ``~/``."""
    return " ".join(
        f"~/{shlex.quote(word[2:])}" if word.startswith("~/") else shlex.quote(word)
        for word in words
    )


def _target(endpoint: str) -> str:
    """Return an endpoint as the far half of ``-L``.

    Raises:
        SshError: if it is no socket file and no loopback port.
    """
    if endpoint.startswith("ipc:///"):
        return _escaped(endpoint.removeprefix("ipc://"))
    found = re.fullmatch(r"tcp://(127\.0\.0\.1|\[::1\]|localhost):(\d{1,5})", endpoint)
    if found is None:
        raise SshError(f"The daemon there listens at {endpoint!r}, where ssh cannot lead.")
    return f"{found[1]}:{found[2]}"


def _escaped(path: str) -> str:
    """Return a path as ssh takes it between colons, with nothing in it expanded."""
    for plain in "\\:":
        path = path.replace(plain, f"\\{plain}")
    return path.replace("%", "%%")


def _failure(host: str, command: Sequence[str], status: int, lines: list[str]) -> SshError:
    """Return what to tell the person of ssh's or the remote command's failure."""
    messages = [line.strip() for line in lines if line.strip()]
    text, last = "\n".join(messages), messages[-1] if messages else "no reason given"
    if status in (_NOT_FOUND, _NOT_EXECUTABLE):
        return SshError(
            f"There is no {command[0]} to run on {host}.",
            "Install MaskUPE there, or say where it is: --command '~/.local/bin/maskupe-daemon'.",
        )
    if status == _BAD_USAGE and "unrecognized arguments" in text:
        return SshError(f"MaskUPE on {host} is too old for this.", "Update it there.")
    if status != _SSH_FAILED:
        return UnreachableError(f"{host} says: {last.removeprefix('maskupe-daemon: ')}")
    if "Host key verification failed" in text or "HOST IDENTIFICATION HAS CHANGED" in text:
        return SshError(
            f"ssh does not know {host} by the key that it shows, or not yet.",
            f"Run 'ssh {host}' once and check its key.",
        )
    if "Permission denied" in text or "Too many authentication failures" in text:
        return SshError(
            f"{host} accepts none of your keys.",
            f"Set one up with 'ssh-copy-id {host}', and unlock it with 'ssh-add'.",
        )
    if "Bad configuration option" in text or "local forwarding" in text:
        return SshError(f"ssh cannot forward a socket: {last}")
    return UnreachableError(f"{host} cannot be reached: {last}", f"Try 'ssh {host}'.")
