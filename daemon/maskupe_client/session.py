"""A greeted connection to the daemon, renewed when it was lost, and small questions over it."""

from __future__ import annotations

import hmac
import secrets
import time
from pathlib import Path
from typing import Any

from maskupe_client.connection import Connection, read_connection
from maskupe_client.errors import (
    AnswerError,
    ConnectionLostError,
    LinkDownError,
    NotAnsweringError,
    NotRunningError,
    ProtocolMismatchError,
    RefusedError,
)
from maskupe_client.framing import PROTOCOL, WireError, new_id, pack
from maskupe_client.messages import check_sizes, parse
from maskupe_client.zmtp import ZmtpTransport

#: Seconds without a sign of life after which a busy daemon counts as stuck. It sends one every
#: half second while a job waits or runs, so this is generous.
SILENCE = 10.0


class Session:
    """A connection to the running daemon.

    Args:
        directory: the state directory with the connection file; the usual one if None.
        name: what the daemon's log calls this client.
        timeout: for connecting, and for answers to small questions, in seconds.
    """

    def __init__(self, directory: Path | None, name: str, timeout: float) -> None:
        self._directory = directory
        self._name = name
        self._timeout = timeout
        self._channel: ZmtpTransport | None = None
        #: What the daemon said in ``welcome``: server, version, device, models, limits.
        self.welcome: dict[str, Any] = {}
        #: Where the daemon is, as ssh calls it; "" for this machine.
        self.host = ""

    def close(self) -> None:
        """Close the connection. Jobs of this client end."""
        if self._channel:
            self._channel.close()
            self._channel = None

    def _ask(self, header: dict[str, Any], expected: str) -> dict[str, Any]:
        """Send a small request and wait for its answer."""
        try:
            return self._ask_once(header, expected)
        except ConnectionLostError:  # an idle connection that was dropped
            self._reconnect()
            return self._ask_once(header, expected)

    def _ask_once(self, header: dict[str, Any], expected: str) -> dict[str, Any]:
        channel = self._open_channel()
        identifier = new_id()
        channel.send([pack({**header, "id": identifier})])
        deadline = time.monotonic() + self._timeout
        while True:
            left = deadline - time.monotonic()
            parts = channel.receive(timeout=left) if left > 0 else None
            if parts is None:
                self.close()
                raise NotAnsweringError(self._timeout)
            answer = self._read(parts, identifier)
            if answer is not None and answer["type"] == expected:
                return answer

    def _read(self, parts: list[Any], identifier: str) -> dict[str, Any] | None:
        """Return the answer to a request; None if the message belongs to an older one.

        Raises:
            AnswerError: if it is an ``error``.
            ProtocolMismatchError, RefusedError: if it cannot be understood.
        """
        try:
            answer = parse(parts[0], "daemon")
            check_sizes(answer, [len(part) for part in parts[1:]])
        except WireError as error:
            self.close()
            if error.code == "version":
                raise ProtocolMismatchError("another version", PROTOCOL) from error
            raise RefusedError(
                f"The daemon's answer cannot be understood: {error.message}", "Update MaskUPE."
            ) from error
        if answer["id"] not in (identifier, ""):
            return None
        if answer["type"] == "error":
            if answer["code"] == "version":
                self.close()
                raise ProtocolMismatchError("another version", PROTOCOL)
            raise AnswerError(
                answer["code"],
                answer["message"],
                answer["hint"],
                position=answer["position"],
                retry_after=answer["retry_after"],
            )
        return answer

    def _open_channel(self) -> ZmtpTransport:
        if self._channel is None or self._channel.broken:
            self._reconnect()
        assert self._channel is not None
        return self._channel

    def _reconnect(self) -> None:
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                self._connect_once()
                return
            except ConnectionLostError:
                if self.host:  # ssh is there, but what it leads to is not
                    raise LinkDownError(self.host) from None
                # A daemon that ends may still let clients in; a moment later it is gone.
                if time.monotonic() > deadline:
                    raise RefusedError(
                        "What listens in the daemon's place closes every connection.",
                        "Restart the daemon.",
                    ) from None
                time.sleep(0.05)

    def _connect_once(self) -> None:
        self.close()
        connection = read_connection(self._directory)
        self.host = connection.host
        try:
            self._channel = ZmtpTransport.connect(
                connection.endpoint, connection.token, self._timeout, SILENCE
            )
        except (FileNotFoundError, ConnectionRefusedError):
            if connection.host:
                raise LinkDownError(connection.host) from None
            raise NotRunningError("it ended without tidying up") from None
        except TimeoutError:
            raise NotAnsweringError(self._timeout) from None
        except OSError as error:
            raise RefusedError(
                f"The MaskUPE daemon at {connection.endpoint} cannot be reached: {error}.",
                "Restart the daemon.",
            ) from error
        self._greet(connection)

    def _greet(self, connection: Connection) -> None:
        nonce = secrets.token_hex(16)
        welcome = self._ask_once({"type": "hello", "client": self._name, "nonce": nonce}, "welcome")
        if not hmac.compare_digest(welcome["proof"], connection.proof(nonce)):
            self.close()
            if connection.host:  # the daemon there was started anew, which the link has yet to see
                raise LinkDownError(connection.host)
            raise RefusedError(
                "Another program listens in the place of the MaskUPE daemon.",
                "Restart the daemon.",
            )
        self.welcome = welcome
