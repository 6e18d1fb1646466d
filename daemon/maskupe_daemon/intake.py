"""What libzmq must not decide: which bytes of a connection's reach its ROUTER, and how many.

libzmq hands a message over only when all of it is there, so the frames of one message, however
many, fill its memory unseen; it lets a client choose the routing id that it will give out next,
and ends the process over that; and it ends the process when no descriptor is left. None of this
can be set. So clients connect to sockets of our own. A :class:`Filter` reads the frames of a
client while they arrive, and a :class:`Proxy` passes on to libzmq what it lets through.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable

from maskupe_client.framing import MAX_HEADER, MAX_PLANES

_MORE, _LONG, _COMMAND = 1, 2, 4
#: A handshake's commands and heartbeats are far smaller.
_MAX_COMMAND = 4096
#: Frames beyond those that a message may have that are read over before the client is cut off:
#: who made a mistake keeps the connection on which the mistake is answered.
_MOST_DROPPED = 1000
#: The parts of a greeting as libzmq's own clients send them, each after an answer to the last.
_SIGNATURE, _MAJOR, _REST = 10, 1, 53


class ForeignError(Exception):
    """What a client sends is not ZMTP 3, or a flood."""


class Filter:
    """Reads what one client sends, while it arrives, and says what of it the ROUTER gets.

    A message with a frame too many, or with more bytes than a message may have, is cut off at
    that frame: the ROUTER gets it with an empty last frame, so that the server can answer it.

    Args:
        max_frame: bytes of one frame at most; a larger one ends the connection.
        max_total: bytes of one message at most.
        may_arrive: asked before a frame of so many bytes behind a header is let in; ``False`` stops
            the reading until :meth:`feed` is called again.
    """

    def __init__(self, max_frame: int, max_total: int, may_arrive: Callable[[int], bool]) -> None:
        self._max_frame = max_frame
        self._max_total = max_total
        self._may_arrive = may_arrive
        self._look: Callable[[], bytes] = self._signature
        self._held = bytearray()
        self._needed = _SIGNATURE
        # The rest of the frame that is being passed on, or read over.
        self._body = 0
        self._dropping = False
        self._more = False
        # Frames and bytes of the message under way; the latter as its frames announce them.
        self._frames = self._bytes = self._dropped = 0
        #: Bytes of the message under way without those of a header.
        self.arriving = 0
        #: Whether the client has shaken hands.
        self.greeted = False
        #: Whether :meth:`feed` waits for ``may_arrive``.
        self.waiting = False

    def feed(self, data: memoryview) -> tuple[list[bytes | memoryview], int]:
        """Return what is to be passed on, and how many bytes of ``data`` were read.

        Fewer bytes than there are were read if ``may_arrive`` refused a frame (:attr:`waiting`).

        Raises:
            ForeignError: if the connection is to be closed.
        """
        passed: list[bytes | memoryview] = []
        at, self.waiting = 0, False
        while True:
            if self._body:
                piece = data[at : at + self._body]
                at += len(piece)
                self._body -= len(piece)
                if not self._dropping and len(piece):
                    passed.append(piece)
                if self._body:
                    return passed, at
                self._end_frame()
            missing = self._needed - len(self._held)
            self._held += data[at : at + missing]
            at += min(missing, len(data) - at)
            if len(self._held) < self._needed:
                return passed, at
            emitted = self._look()
            if self.waiting:
                return passed, at
            if emitted:
                passed.append(emitted)

    def _signature(self) -> bytes:
        if self._held[0] != 0xFF or not self._held[9] & 1:
            raise ForeignError("no ZMTP")
        return self._next(self._major, _MAJOR)

    def _major(self) -> bytes:
        if self._held[0] < 3:
            raise ForeignError("an old ZMTP")
        return self._next(self._greeted, _REST)

    def _greeted(self) -> bytes:
        return self._next(self._head, 2)

    def _next(self, look: Callable[[], bytes], needed: int) -> bytes:
        """Wait for the next part; return what was held."""
        held = bytes(self._held)
        self._held.clear()
        self._look, self._needed = look, needed
        return held

    def _head(self) -> bytes:
        """Return a frame's flags and length."""
        flags = self._held[0]
        if flags & ~7:
            raise ForeignError("an impossible frame")
        if flags & _LONG and self._needed == 2:
            self._needed = 9
            return b""
        size = struct.unpack(">Q", self._held[1:])[0] if flags & _LONG else self._held[1]
        if flags & _COMMAND:
            if not 0 < size <= _MAX_COMMAND:
                raise ForeignError("an impossible command")
            self._needed = len(self._held) + size
            self._look = self._command
            return b""
        return self._frame(size, bool(flags & _MORE))

    def _frame(self, size: int, more: bool) -> bytes:
        if size > self._max_frame:
            raise ForeignError("a frame that is too large")
        if self._dropping:
            self._dropped += 1
            if self._dropped > _MOST_DROPPED:
                raise ForeignError("a flood of frames")
            self._begin_frame(size, more)
            return b""
        full = self._frames > MAX_PLANES or self._bytes + size > self._max_total + MAX_HEADER
        is_header = self._frames == 0 and size <= MAX_HEADER
        if not full and not is_header and not self._may_arrive(size):
            self.waiting = True
            return b""
        self._frames += 1
        if full:
            self._dropping = True
            self._begin_frame(size, more)
            return b"\0\0"
        self._bytes += size
        self.arriving += 0 if is_header else size
        return self._begin_frame(size, more)

    @property
    def begun(self) -> bool:
        """Whether a message is under way."""
        return self._frames > 0

    def _begin_frame(self, size: int, more: bool) -> bytes:
        self._body, self._more = size, more
        head = self._next(self._head, 2)
        if not size:
            self._end_frame()
        return head

    def _end_frame(self) -> None:
        if not self._more:
            self._frames = self._bytes = self._dropped = self.arriving = 0
            self._dropping = False

    def _command(self) -> bytes:
        """Return a command that is there as a whole."""
        long = self._held[0] & _LONG
        body = bytes(self._held[9 if long else 2 :])
        name = body[1 : 1 + body[0]]
        held = self._next(self._head, 2)
        if name not in (b"READY", b"INITIATE"):
            return held
        self.greeted = True
        body = body[: 1 + body[0]] + _with_own_id(body[1 + body[0] :])
        return struct.pack(">BQ", _COMMAND | _LONG, len(body)) + body


def _with_own_id(properties: bytes) -> bytes:
    """A handshake's properties with a routing id that nobody can foresee, in place of any other."""
    kept, at = [], 0
    while at < len(properties):
        name_end = at + 1 + properties[at]
        size = properties[name_end : name_end + 4]
        if len(size) < 4:
            raise ForeignError("an impossible handshake")
        end = name_end + 4 + struct.unpack(">I", size)[0]
        if end > len(properties):
            raise ForeignError("an impossible handshake")
        if properties[at + 1 : name_end].lower() != b"identity":
            kept.append(properties[at:end])
        at = end
    # Ids that begin with zero are libzmq's.
    identity = b"c" + secrets.token_bytes(15)
    kept.append(b"\x08Identity" + struct.pack(">I", len(identity)) + identity)
    return b"".join(kept)
