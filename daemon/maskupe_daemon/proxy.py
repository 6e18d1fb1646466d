"""Sockets of our own before libzmq's: a thread that lets in so many clients and so many bytes.

See :mod:`maskupe_daemon.intake` for why. What comes from a client goes through its filter; what
goes to it is passed on as it is. Neither side is read while the other does not take what it gets.
"""

from __future__ import annotations

import contextlib
import logging
import math
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from maskupe_daemon.intake import Filter, ForeignError

log = logging.getLogger("maskupe_daemon.proxy")

#: Bytes taken from a socket at once.
_CHUNK = 1 << 20
#: Seconds between two looks at what does not move.
_TICK = 1.0
#: Seconds in which a message that has begun must go on, while it keeps others out.
STALLED = 60.0
#: Seconds for which what is left for a client is kept when the ROUTER has closed its connection.
_LINGER = 5.0
#: Seconds between two lines in the log about connections that were closed.
_LOG_INTERVAL = 10.0
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


@dataclass(frozen=True)
class Bounds:
    """What is let in at most.

    Attributes:
        connections: at once.
        frame: bytes of one frame.
        message: bytes of one message, and of all that are arriving together, but that the oldest
            of them is never kept waiting.
    """

    connections: int
    frame: int
    message: int


@dataclass(eq=False)
class _Pair:
    """One client's connection and the one to the ROUTER that stands for it."""

    client: socket.socket
    router: socket.socket
    filter: Filter
    #: Passed by the filter, not taken by the ROUTER yet.
    inward: bytes = b""
    #: Received while the filter waits.
    unread: bytes = b""
    #: Not taken by the client yet.
    outward: bytes = b""
    client_ended: bool = False
    router_ended: float = 0.0
    moved: float = field(default_factory=time.monotonic)
    masks: dict[socket.socket, int] = field(default_factory=dict)


