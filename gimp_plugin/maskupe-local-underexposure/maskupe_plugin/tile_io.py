"""A thread that passes pixels between GIMP and the plug-in, and does nothing else.

GIMP passes one tile of 128 by 128 pixels at a time, and whoever asked sleeps until it has answered.
So the asking is done here, without a pause, while the main thread hands over, scales or receives
what comes next. libgimp lets another thread pass tiles, as GEGL's own do; but all else of GIMP
goes through the same pipe without a lock. Whoever calls it calls :func:`wait_idle` before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

#: Pieces of work under way at most, so that memory does not grow with the layer.
AHEAD = 4

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_thread = ThreadPoolExecutor(1, "lane")
_under_way: set[Future[Any]] = set()


def start(work: Callable[..., _Result], *arguments: Any) -> Future[_Result]:
    """Have the thread do something with a buffer."""
    future = _thread.submit(work, *arguments)
    _under_way.add(future)
    future.add_done_callback(_under_way.discard)
    return future


def wait_idle() -> None:
    """Wait until the thread is idle. What went wrong is told by the futures."""
    wait(set(_under_way))


def in_order(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Yield what comes out for each item, in their order."""
    started: deque[Future[_Result]] = deque()
    try:
        for item in items:
            if len(started) == AHEAD:
                yield started.popleft().result()
            started.append(start(work, item))
        while started:
            yield started.popleft().result()
    finally:
        wait_idle()
