"""Who gets in: an owner-only directory for the socket, a token on loopback, keys from afar.

libzmq asks a handler at ``inproc://zeromq.zap.01`` (ZAP, RFC 27) about every connection that uses
PLAIN or CURVE; :class:`Doorkeeper` is that handler, polled by the daemon's own loop.
"""

from __future__ import annotations

import hmac
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path

import zmq

from maskupe.errors import MaskUPEError

log = logging.getLogger("maskupe_daemon.access")

_ZAP = "inproc://zeromq.zap.01"


class AccessError(MaskUPEError):
    """The daemon cannot guarantee that only its owner gets in."""

    code = "access"
    exit_status = 4


def secure_directory(path: Path) -> None:
    """Makes sure that a directory exists and belongs to this user alone.

    A directory of ours that others may enter is closed to them.

    Raises:
        AccessError: if it is a symbolic link, no directory, somebody else's, or cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise AccessError(
                f"{path} is a link or a file, not a directory.",
                "Remove it, or set MASKUPE_STATE_DIR to another place.",
            )
        if hasattr(os, "geteuid"):
            if status.st_uid != os.geteuid():
                raise AccessError(
                    f"{path} belongs to another user.",
                    "Set MASKUPE_STATE_DIR to a directory of your own.",
                )
            if status.st_mode & 0o077:
                log.warning("%s could be entered by others; closing it to them", path)
                path.chmod(0o700)
    except OSError as error:
        raise AccessError(
            f"The directory {path} cannot be made or looked at: {error.strerror}.",
            "Set MASKUPE_STATE_DIR to a directory of your own.",
        ) from error


class Doorkeeper:
    """Answers libzmq's questions about who may connect.

    Args:
        context: the context whose sockets it guards.
        token: the password of PLAIN.
        allowed: tells whether a CURVE client with this public key (32 bytes) may connect.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], token: str, allowed: Callable[[bytes], bool]
    ) -> None:
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind(_ZAP)
        self._token = token.encode()
        self._allowed = allowed

    def answer(self) -> None:
        """Answers one question, if there is one."""
        try:
            version, request, _domain, address, _identity, mechanism, *credentials = (
                self.socket.recv_multipart(zmq.NOBLOCK)
            )
        except zmq.Again:
            return
        admitted = self._admits(mechanism, credentials)
        if not admitted:
            log.warning(
                "turned away a client at %s (%s)",
                address.decode(errors="replace"),
                mechanism.decode(errors="replace"),
            )
        code, text = (b"200", b"OK") if admitted else (b"400", b"not allowed")
        self.socket.send_multipart([version, request, code, text, b"", b""])

    def _admits(self, mechanism: bytes, credentials: list[bytes]) -> bool:
        if mechanism == b"PLAIN" and len(credentials) == 2:
            return bool(self._token) and hmac.compare_digest(credentials[1], self._token)
        if mechanism == b"CURVE" and len(credentials) == 1:
            return self._allowed(credentials[0])
        return False

    def close(self) -> None:
        """Stops answering."""
        self.socket.close()
