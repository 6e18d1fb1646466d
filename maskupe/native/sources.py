"""Which C sources a compiled kernel was built from. Standard library only: the build runs it too.

A library that was built from other sources may well load and still read its arguments in another
order: the pixels that come out of it are then wrong without a word. So the build writes a digest
of the sources into the library, and where the sources are at hand, which is in a checkout, it is
compared. A wheel has no sources, and libraries that were built together with it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path


def digest(folder: Path) -> int | None:
    """Return 64 bits of the SHA-256 over all C sources and headers in a folder.

    None if there are none.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".c", ".h"))
    if not paths:
        return None
    found = hashlib.sha256()
    for path in paths:
        found.update(f"{path.name}\0".encode())
        found.update(path.read_bytes())
    return int.from_bytes(found.digest()[:8], "big")
