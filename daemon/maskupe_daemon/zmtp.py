"""A ZeroMQ DEALER in the standard library: ZMTP 3.0 with NULL or PLAIN over one stream socket.

Written from the ZMTP 3.0 specification (RFC 23) and RFC 24 (PLAIN), plus the PING and PONG of
RFC 37, because libzmq sends heartbeats to every peer. It exists because GIMP's Python has no
pyzmq. Messages are sent and received without joining their parts, and every wait is cut into
short slices, so that a user interface can be kept alive.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from .failures import ClientError, ConnectionLostError, NotAnsweringError, RefusedError

#: How often a wait returns to its caller, in seconds.
SLICE = 0.05
#: Bytes handed to the socket at once: one slice must not outlast the patience of a user.
_CHUNK = 1 << 20
_MORE, _LONG, _COMMAND = 1, 2, 4
_SMALL_FRAME = 64 * 1024

Buffer = Any
Wait = Callable[[], None]


class Bands:
    """A frame whose bytes are made piece by piece while they are sent.

    ``pieces`` is called for every attempt to send and gives bytes-like objects that have
    ``nbytes`` bytes together.
    """

    def __init__(self, nbytes: int, pieces: Callable[[], Iterable[Buffer]]) -> None:
        self.nbytes = nbytes
        self.pieces = pieces


def frame_size(part: Buffer | Bands) -> int:
    """How many bytes a part of a message has."""
    return part.nbytes if isinstance(part, Bands) else memoryview(part).nbytes


class Channel:
    """One connection to a ROUTER.

    ``silence`` is how long, in seconds, the peer may neither send nor accept a byte while
    something is expected of it.
    """

    def __init__(self, sock: socket.socket, silence: float) -> None:
        self._socket = sock
        self._socket.setblocking(False)
        self.silence = silence
        self._broken = False

    @classmethod
    def connect(cls, endpoint: str, token: str, timeout: float, silence: float) -> Channel:
        """Connects and shakes hands: with PLAIN if there is a token, else with NULL.

        Raises:
            OSError: if nothing listens there.
            ConnectionLostError: if the peer closes the connection, as one that is ending does.
            RefusedError: if the peer turns the client away or is not a ROUTER.
            NotAnsweringError: if the handshake takes longer than ``timeout`` seconds.
        """
        channel = cls(_open(endpoint, timeout), timeout)
        try:
            channel._shake_hands(token)
        except BaseException:
            channel.close()
            raise
        channel.silence = silence
        return channel

    @property
    def broken(self) -> bool:
        """Whether nothing more can be sent or received."""
        return self._broken

    def close(self) -> None:
        """Closes the connection; harmless when repeated."""
        self._broken = True
        self._socket.close()

    def send(self, parts: list[Buffer | Bands], wait: Wait | None = None) -> None:
        """Sends one message; ``wait`` is called every :data:`SLICE` seconds.

        An exception in the middle, also one that ``wait`` or a :class:`Bands` raises, breaks the
        channel, because the peer could not tell where the next message begins.

        Raises:
            ConnectionLostError: if the peer is gone.
            NotAnsweringError: if it accepts nothing for ``silence`` seconds.
        """
        try:
            for number, part in enumerate(parts):
                flags = _MORE if number < len(parts) - 1 else 0
                self._write(_head(flags, frame_size(part)), wait)
                sent = 0
                for piece in part.pieces() if isinstance(part, Bands) else (part,):
                    sent += self._write(piece, wait)
                if sent != frame_size(part):
                    raise ValueError(f"a plane of {frame_size(part)} bytes gave {sent} bytes")
        except BaseException:
            self.close()
            raise

    def receive(
        self, wait: Wait | None = None, timeout: float | None = None, largest: int = 1 << 40
    ) -> list[memoryview] | None:
        """The next message, or None if none has begun after ``timeout`` seconds.

        An exception from ``wait`` between two messages leaves the channel usable.

        Raises:
            ConnectionLostError: if the peer is gone.
            NotAnsweringError: if nothing comes for ``silence`` seconds.
            RefusedError: if a message is larger than ``largest`` bytes in all.
        """
        parts: list[memoryview] = []
        while True:
            if not parts and not self._await_byte(wait, timeout):
                return None
            try:
                flags, body = self._read_frame(wait, largest)
                largest -= len(body)
                if flags & _COMMAND:
                    self._answer(body)
                    continue
            except BaseException:
                self.close()
                raise
            parts.append(body)
            if not flags & _MORE:
                return parts

    def _await_byte(self, wait: Wait | None, timeout: float | None) -> bool:
        began = time.monotonic()
        while not self._ready(True, SLICE if wait else 0.5, timeout, began):
            if wait:
                wait()
            waited = time.monotonic() - began
            if timeout is not None and waited >= timeout:
                return False
            if waited >= self.silence:
                self.close()
                raise NotAnsweringError(waited)
        return True

    def _ready(
        self, reading: bool, patience: float, timeout: float | None = None, began: float = 0.0
    ) -> bool:
        if self._broken:
            raise ConnectionLostError
        if timeout is not None:
            patience = max(0.0, min(patience, began + timeout - time.monotonic()))
        here = [self._socket]
        readable, writable, _ = select.select(
            here if reading else [], [] if reading else here, [], patience
        )
        return bool(readable or writable)

    def _retry(self, reading: bool, action: Callable[[], int], wait: Wait | None) -> int:
        """Repeats ``action`` until it moves a byte."""
        began = time.monotonic()
        while True:
            try:
                moved = action()
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
            self._ready(reading, SLICE)
            if wait:
                wait()
            if time.monotonic() - began >= self.silence:
                self.close()
                raise NotAnsweringError(self.silence)

    def _write(self, data: Buffer, wait: Wait | None) -> int:
        view = memoryview(data).cast("B") if memoryview(data).nbytes else memoryview(b"")
        done, called = 0, time.monotonic()
        while done < len(view):
            piece = view[done : done + _CHUNK]
            done += self._retry(False, lambda piece=piece: self._socket.send(piece), wait)  # type: ignore[misc]
            if wait and time.monotonic() - called >= SLICE:
                wait()
                called = time.monotonic()
        return done

    def _read(self, size: int, wait: Wait | None) -> memoryview:
        data = bytearray(size)
        view = memoryview(data)
        done, called = 0, time.monotonic()
        while done < size:
            piece = view[done : done + _CHUNK]
            done += self._retry(True, lambda piece=piece: self._socket.recv_into(piece), wait)  # type: ignore[misc]
            if wait and time.monotonic() - called >= SLICE:
                wait()
                called = time.monotonic()
        return view

    def _read_frame(self, wait: Wait | None, largest: int) -> tuple[int, memoryview]:
        flags = self._read(1, wait)[0]
        if flags & _LONG:
            (size,) = struct.unpack(">Q", self._read(8, wait))
        else:
            size = self._read(1, wait)[0]
        if flags & ~7 or size > (_SMALL_FRAME if flags & _COMMAND else largest):
            raise RefusedError(
                "What listens in the daemon's place sent an impossible frame.",
                "Restart the daemon.",
            )
        return flags, self._read(size, wait)

    def _shake_hands(self, token: str) -> None:
        mechanism = b"PLAIN" if token else b"NULL"
        greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + mechanism.ljust(20, b"\0") + bytes(32)
        self._write(greeting, None)
        theirs = bytes(self._read(64, None))
        if theirs[0] != 0xFF or theirs[9] & 1 == 0 or theirs[10] < 3:
            raise RefusedError("What listens in the daemon's place is not ZeroMQ.")
        if theirs[12:32].rstrip(b"\0") != mechanism:
            raise RefusedError("The daemon asks for another way of logging in.")
        metadata = _property(b"Socket-Type", b"DEALER") + _property(b"Identity", b"")
        if token:
            password = token.encode()
            self._command(b"HELLO", bytes([7]) + b"maskupe" + bytes([len(password)]) + password)
            self._expect(b"WELCOME")
            self._command(b"INITIATE", metadata)
        else:
            self._command(b"READY", metadata)
        ready = dict(_properties(self._expect(b"READY")))
        if ready.get(b"socket-type") != b"ROUTER":
            raise RefusedError("What listens in the daemon's place is not a MaskUPE daemon.")

    def _command(self, name: bytes, body: bytes) -> None:
        data = bytes([len(name)]) + name + body
        self._write(_head(_COMMAND, len(data)) + data, None)

    def _expect(self, name: bytes) -> bytes:
        flags, body = self._read_frame(None, 0)
        got, rest = _split(bytes(body))
        # libzmq up to 4.3.5 garbles PLAIN's "\\5ERROR" into "^RROR" (an escape gone wrong).
        if flags & _COMMAND and (got == b"ERROR" or bytes(body[:5]) == b"^RROR"):
            raise RefusedError(
                "The MaskUPE daemon refused this program: the token is wrong.",
                "Restart the daemon.",
            )
        if not flags & _COMMAND or got != name:
            raise RefusedError("What listens in the daemon's place broke the handshake.")
        return rest

    def _answer(self, command: memoryview) -> None:
        name, body = _split(bytes(command))
        if name == b"PING":  # two bytes of time to live, then up to 16 to be sent back
            self._command(b"PONG", body[2:18])


def _open(endpoint: str, timeout: float) -> socket.socket:
    scheme, _, address = endpoint.partition("://")
    if scheme == "ipc":
        if not hasattr(socket, "AF_UNIX"):
            raise ClientError("This Python cannot use the daemon's socket file.")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        deadline = time.monotonic() + timeout
        while True:
            try:
                sock.connect(str(Path(address)))
                return sock
            except BlockingIOError:  # many others are connecting: the line is full for now
                if time.monotonic() > deadline:
                    sock.close()
                    raise TimeoutError from None
                time.sleep(0.01)
            except BaseException:
                sock.close()
                raise
    if scheme == "tcp":
        host, _, port = address.rpartition(":")
        sock = socket.create_connection((host.strip("[]"), int(port)), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    raise ClientError(f"The endpoint {endpoint!r} is of an unknown kind.")


def _head(flags: int, size: int) -> bytes:
    if size > 255:
        return struct.pack(">BQ", flags | _LONG, size)
    return bytes([flags, size])


def _split(command: bytes) -> tuple[bytes, bytes]:
    end = 1 + command[0] if command else 0
    return command[1:end], command[end:]


def _property(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + struct.pack(">I", len(value)) + value


def _properties(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    while data:
        name, data = _split(data)
        if len(data) < 4:
            return
        (size,) = struct.unpack(">I", data[:4])
        yield name.lower(), data[4 : 4 + size]
        data = data[4 + size :]
