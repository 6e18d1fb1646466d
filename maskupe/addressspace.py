"""How much address space this process may have (``ulimit -v``). Standard library only."""

from __future__ import annotations

import sys

from maskupe.errors import MemoryLimitError

#: Bytes below which the libraries cannot be loaded; some of them crash then instead of saying so.
LEAST = 512 << 20


def limit() -> int | None:
    """Return the limit in bytes, ``None`` where there is none."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


def require() -> None:
    """Make sure, before any library is loaded, that there is room for them.

    Raises:
        MemoryLimitError: if the limit is too low.
    """
    most = limit()
    if most is not None and most < LEAST:
        raise MemoryLimitError(
            f"The limit of {most >> 20} MB of memory for a program is too low for MaskUPE.",
            f"Raise it with: ulimit -v {2 * (LEAST >> 10)}",
        )
