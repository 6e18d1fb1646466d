"""Writing a file such that there is always either the whole new one or the old one."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maskupe.errors import MaskUPEError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives an empty file beside ``path`` to write to, which then takes its place.

    It does so with everything on the disk and with the old file's permissions, once the block has
    ended without an exception. Otherwise the old file is left as it was and nothing else remains.

    Raises:
        MaskUPEError: if it cannot be written; its cause is the OSError.
    """
    part = path.with_name(f".{path.stem[:50]}.{secrets.token_hex(4)}.part")
    try:
        part.touch(exist_ok=False)
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        if path.exists():
            part.chmod(path.stat().st_mode & 0o777)
        part.replace(path)
    except OSError as error:
        raise MaskUPEError(
            f"{path} could not be written: {error.strerror or error}.",
            "Check the folder and the space on the disk. What was there before is unchanged.",
        ) from error
    finally:  # after a success it is gone already; this covers Ctrl-C as well
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file by :func:`replacing`.

    Raises:
        MaskUPEError: if it cannot be written; what was there before is unchanged.
    """
    with replacing(path) as part:
        part.write_bytes(content)
