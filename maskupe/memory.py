"""How much memory there is: of the machine, of a control group, of a shell's ``ulimit -v``.

It can be imported before any library is: psutil is needed only where the machine is asked.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from maskupe.errors import MemoryLimitError

#: Bytes of address space below which the libraries cannot be loaded; some of them crash then
#: instead of saying so.
LEAST = 512 << 20

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OUR_GROUP = Path("/proc/self/cgroup")


def address_limit() -> int | None:
    """Return the most bytes of address space this process may have, None without a limit."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


def require_address_space() -> None:
    """Make sure, before any library is loaded, that there is room for them.

    Raises:
        MemoryLimitError: if the limit is too low.
    """
    most = address_limit()
    if most is not None and most < LEAST:
        raise MemoryLimitError(
            f"The limit of {most >> 20} MB of memory for a program is too low for MaskUPE.",
            f"Raise it with: ulimit -v {2 * (LEAST >> 10)}",
        )


def total_bytes() -> int:
    """Return RAM of the machine, or of the control group this process is confined to."""
    import psutil

    return min([psutil.virtual_memory().total, *(limit for limit, _ in _control_groups())])


def free_bytes() -> int:
    """Return memory that can be had without swapping or exceeding a limit of container or shell."""
    import psutil

    free = [psutil.virtual_memory().available]
    free += [limit - used for limit, used in _control_groups()]
    addresses = address_limit()
    if addresses is not None:
        free.append(addresses - psutil.Process().memory_info().vms)
    return max(0, min(free))


def _control_groups() -> Iterator[tuple[int, int]]:
    """Yield limit and use of this process's control group (v2) and those above it, on Linux."""
    try:
        lines = _OUR_GROUP.read_text(encoding="utf-8").splitlines()
        ours = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
    except (OSError, StopIteration):
        return
    group = _CONTROL_GROUPS / ours
    for folder in (group, *group.parents):
        try:
            limit, used = (
                int((folder / name).read_text(encoding="utf-8"))
                for name in ("memory.max", "memory.current")
            )
        except (OSError, ValueError):  # no limit ("max"), or no group
            continue
        yield limit, used - _cached_bytes(folder)


def _cached_bytes(group: Path) -> int:
    """Return what the system drops first: files a group has cached and nobody reads."""
    try:
        figures = (group / "memory.stat").read_text(encoding="utf-8").split()
        return int(figures[figures.index("inactive_file") + 1])
    except (OSError, ValueError, IndexError):
        return 0