class Proxy:
    """Stands between the clients and a ROUTER, in a thread of its own.

    Args:
        listener: where clients connect; closed by :meth:`close`.
        connect: makes a connection to the ROUTER.
        bounds: what is let in at most.
    """

    def __init__(
        self, listener: socket.socket, connect: Callable[[], socket.socket], bounds: Bounds
    ) -> None:
        self._listener = listener
        self._connect = connect
        self._bounds = bounds
        self._selector = selectors.DefaultSelector()
        self._pairs: dict[_Pair, None] = {}
        #: Those with a message under way, the oldest first.
        self._arriving: dict[_Pair, None] = {}
        self._scratch = memoryview(bytearray(_CHUNK))
        self._closing: float | None = None
        #: Those whose filter waits until there is room.
        self._waiting: dict[_Pair, None] = {}
        #: Those that the ROUTER has left, with something still to be sent.
        self._lingering: dict[_Pair, None] = {}
        #: When clients are taken again, if not now.
        self._accepting_again: float | None = None
        self._refused = 0
        self._logged_at = -_LOG_INTERVAL
        self._wake_in, self._wake_out = socket.socketpair()
        listener.setblocking(False)
        self._selector.register(listener, _READ)
        self._selector.register(self._wake_in, _READ)
        self._thread = threading.Thread(target=self._run, name="maskupe-proxy", daemon=True)
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Take no more clients, wait until what is on its way has gone, and close all."""
        self._closing = time.monotonic() + timeout
        self._wake_out.send(b"\0")
        self._thread.join()

    # ------------------------------------------------------------------ the loop

    def _run(self) -> None:
        try:
            while self._closing is None or (self._pairs and time.monotonic() < self._closing):
                for key, mask in self._selector.select(self._timeout()):
                    self._serve(key, mask)
                self._check_clock()
        except Exception:
            log.exception("the daemon cannot take clients any more, so it ends")
            signal.raise_signal(signal.SIGTERM)
        finally:
            self._selector.close()
            for pair in self._pairs:
                pair.client.close()
                pair.router.close()
            for sock in (self._listener, self._wake_in, self._wake_out):
                sock.close()

    def _timeout(self) -> float | None:
        """Seconds until something must be looked at although nothing moves."""
        if self._closing is not None or self._waiting or self._lingering:
            return _TICK / 10
        return None if self._accepting_again is None else _TICK

    def _serve(self, key: selectors.SelectorKey, mask: int) -> None:
        if key.fileobj is self._listener:
            self._accept()
        elif key.fileobj is self._wake_in:
            self._wake_in.recv(1)
            self._pause(until=math.inf)
        elif key.data in self._pairs:  # not closed by another event of this round
            pair: _Pair = key.data
            try:
                if key.fileobj is pair.client:
                    self._serve_client(pair, mask)
                else:
                    self._serve_router(pair, mask)
                self._close_or_listen(pair)
            except ForeignError as error:
                self._refuse(str(error))
                self._drop(pair)
            except OSError:
                self._drop(pair)
            except Exception:  # whatever it is, the other clients are served
                log.exception("a connection could not be served")
                self._drop(pair)

    def _serve_client(self, pair: _Pair, mask: int) -> None:
        if mask & _WRITE:
            pair.outward = _send(pair.client, pair.outward)
        if mask & _READ:
            count = _receive(pair.client, self._scratch)
            if count is None:
                return
            pair.client_ended = not count
            pair.moved = time.monotonic()
            self._let_in(pair, self._scratch[:count])

    def _serve_router(self, pair: _Pair, mask: int) -> None:
        if mask & _WRITE:
            pair.inward = _send(pair.router, pair.inward)
        if mask & _READ:
            count = _receive(pair.router, self._scratch)
            if count is None:
                return
            if not count:
                pair.router_ended = time.monotonic()
                self._lingering[pair] = None
            pair.outward = _send(pair.client, self._scratch[:count])

    def _let_in(self, pair: _Pair, data: memoryview) -> None:
        passed, read = pair.filter.feed(data)
        pair.unread = bytes(data[read:])
        if passed:
            whole = passed[0] if len(passed) == 1 else b"".join(passed)
            pair.inward = _send(pair.router, whole)
        _keep(self._arriving, pair, pair.filter.begun)
        _keep(self._waiting, pair, pair.filter.waiting)

    def _close_or_listen(self, pair: _Pair) -> None:
        """Close what has ended; listens for what can be dealt with."""
        if pair.router_ended and not pair.outward:
            self._drop(pair)
            return
        if pair.client_ended and not pair.inward and not pair.filter.waiting:
            self._drop(pair)
            return
        held_up = pair.inward or pair.filter.waiting or pair.client_ended or pair.router_ended
        client = (0 if held_up else _READ) | (_WRITE if pair.outward else 0)
        router = 0 if pair.outward or pair.router_ended else _READ
        router |= _WRITE if pair.inward and not pair.router_ended else 0
        self._listen(pair, pair.client, client)
        self._listen(pair, pair.router, router)

    def _listen(self, pair: _Pair, sock: socket.socket, mask: int) -> None:
        before = pair.masks.get(sock, 0)
        if mask == before:
            return
        if not before:
            self._selector.register(sock, mask, pair)
        elif mask:
            self._selector.modify(sock, mask, pair)
        else:
            self._selector.unregister(sock)
        pair.masks[sock] = mask

    def _drop(self, pair: _Pair) -> None:
        self._listen(pair, pair.client, 0)
        self._listen(pair, pair.router, 0)
        pair.client.close()
        pair.router.close()
        for pairs in (self._pairs, self._arriving, self._waiting, self._lingering):
            pairs.pop(pair, None)

    # ------------------------------------------------------------------ bounds

    def _accept(self) -> None:
        try:
            client, _address = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return  # it is gone again
        except OSError:  # there is no descriptor left, which does not change at once
            self._pause()
            return
        if len(self._pairs) >= self._bounds.connections and not self._make_room():
            client.close()
            return
        try:
            client.setblocking(False)
            if client.family != getattr(socket, "AF_UNIX", None):
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            router = self._connect()
        except OSError:
            client.close()
            return
        router.setblocking(False)

        def may_arrive(size: int) -> bool:
            return self._may_arrive(pair, size)

        pair = _Pair(client, router, Filter(self._bounds.frame, self._bounds.message, may_arrive))
        self._pairs[pair] = None
        self._close_or_listen(pair)

    def _make_room(self) -> bool:
        """Close the oldest connection that has not shaken hands; False if all have."""
        self._refuse("too many connections")
        silent = next((pair for pair in self._pairs if not pair.filter.greeted), None)
        if silent is None:
            return False
        self._drop(silent)
        return True

    def _may_arrive(self, pair: _Pair, size: int) -> bool:
        """Return whether a frame may come now: all that arrive together are bounded, too."""
        oldest = next(iter(self._arriving), pair)
        arriving = sum(other.filter.arriving for other in self._arriving)
        return pair is oldest or arriving + size <= self._bounds.message

    def _check_clock(self) -> None:
        """Do what the clock asks for, or what any event may have made room for."""
        now = time.monotonic()
        if self._accepting_again is not None and now >= self._accepting_again:
            self._accepting_again = None
            self._selector.register(self._listener, _READ)
        for pair in tuple(self._waiting):
            self._again(pair)
        oldest = next(iter(self._arriving), None)
        if self._waiting and oldest and not oldest.inward and now - oldest.moved > STALLED:
            self._refuse("a message that does not go on")
            self._drop(oldest)
        for pair in tuple(self._lingering):
            if now - pair.router_ended > _LINGER:
                self._drop(pair)

    def _again(self, pair: _Pair) -> None:
        """Let in what waits, if there is room now."""
        if pair.inward:
            return
        try:
            self._let_in(pair, memoryview(pair.unread))
            if not pair.filter.waiting:
                pair.moved = time.monotonic()
            self._close_or_listen(pair)
        except (ForeignError, OSError):
            self._drop(pair)

    def _pause(self, until: float | None = None) -> None:
        """Take no clients for a moment, or until a time."""
        if self._accepting_again is None:
            self._selector.unregister(self._listener)
        self._accepting_again = time.monotonic() + _TICK if until is None else until

    def _refuse(self, reason: str) -> None:
        """Count, and sometimes tells: a stranger must not push everything else out of the log."""
        self._refused += 1
        now = time.monotonic()
        if now - self._logged_at >= _LOG_INTERVAL:
            log.warning("closed %d connections, the last for %s", self._refused, reason)
            self._refused, self._logged_at = 0, now


def _keep(pairs: dict[_Pair, None], pair: _Pair, wanted: bool) -> None:
    if wanted:
        pairs.setdefault(pair)
    else:
        pairs.pop(pair, None)


def _receive(sock: socket.socket, room: memoryview) -> int | None:
    """Return the number of bytes received, 0 at the end, ``None`` if there is nothing yet."""
    try:
        return sock.recv_into(room)
    except (BlockingIOError, InterruptedError):
        return None


def _send(sock: socket.socket, data: bytes | memoryview) -> bytes:
    """Send as much as goes at once; return the rest."""
    sent = 0
    view = memoryview(data)
    with contextlib.suppress(BlockingIOError, InterruptedError):
        while sent < len(view):
            sent += sock.send(view[sent:])
    return bytes(view[sent:])
