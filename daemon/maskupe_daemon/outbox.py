"""Sending without ever waiting, and knowing what clients have not taken yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import zmq

from maskupe_daemon.jobs import Route
from maskupe_daemon.transport import Listener
from maskupe_daemon.wire import WireError, pack


class GoneError(Exception):
    """The client of a route is not connected any more, or has long stopped reading."""


class Outbox:
    """Sends answers and counts the bytes that each client has not taken yet.

    libzmq keeps an unsent plane until the client reads it or is disconnected; heartbeats see to
    the latter. Until then its bytes count, so that a slow reader cannot pile up results.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners
        self._pending: list[tuple[Route, int, zmq.MessageTracker]] = []

    def send(self, route: Route, header: dict[str, Any], planes: Sequence[Any] = ()) -> None:
        """Sends one message at once.

        Raises:
            GoneError: if the client is gone, or does not read what it was sent before.
        """
        socket = self._listeners[route.listener].socket
        try:
            data = pack(header)
        except WireError:
            data = pack(
                {
                    "type": "error",
                    "id": header["id"],
                    "code": "failed",
                    "message": "The answer is too long.",
                }
            )
            planes = ()
        try:
            socket.send(route.identity, zmq.SNDMORE | zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise GoneError from error
            raise
        # The route decided whether the message can go; its other frames follow without fail.
        socket.send(data, zmq.SNDMORE if planes else 0)
        for number, plane in enumerate(planes, 1):
            flags = zmq.SNDMORE if number < len(planes) else 0
            tracker = socket.send(plane, flags, copy=False, track=True)
            self._pending.append((route, plane.nbytes, tracker))

    def tidy(self) -> None:
        """Forgets what has been taken."""
        self._pending = [entry for entry in self._pending if not entry[2].done]

    def waiting_bytes(self, route: Route | None = None) -> int:
        """Bytes of planes not taken yet, by one client or by all."""
        return sum(n for owner, n, _ in self._pending if route is None or owner == route)
