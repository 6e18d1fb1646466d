"""How much memory there is, how much we hold, and giving it back."""

from __future__ import annotations

import ctypes
import functools
import gc
import queue
import sys
import threading
from pathlib import Path
from typing import Any

import psutil

from maskupe import addressspace

_CGROUP = Path("/sys/fs/cgroup")
_OUR_CGROUP = Path("/proc/self/cgroup")
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


def total_bytes() -> int:
    """Return RAM of the machine, or of the control group this process is confined to."""
    total: int = psutil.virtual_memory().total
    limit = _cgroup_value("memory.max")
    return min(total, limit) if limit is not None else total


def free_bytes() -> int:
    """Return memory that can be had without swapping or exceeding the control group's limit."""
    free: int = psutil.virtual_memory().available
    limit, used = _cgroup_value("memory.max"), _cgroup_value("memory.current")
    if limit is not None and used is not None:
        # Of the files it has cached, the system drops first those that nobody reads.
        used -= _cgroup_value("memory.stat", "inactive_file") or 0
        free = min(free, max(0, limit - used))
    return free


def _cgroup_value(name: str, key: str = "") -> int | None:
    """Return a memory figure of our own control group (v2), None without one or without a limit.

    ``key`` is the first word of the figure's line where the file has several.
    """
    try:
        group = _figure(_OUR_CGROUP, "0::/")
        return int(_figure(_CGROUP / group / name, f"{key} " if key else ""))
    except (OSError, ValueError, StopIteration):
        return None


def _figure(path: Path, beginning: str) -> str:
    """Return the rest of the first line that begins so."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(line.removeprefix(beginning) for line in lines if line.startswith(beginning))


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
        if addressspace.limit() is not None:
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
    """Collect garbage and returns the allocator's free pages to the system."""
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
