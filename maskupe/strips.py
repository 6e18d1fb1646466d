"""Runs a job strip by strip, on several threads, and can be stopped between strips."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed

#: Renders the rows from the first number to the second (exclusive).
StripFunction = Callable[[int, int], None]


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
    If it or a strip raises, no further strip starts, the running ones end, and the exception
    goes to the caller.
    """
    bounds = [(first, min(first + rows, height)) for first in range(0, height, rows)]
    threads = min(threads, len(bounds))
    if threads <= 1:
        for done, (first, last) in enumerate(bounds, 1):
            strip(first, last)
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
                if progress is not None:
                    progress(done / len(bounds))
        finally:
            stopped.set()
