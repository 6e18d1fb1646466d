"""Sending without ever waiting, and knowing what clients have not taken yet."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import zmq

from maskupe_client.framing import WireError, pack
from maskupe_daemon.queue import Route
from maskupe_daemon.sockets import Listener

log = logging.getLogger("maskupe_daemon.reply_sender")

#: A client that has not taken a result after this many seconds, and the time that the slowest
#: line (bytes a second) would need for it, is disconnected.
READ_TIMEOUT = 60.0
SLOWEST = 1e6


@dataclass(frozen=True)
class _Unread:
    """A plane that its client has not taken yet; times are those of the monotonic clock."""

    route: Route
    nbytes: int
    tracker: zmq.MessageTracker
    since: float
    deadline: float


class GoneError(Exception):
    """The client of a route is not connected any more, or has long stopped reading."""


class ReplySender:
    """Sends answers and counts the bytes that each client has not taken yet.

    libzmq keeps an unsent plane until the client reads it or is disconnected. Until then its bytes
    count, so that slow readers cannot pile up results: where another one would be too much, those
    who have let theirs lie longest are disconnected. So is one that takes nothing for long:
    libzmq's heartbeats cannot see it, since they queue behind the plane.

    Args:
        listener: what sends.
        most: bytes of results that may wait for their clients, all together; a single result may
            have more.
    """

    def __init__(self, listener: Listener, most: int) -> None:
        self._listener = listener
        self._most = most
        self._pending: list[_Unread] = []

    def send(self, route: Route, header: dict[str, Any], planes: Sequence[Any] = ()) -> None:
        """Send one message at once.

        Raises:
            GoneError: if the client is gone, or does not read what it was sent before.
        """
        router = self._listener.router
        self._make_room(route, sum(plane.nbytes for plane in planes))
        try:
            data = pack(header)
        except WireError:
            fields = {"code": "failed", "message": "The answer is too long."}
            data, planes = pack({"type": "error", "id": header["id"], **fields}), ()
        try:
            router.send(route.identity, zmq.SNDMORE | zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise GoneError from error
            raise
        # The route decided whether the message can go; its other frames follow without fail.
        router.send(data, zmq.SNDMORE if planes else 0)
        for number, plane in enumerate(planes, 1):
            flags = zmq.SNDMORE if number < len(planes) else 0
            tracker = router.send(plane, flags, copy=False, track=True)
            now = time.monotonic()
            deadline = now + READ_TIMEOUT + plane.nbytes / SLOWEST
            self._pending.append(_Unread(route, plane.nbytes, tracker, now, deadline))

    def _make_room(self, route: Route, size: int) -> None:
        """Disconnects those who have not taken their results for longest.

        Raises:
            GoneError: if that is the client of ``route``.
        """
        if not size:
            return
        self._forget_taken()
        while self._pending and self.waiting_bytes() + size > self._most:
            oldest = min(self._pending, key=lambda unread: unread.since).route
            log.warning("too many results wait to be taken; the longest waiting is given up")
            _disconnect(oldest.descriptor)
            self._pending = [unread for unread in self._pending if unread.route != oldest]
            if oldest == route:
                raise GoneError

    def _forget_taken(self) -> None:
        self._pending = [unread for unread in self._pending if not unread.tracker.done]

    def drop_stalled(self) -> None:
        """Forget what has been taken, and disconnect those who let their time pass."""
        self._forget_taken()
        now = time.monotonic()
        for route in {unread.route for unread in self._pending if now > unread.deadline}:
            log.warning("a client does not take its result; its connection is closed")
            _disconnect(route.descriptor)
            self._pending = [
                replace(unread, deadline=now + READ_TIMEOUT) if unread.route == route else unread
                for unread in self._pending
            ]

    def waiting_bytes(self, route: Route | None = None) -> int:
        """Return bytes of planes not taken yet, by one client or by all."""
        return sum(u.nbytes for u in self._pending if route is None or u.route == route)


def _disconnect(descriptor: int) -> None:
    """Shut a connection of libzmq's down, which has no call for that; it then tidies up itself.

    The caller knows that libzmq still has bytes for it, so the descriptor is still its own.
    """
    if descriptor < 0:
        return
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.shutdown(socket.SHUT_RDWR)
