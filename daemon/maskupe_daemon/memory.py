"""How much memory we hold, and giving it back; how much there is says :mod:`maskupe.memory`."""

from __future__ import annotations

import ctypes
import functools
import gc
import queue
import sys
import threading
from typing import Any

import psutil

from maskupe.memory import address_limit, free_bytes, total_bytes

__all__ = ["free_bytes", "total_bytes"]

# From malloc.h.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE_BLOCK = 1 << 20


def resident_bytes() -> int:
    """Return memory of this process that is in RAM."""
    size: int = _this_process().memory_info().rss
    return size


@functools.cache
def _this_process() -> psutil.Process:
    """Kept, because making one reads several files, and a job asks after every strip."""
    return psutil.Process()


def configure_malloc() -> None:
    """Have large blocks go straight back to the system when they are freed.

    glibc raises the size from which it does so, up to 32 MB, as it sees large blocks come and go.
    Planes of that size then stay in its heaps, also those of clients that were gone before their
    message was complete, of which only libzmq knows.

    Where address space is limited it also takes no 64 MB of it for each of so many threads.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)
        if address_limit() is not None:
            mallopt(_M_ARENA_MAX, 2)


def free_in_background(planes: list[Any]) -> None:
    """Empty a list of large objects in another thread.

    Giving a received plane of 1.6 GB back to the system takes 60 ms, which neither the next message
    nor a finished job's answer should wait for.
    """
    _discarded().put(planes[:])
    planes.clear()


@functools.cache
def _discarded() -> queue.SimpleQueue[list[Any]]:
    """Return what is thrown away in a thread of its own as soon as it is put in."""
    waiting: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()

    def throw_away() -> None:
        while True:
            waiting.get()

    threading.Thread(target=throw_away, name="maskupe-discard", daemon=True).start()
    return waiting


def freeze_gc() -> None:
    """Have the garbage collector leave alone what is there now: modules, which stay.

    There are so many objects in them that looking through them all stops every thread for 60 ms.
    """
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Collect garbage and return the allocator's free pages to the system."""
    staging = sys.modules.get("maskupe.rendering.staging")
    if staging is not None:
        staging.release()
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # glibc has it, musl does not
            trim(0)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
