"""The connection file: where the daemon listens and what proves that a client may speak to it.

It lies at one fixed place under the home directory, the same on every system and from inside a
Flatpak sandbox, which sees the home directory but other XDG directories. Standard library only.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskupe_client.errors import NotRunningError, ProtocolMismatchError, RefusedError
from maskupe_client.framing import PROTOCOL

#: Overrides the state directory, for tests and for a second, separate daemon.
STATE_VARIABLE = "MASKUPE_STATE_DIR"
FILE_NAME = "connection.json"


def state_directory() -> Path:
    """Return where the daemon keeps its connection file, socket, lock and log."""
    override = os.environ.get(STATE_VARIABLE)
    return Path(override) if override else Path.home() / ".local" / "state" / "maskupe"


@dataclass(frozen=True)
class Connection:
    """What a client needs to know to reach a daemon.

    Attributes:
        endpoint: ``ipc://PATH`` or ``tcp://127.0.0.1:PORT``.
        mechanism: ``"NULL"`` (ipc only) or ``"PLAIN"``.
        token: PLAIN's password, ``""`` without PLAIN.
        secret: key with which the daemon proves in ``welcome`` that it wrote this file.
        server: identifier of this run of the daemon; another one means that it restarted.
        pid: the process that wrote the file, so on another machine than the daemon's if ``host``
            is set.
        version: the daemon's version.
        protocol: the protocol it speaks.
        host: where the daemon is, as ssh calls it, if the endpoint is a link of
            ``maskupe-daemon forward``; else ``""``.
    """

    endpoint: str
    mechanism: str
    token: str = field(repr=False)
    secret: str = field(repr=False)
    server: str
    pid: int
    version: str
    protocol: int = PROTOCOL
    host: str = ""

    def proof(self, nonce: str) -> str:
        """Return what a daemon that knows the secret answers to a nonce."""
        text = f"{self.server} {nonce}".encode()
        return hmac.new(self.secret.encode(), text, hashlib.sha256).hexdigest()


def read_connection(directory: Path | None = None) -> Connection:
    """Return the connection file of the running daemon.

    Raises:
        NotRunningError: if there is none.
        ProtocolMismatchError: if its daemon speaks another protocol.
        RefusedError: if it cannot be read or understood, or others could have written it.
    """
    path = (directory or state_directory()) / FILE_NAME
    try:
        with open(path, encoding="utf-8", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise RefusedError(f"The connection file {path} is no file.", "Remove it.")
            if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
                raise RefusedError(
                    f"The connection file {path} belongs to another user.", "Remove it."
                )
            if os.name == "posix" and status.st_mode & 0o022:
                raise RefusedError(
                    f"The connection file {path} can be written by others.", "Remove it."
                )
            values = json.loads(file.read(65536))
    except FileNotFoundError:
        raise NotRunningError from None
    except IsADirectoryError:
        raise RefusedError(f"The connection file {path} is a folder.", "Remove it.") from None
    except (OSError, ValueError) as error:
        raise RefusedError(
            f"The connection file {path} cannot be read.", "Restart the daemon."
        ) from error
    try:
        return as_connection(values)
    except ValueError as error:
        raise RefusedError(
            f"The connection file {path} is damaged: {error}.", "Restart the daemon."
        ) from error


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; one that somebody would have to write into first, a pipe, too."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def as_connection(values: Any) -> Connection:
    """Return the connection that a parsed connection file describes.

    Raises:
        ProtocolMismatchError: if its daemon speaks another protocol.
        ValueError: if something is missing or of another type.
    """
    protocol = values.get("protocol") if isinstance(values, dict) else None
    if protocol != PROTOCOL:
        raise ProtocolMismatchError(protocol, PROTOCOL)
    known = {name: values.get(name) for name in Connection.__dataclass_fields__}
    for name, value in known.items():
        expected = int if name in ("pid", "protocol") else str
        if not isinstance(value, expected):
            raise ValueError(f"'{name}' is missing")
    return Connection(**known)
