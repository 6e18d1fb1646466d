"""Runs a job strip by strip, on several threads, and can be stopped between strips."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from contextvars import ContextVar

#: Renders the rows from the first number to the second (exclusive).
StripFunction = Callable[[int, int], None]

# Of whoever works in this thread; see `stoppable`.
_check: ContextVar[Callable[[], None] | None] = ContextVar("check", default=None)


@contextmanager
def stoppable(check: Callable[[], None]) -> Iterator[None]:
    """Meanwhile ``check`` is called after every strip that this thread has had done.

    What it raises ends the work, however deep in the stages: none of these needs to know.
    """
    before = _check.set(check)
    try:
        yield
    finally:
        _check.reset(before)


def machine_threads() -> int:
    """How many threads this process may use: its CPU affinity where the system tells it."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def run_strips(
    strip: StripFunction,
    height: int,
    rows: int,
    threads: int,
    progress: Callable[[float], None] | None,
) -> None:
    """Calls ``strip`` for all rows, ``rows`` at a time, on up to ``threads`` threads.

    ``progress`` is called in the caller's thread after each strip with the finished share, 0…1.
    If it, a strip or the check of :func:`stoppable` raises, no further strip starts, the running
    ones end, and the exception goes to the caller.
    """
    check = _check.get()
    bounds = [(first, min(first + rows, height)) for first in range(0, height, rows)]
    threads = min(threads, len(bounds))
    if threads <= 1:
        for done, (first, last) in enumerate(bounds, 1):
            strip(first, last)
            if check is not None:
                check()
            if progress is not None:
                progress(done / len(bounds))
        return
    stopped = threading.Event()

    def guarded(first: int, last: int) -> None:
        if not stopped.is_set():
            strip(first, last)

    with ThreadPoolExecutor(threads, thread_name_prefix="maskupe-render") as pool:
        futures = [pool.submit(guarded, first, last) for first, last in bounds]
        try:
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                if check is not None:
                    check()
                if progress is not None:
                    progress(done / len(bounds))
        finally:
            stopped.set()
