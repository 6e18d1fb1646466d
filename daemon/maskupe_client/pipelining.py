"""Sending and receiving in one thread while another makes the bytes or uses them.

GIMP's library belongs to one thread and hands pixels over slowly. While that thread reads the next
piece from GIMP, another one sends the last; while it writes one to GIMP, another receives the next.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from maskupe_client.stream import POLL_INTERVAL, Buffer, Stream, Wait

#: How many pieces are under way at most, so that memory does not grow with the plane.
_AHEAD = 3

_T = TypeVar("_T")


def send_overlapped(stream: Stream, pieces: Iterable[Buffer], wait: Wait | None = None) -> int:
    """Send pieces while the calling thread makes the next ones; return how many bytes it sent.

    Args:
        stream: where to. After an exception it is of no more use.
        pieces: bytes-like objects.
        wait: called about every :data:`.stream.POLL_INTERVAL` seconds, in the calling thread.

    Raises:
        ConnectionLostError, NotAnsweringError: like :meth:`.Stream.write`. What ``pieces`` and
            ``wait`` raise comes out too.
    """
    made: queue.Queue[Buffer | None] = queue.Queue(_AHEAD)
    sent = 0

    def send() -> None:
        while (piece := _until(made.get, stream.raise_if_broken)) is not None:
            stream.write(piece)

    with _overlapped(stream, send, wait) as check:
        for piece in itertools.chain(pieces, (None,)):
            sent += 0 if piece is None else memoryview(piece).nbytes
            _until(partial(made.put, piece), check)
            check()
    return sent


def receive_overlapped(
    stream: Stream,
    sizes: Sequence[int],
    take: Callable[[memoryview], None],
    wait: Wait | None = None,
) -> None:
    """Receive pieces while the calling thread takes the last ones.

    Args:
        stream: where from. After an exception it is of no more use.
        sizes: how many bytes each piece has.
        take: called with each piece, which may be written to and is gone when it returns.
        wait: called about every :data:`.stream.POLL_INTERVAL` seconds, in the calling thread.

    Raises:
        ConnectionLostError, NotAnsweringError: like :meth:`.Stream.read_into`. What ``take`` and
            ``wait`` raise comes out too.
    """
    free: queue.Queue[memoryview] = queue.Queue()
    full: queue.Queue[tuple[memoryview, int]] = queue.Queue()
    for _ in range(min(_AHEAD, len(sizes))):
        free.put(memoryview(bytearray(max(sizes))))

    def receive() -> None:
        for size in sizes:
            room = _until(free.get, stream.raise_if_broken)
            stream.read_into(room[:size])
            full.put((room, size))

    with _overlapped(stream, receive, wait) as check:
        for _ in sizes:
            room, size = _until(full.get, check)
            take(room[:size])
            free.put(room)
            check()


def _until(action: Callable[..., _T], meanwhile: Callable[[], None]) -> _T:
    """Put into a queue or gets from it, as soon as it can be done or ``meanwhile`` raises."""
    while True:
        try:
            return action(timeout=POLL_INTERVAL)
        except (queue.Empty, queue.Full):
            meanwhile()


@contextmanager
def _overlapped(
    stream: Stream, work: Callable[[], None], wait: Wait | None
) -> Iterator[Callable[[], None]]:
    """Run ``work`` in a thread; what it gives calls ``wait`` in time and raises what ``work`` met.

    Whatever happens, the thread has ended afterwards.
    """
    errors: list[BaseException] = []
    called = time.monotonic()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    def check() -> None:
        nonlocal called
        if errors:
            raise errors[0]
        if wait and time.monotonic() - called >= POLL_INTERVAL:
            wait()
            called = time.monotonic()

    thread = threading.Thread(target=run, name="pipelining", daemon=True)
    thread.start()
    try:
        yield check
        while thread.is_alive():
            thread.join(POLL_INTERVAL)
            check()
        check()
    except BaseException:
        # The thread looks at this between two steps, and only when it has ended the socket may go.
        stream.broken = True
        raise
    finally:
        thread.join()
