"""Runs a job strip by strip, on several threads, and can be stopped between strips."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Pixels of one strip of rows: some milliseconds of work, so that stopping is prompt; few enough
#: for the cache, and enough for threads not to queue up at Python's lock.
STRIP_PIXELS = 1 << 17

#: Renders the rows from the first number to the second (exclusive).
StripFunction = Callable[[int, int], None]

# The most threads that this process may use; see `limit_threads`.
_most: int | None = None
# Of whoever works in this thread; see `cancellable`.
_check: ContextVar[Callable[[], None] | None] = ContextVar("check", default=None)


@contextmanager
def cancellable(check: Callable[[], None]) -> Iterator[None]:
    """Meanwhile ``check`` is called after every strip that this thread has had done.

    What it raises ends the work, however deep in the stages: none of these needs to know.
    """
    before = _check.set(check)
    try:
        yield
    finally:
        _check.reset(before)


def limit_threads(count: int) -> None:
    """Keep this process to so many threads from now on, where nobody names a number."""
    global _most
    _most = count


def machine_threads() -> int:
    """Return how many threads this process may use: its CPU affinity where the system tells it."""
    if _most is not None:
        return _most
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def rows_of(pixels: int, width: int) -> int:
    """Return how many rows of ``width`` pixels make about so many pixels: at least one."""
    return max(1, pixels // width)


def parallel_rows(
    strip: StripFunction,
    height: int,
    rows: int,
    threads: int,
    progress: Callable[[float], None] | None,
) -> None:
    """Call ``strip`` for all rows, ``rows`` at a time, on up to ``threads`` threads.

    The caller's thread works as well, so that a small job costs no waiting for others. In it
    ``progress`` is called with the finished share, 0…1, whenever it has done a strip, and with 1
    at the end. If that, a strip or the check of :func:`cancellable` raises, no further strip
    starts, the running ones end, and the exception goes to the caller.
    """
    check = _check.get()

    def after(share: float) -> None:
        if check is not None:
            check()
        if progress is not None and share < 1.0:
            progress(share)

    queue = _Queue(height, rows)
    helpers = [
        threading.Thread(target=queue.help, args=(strip,), name="maskupe-strips", daemon=True)
        for _ in range(min(threads, queue.count) - 1)
    ]
    for helper in helpers:
        helper.start()
    try:
        queue.work(strip, after)
    finally:
        queue.stop()
        for helper in helpers:
            helper.join()
    if queue.failure is not None:
        raise queue.failure
    if progress is not None:
        progress(1.0)


class _Queue:
    """Strips that are still to be done, for several threads to take from."""

    def __init__(self, height: int, rows: int) -> None:
        self.count = -(-height // rows)
        #: What a strip raised in another thread than the caller's.
        self.failure: BaseException | None = None
        self._bounds = iter([(y, min(y + rows, height)) for y in range(0, height, rows)])
        self._done = 0
        self._stopped = False
        self._lock = threading.Lock()

    def stop(self) -> None:
        """No further strip is handed out."""
        self._stopped = True

    def work(self, strip: StripFunction, after: Callable[[float], None] | None) -> None:
        """Do strips until there are none left; ``after`` each it is told the finished share."""
        while True:
            with self._lock:
                bounds = None if self._stopped else next(self._bounds, None)
            if bounds is None:
                return
            strip(*bounds)
            with self._lock:
                self._done += 1
                share = self._done / self.count
            if after is not None:
                after(share)

    def help(self, strip: StripFunction) -> None:
        """Do the same in a thread of its own, where nobody would see what is raised."""
        try:
            self.work(strip, None)
        except BaseException as error:
            self.failure = error
            self.stop()
