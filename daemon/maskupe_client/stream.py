"""Bytes over one stream socket, in slices: no wait is longer than a user interface can bear."""

from __future__ import annotations

import contextlib
import mmap
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maskupe_client.errors import ClientError, ConnectionLostError, NotAnsweringError

#: How often a wait returns to its caller, in seconds.
POLL_INTERVAL = 0.05
#: Bytes handed to the socket at once: one slice must not outlast the patience of a user.
_CHUNK = 1 << 20
#: Bytes from which on a plane lies in memory of its own, taken from the system directly.
_LARGE = 1 << 20

Buffer = Any
Wait = Callable[[], None]


class Stream:
    """A connected socket.

    ``silence`` is how long, in seconds, the peer may neither send nor accept a byte while
    something is expected of it. ``wait`` arguments are called every :data:`POLL_INTERVAL` seconds.
    """

    def __init__(self, sock: socket.socket, silence: float) -> None:
        self._socket = sock
        self._socket.setblocking(False)
        self.silence = silence
        self.broken = False

    def close(self) -> None:
        """Close the connection; harmless when repeated."""
        self.broken = True
        self._socket.close()

    def write(self, data: Buffer, wait: Wait | None = None) -> int:
        """Send all bytes and return how many these were.

        Raises:
            ConnectionLostError: if the peer is gone.
            NotAnsweringError: if it accepts nothing for ``silence`` seconds.
        """
        view = memoryview(data).cast("B") if memoryview(data).nbytes else memoryview(b"")
        return self._move(view, False, self._socket.send, wait)

    def read(self, size: int, wait: Wait | None = None) -> memoryview:
        """Return the next ``size`` bytes, in memory that may be written to.

        Raises:
            ConnectionLostError: if the peer is gone.
            NotAnsweringError: if nothing comes for ``silence`` seconds.
        """
        view = _memory(size)
        self.read_into(view, wait)
        return view

    def read_into(self, view: memoryview, wait: Wait | None = None) -> None:
        """Fill memory with the next bytes; raises like :meth:`read`."""
        self._move(view, True, self._socket.recv_into, wait)

    def await_byte(self, wait: Wait | None = None, timeout: float | None = None) -> bool:
        """Wait until there is something to read; False after ``timeout`` seconds.

        Raises:
            ConnectionLostError: if the connection is closed.
            NotAnsweringError: if nothing comes for ``silence`` seconds.
        """
        began = time.monotonic()
        while True:
            interval = POLL_INTERVAL if wait else 0.5
            if timeout is not None:
                interval = max(0.0, min(interval, began + timeout - time.monotonic()))
            if self._ready(True, interval):
                return True
            if wait:
                wait()
            waited = time.monotonic() - began
            if timeout is not None and waited >= timeout:
                return False
            if waited >= self.silence:
                self.close()
                raise NotAnsweringError(waited)

    def _move(
        self, view: memoryview, reading: bool, action: Callable[[Any], int], wait: Wait | None
    ) -> int:
        done, called = 0, time.monotonic()
        while done < len(view):
            done += self._retry(view[done : done + _CHUNK], reading, action, wait)
            if wait and time.monotonic() - called >= POLL_INTERVAL:
                wait()
                called = time.monotonic()
        return done

    def _retry(
        self, piece: memoryview, reading: bool, action: Callable[[Any], int], wait: Wait | None
    ) -> int:
        """Repeat ``action`` until it moves a byte."""
        began = time.monotonic()
        while True:
            try:
                moved = action(piece)
            except (BlockingIOError, InterruptedError):
                moved = -1
            except OSError as error:
                self.close()
                raise ConnectionLostError from error
            if moved > 0:
                return moved
            if moved == 0:
                self.close()
                raise ConnectionLostError
            self._ready(reading, POLL_INTERVAL)
            if wait:
                wait()
            if time.monotonic() - began >= self.silence:
                self.close()
                raise NotAnsweringError(self.silence)

    def raise_if_broken(self) -> None:
        """Raise ConnectionLostError once the connection is closed, or about to be."""
        if self.broken:
            raise ConnectionLostError

    def _ready(self, reading: bool, timeout: float) -> bool:
        self.raise_if_broken()
        if hasattr(select, "poll"):
            # On such systems select() takes no descriptor beyond 1023.
            poller = select.poll()
            poller.register(self._socket, select.POLLIN if reading else select.POLLOUT)
            return bool(poller.poll(1000 * timeout))
        here = [self._socket]
        readable, writable, _ = select.select(
            here if reading else [], [] if reading else here, [], timeout
        )
        return bool(readable or writable)


def _memory(size: int) -> memoryview:
    """Return memory that may be written to. A large piece comes from the system as it is.

    A ``bytearray`` would be filled with zeros first, which for a photograph takes as long as
    receiving it. In large pages, where the system has them, touching it for the first time costs a
    fraction.
    """
    if size < _LARGE:
        return memoryview(bytearray(size))
    private = (
        {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    )
    memory = mmap.mmap(-1, size, **private)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a system without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)


def open_socket(endpoint: str, timeout: float) -> socket.socket:
    """Connect to ``ipc://PATH`` or ``tcp://HOST:PORT`` within ``timeout`` seconds.

    Raises:
        OSError: if nothing listens there; TimeoutError if it does not answer in time.
        ClientError: for another kind of endpoint, or one that this Python has not.
    """
    scheme, _, address = endpoint.partition("://")
    try:
        if scheme == "ipc":
            return _open_file(Path(address), timeout)
        if scheme == "tcp":
            host, _, port = address.rpartition(":")
            sock = socket.create_connection((host.strip("[]"), int(port)), timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    except (ValueError, OverflowError) as error:  # no port, or one beyond 65535; a zero in a path
        raise ClientError(
            f"The endpoint {endpoint!r} cannot be used: {error}.", "Restart the daemon."
        ) from error
    raise ClientError(f"The endpoint {endpoint!r} is of an unknown kind.")


def _open_file(path: Path, timeout: float) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise ClientError("This Python cannot use the daemon's socket file.")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    deadline = time.monotonic() + timeout
    while True:
        try:
            sock.connect(str(path))
            return sock
        except BlockingIOError:  # many others are connecting: the line is full for now
            if time.monotonic() > deadline:
                sock.close()
                raise TimeoutError from None
            time.sleep(0.01)
        except BaseException:
            sock.close()
            raise
