"""A ZeroMQ DEALER in the standard library: ZMTP 3.0 with NULL or PLAIN over one stream socket.

Written from the ZMTP 3.0 specification (RFC 23) and RFC 24 (PLAIN), plus the PING and PONG of
RFC 37, because libzmq sends heartbeats to every peer. It exists because GIMP's Python has no
pyzmq. Messages are sent and received without joining their parts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from maskupe_client.errors import RefusedError
from maskupe_client.pipelining import receive_overlapped, send_overlapped
from maskupe_client.stream import Buffer, Stream, Wait, open_socket

_MORE, _LONG, _COMMAND = 1, 2, 4
_SMALL_FRAME = 64 * 1024


class ChunkedFrame:
    """A frame whose bytes are made piece by piece while they are sent.

    ``pieces`` is called for every attempt to send and gives bytes-like objects that have
    ``nbytes`` bytes together.
    """

    def __init__(self, nbytes: int, pieces: Callable[[], Iterable[Buffer]]) -> None:
        self.nbytes = nbytes
        self.pieces = pieces


class FrameSink(Protocol):
    """Takes a frame piece by piece while it arrives; it is kept nowhere else."""

    def begin(self) -> Sequence[int]:
        """Return how many bytes each piece shall have; asked for every attempt to receive."""

    def take(self, piece: memoryview) -> None:
        """Get the next piece, which may be used until this returns."""


def feed(sink: FrameSink, frame: memoryview) -> None:
    """Let a sink take a frame that is there already."""
    at = 0
    for size in sink.begin():
        sink.take(frame[at : at + size])
        at += size


class Consumed:
    """Stands in a message for a frame that a :class:`FrameSink` took."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size


#: Asked when a frame begins: the frames before it, and how many bytes it has.
Taking = Callable[[list[Any], int], "FrameSink | None"]


def frame_size(part: Buffer | ChunkedFrame) -> int:
    """Return how many bytes a part of a message has."""
    return part.nbytes if isinstance(part, ChunkedFrame) else memoryview(part).nbytes


class ZmtpTransport:
    """One connection to a ROUTER: messages over a stream that has shaken hands."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    @classmethod
    def connect(cls, endpoint: str, token: str, timeout: float, silence: float) -> ZmtpTransport:
        """Connect and shakes hands: with PLAIN if there is a token, else with NULL.

        Raises:
            OSError: if nothing listens there.
            ConnectionLostError: if the peer closes the connection, as one that is ending does.
            RefusedError: if the peer turns the client away or is not a ROUTER.
            NotAnsweringError: if the handshake takes longer than ``timeout`` seconds.
        """
        channel = cls(Stream(open_socket(endpoint, timeout), timeout))
        try:
            channel._shake_hands(token)
        except BaseException:
            channel.close()
            raise
        channel.stream.silence = silence
        return channel

    @property
    def broken(self) -> bool:
        """Whether nothing more can be sent or received."""
        return self.stream.broken

    def close(self) -> None:
        """Close the connection; harmless when repeated."""
        self.stream.close()

    def send(self, parts: list[Buffer | ChunkedFrame], wait: Wait | None = None) -> None:
        """Send one message; ``wait`` is called every :data:`.stream.POLL_INTERVAL` seconds.

        An exception in the middle, also one that ``wait`` or a :class:`ChunkedFrame` raises, breaks
        the channel, because the peer could not tell where the next message begins.

        Raises:
            ConnectionLostError: if the peer is gone.
            NotAnsweringError: if it accepts nothing for as long as the stream's ``silence``.
        """
        try:
            for number, part in enumerate(parts):
                flags = _MORE if number < len(parts) - 1 else 0
                self.stream.write(_head(flags, frame_size(part)), wait)
                if isinstance(part, ChunkedFrame):
                    sent = send_overlapped(self.stream, part.pieces(), wait)
                else:
                    sent = self.stream.write(part, wait)
                if sent != frame_size(part):
                    raise ValueError(f"a plane of {frame_size(part)} bytes gave {sent} bytes")
        except BaseException:
            self.close()
            raise

    def receive(
        self,
        wait: Wait | None = None,
        timeout: float | None = None,
        largest: int = 1 << 40,
        taking: Taking | None = None,
    ) -> list[Any] | None:
        """Return the next message, or None if none has begun after ``timeout`` seconds.

        Its frames are memoryviews, or :class:`Consumed` where ``taking`` found somebody for them.
        An exception from ``wait`` between two messages leaves the channel usable.

        Raises:
            ConnectionLostError: if the peer is gone.
            NotAnsweringError: if nothing comes for as long as the stream's ``silence``.
            RefusedError: if a message is larger than ``largest`` bytes in all.
        """
        parts: list[Any] = []
        while True:
            if not parts and not self.stream.await_byte(wait, timeout):
                return None
            try:
                flags, size = self._read_head(wait, largest)
                largest -= size
                if flags & _COMMAND:
                    self._answer(self.stream.read(size, wait))
                    continue
                sink = taking(parts, size) if taking and parts else None
                parts.append(self._read_body(size, sink, wait))
            except BaseException:
                self.close()
                raise
            if not flags & _MORE:
                return parts

    def _read_head(self, wait: Wait | None, largest: int) -> tuple[int, int]:
        """Return a frame's flags and how many bytes follow."""
        flags = self.stream.read(1, wait)[0]
        if flags & _LONG:
            (size,) = struct.unpack(">Q", self.stream.read(8, wait))
        else:
            size = self.stream.read(1, wait)[0]
        if flags & ~7 or size > (_SMALL_FRAME if flags & _COMMAND else largest):
            raise RefusedError(
                "What listens in the daemon's place sent an impossible frame.",
                "Restart the daemon.",
            )
        return flags, size

    def _read_body(
        self, size: int, sink: FrameSink | None, wait: Wait | None
    ) -> memoryview | Consumed:
        if sink is None:
            return self.stream.read(size, wait)
        sizes = sink.begin()
        if sum(sizes) != size:
            raise RefusedError("The daemon's answer is of another size than what was asked for.")
        receive_overlapped(self.stream, sizes, sink.take, wait)
        return Consumed(size)

    def _shake_hands(self, token: str) -> None:
        mechanism = b"PLAIN" if token else b"NULL"
        greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + mechanism.ljust(20, b"\0") + bytes(32)
        self.stream.write(greeting)
        theirs = bytes(self.stream.read(64))
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
        self.stream.write(_head(_COMMAND, len(data)) + data)

    def _expect(self, name: bytes) -> bytes:
        flags, size = self._read_head(None, 0)
        body = self.stream.read(size)
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
