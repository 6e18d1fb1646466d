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
# Limit and use by the version of control groups, and what of the use is cached.
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    2: ("memory.max", "memory.current"),
}
_CACHED = {1: "total_inactive_file", 2: "inactive_file"}


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
    """Yield limit and use of this process's control groups and those above them, on Linux."""
    try:
        memberships = _OUR_GROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for membership in memberships:
        _, controllers, ours = membership.split(":", 2)
        if not controllers:
            version, group = 2, _CONTROL_GROUPS / ours.lstrip("/")
        elif "memory" in controllers.split(","):
            version, group = 1, _CONTROL_GROUPS / "memory" / ours.lstrip("/")
        else:
            continue
        for folder in (group, *group.parents):
            try:
                limit, used = (
                    int((folder / name).read_text(encoding="utf-8")) for name in _FILES[version]
                )
            except (OSError, ValueError):  # no limit ("max"), or no group
                continue
            yield limit, used - _cached_bytes(folder / "memory.stat", _CACHED[version])


def _cached_bytes(statistics: Path, name: str) -> int:
    """Return what the system drops first: files a group has cached and nobody reads."""
    try:
        figures = statistics.read_text(encoding="utf-8").split()
        return int(figures[figures.index(name) + 1])
    except (OSError, ValueError, IndexError):
        return 0
