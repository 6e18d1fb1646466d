"""Who gets in by tcp: those with the token.

libzmq asks a handler at ``inproc://zeromq.zap.01`` (ZAP, RFC 27) about every connection that uses
PLAIN; :class:`ZapAuthenticator` is that handler, polled by the daemon's own loop.
"""

from __future__ import annotations

import hmac
import logging
import time

import zmq

log = logging.getLogger("maskupe_daemon.auth")

#: Seconds between two lines in the log about those who were turned away.
_LOG_INTERVAL = 10.0
_ZAP = "inproc://zeromq.zap.01"


class ZapAuthenticator:
    """Answers libzmq's questions about who may connect.

    Args:
        context: the context whose sockets it guards.
        token: the password of PLAIN.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], token: str) -> None:
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind(_ZAP)
        self._token = token.encode()
        self._turned_away = 0
        self._logged_at = -_LOG_INTERVAL

    def answer(self) -> None:
        """Answer one question, if there is one."""
        try:
            version, request, _domain, address, _identity, mechanism, *credentials = (
                self.socket.recv_multipart(zmq.NOBLOCK)
            )
        except zmq.Again:
            return
        admitted = self._admits(mechanism, credentials)
        if not admitted:
            self._turn_away(address, mechanism)
        code, text = (b"200", b"OK") if admitted else (b"400", b"not allowed")
        self.socket.send_multipart([version, request, code, text, b"", b""])

    def _admits(self, mechanism: bytes, credentials: list[bytes]) -> bool:
        if mechanism == b"PLAIN" and len(credentials) == 2:
            return bool(self._token) and hmac.compare_digest(credentials[1], self._token)
        return False

    def _turn_away(self, address: bytes, mechanism: bytes) -> None:
        """Count, and sometimes tells: a stranger must not push everything else out of the log."""
        self._turned_away += 1
        now = time.monotonic()
        if now - self._logged_at >= _LOG_INTERVAL:
            log.warning(
                "turned away %d attempts to connect, the last from %s (%s)",
                self._turned_away,
                address.decode(errors="replace"),
                mechanism.decode(errors="replace"),
            )
            self._turned_away, self._logged_at = 0, now

    def close(self) -> None:
        """Stop answering."""
        self.socket.close()
