"""Writing a file such that there is always either the whole new one or the old one."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maskupe.errors import MaskUPEError

if sys.platform != "win32":
    import fcntl

# What file systems answer that cannot do something that is not needed: shares, and disks that
# another system formatted.
_CANNOT = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
#: Asked once, since asking sets it for all threads for a moment.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


@contextmanager
def replacing(path: Path, like: Path | None = None) -> Iterator[Path]:
    """Give an empty file beside ``path`` to write to, which then takes its place.

    It does so with everything on the disk, once the block has ended without an exception. Otherwise
    the old file is left as it was and nothing else remains; what a killed run has left beside the
    same file is removed. Until it is complete, nobody else may read it; then it has the
    permissions of the file that it replaces, where the file system knows any.

    Args:
        path: the file to write.
        like: for a new file, the one whose permissions it gets, so that what comes of a private
            photograph is private; None for the usual ones.

    Raises:
        MaskUPEError: if it cannot be written; its cause is the OSError.
    """
    part: Path | None = None
    try:
        with contextlib.ExitStack() as held:
            part = _new_part(path, held)
            _remove_leftovers(path, part)
            yield part
            with part.open("rb+") as file:
                _sync(file.fileno())
            with contextlib.suppress(OSError):
                part.chmod(_mode(path, like))
            if sys.platform == "win32":  # where a file that is open cannot be moved
                held.close()
            part.replace(path)
    except OSError as error:
        raise MaskUPEError(
            f"{path} could not be written: {error.strerror or error}.",
            "Check the folder and the space on the disk. What was there before is unchanged.",
        ) from error
    finally:  # after a success it is gone already; this covers Ctrl-C as well
        if part is not None:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def _stem(path: Path) -> str:
    # Many file systems hold 255 bytes of a name.
    return path.stem.encode(errors="surrogateescape")[:100].decode(errors="ignore")


def _new_part(path: Path, held: contextlib.ExitStack) -> Path:
    """Make the file that is written to, for the user alone, and locked while ``held`` is."""
    while True:
        part = path.with_name(f".{_stem(path)}.{secrets.token_hex(4)}.part")
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        held.callback(os.close, descriptor)
        if _lock(descriptor) is False:  # another run takes it for a leftover at this moment
            continue
        if part.exists():
            return part


def _remove_leftovers(path: Path, ours: Path) -> None:
    """Remove what runs that were killed have left of the same file: what nobody holds locked."""
    name = re.compile(re.escape(f".{_stem(path)}.") + r"[0-9a-f]{8}\.part")
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        found = [Path(entry.path) for entry in entries if name.fullmatch(entry.name)]
        for part in found:
            if part == ours or part.is_symlink():
                continue
            with contextlib.suppress(OSError):
                descriptor = os.open(part, os.O_RDWR)
                try:
                    if _lock(descriptor):
                        part.unlink()
                finally:
                    os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Lock a file until it is closed: whether it is ours now, None where there are no locks."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise


def _mode(path: Path, like: Path | None) -> int:
    """Return the permissions of the old file, else those of ``like``, else the usual ones."""
    with contextlib.suppress(OSError):
        return stat.S_IMODE(path.stat().st_mode) & 0o777
    mode = 0o666
    if like is not None:
        with contextlib.suppress(OSError):
            mode = stat.S_IMODE(like.stat().st_mode) & 0o666 | 0o600
    return mode & ~_UMASK


def replace_file(path: Path, content: bytes) -> None:
    """Write a file by :func:`replacing`.

    Raises:
        MaskUPEError: if it cannot be written; what was there before is unchanged.
    """
    with replacing(path) as part:
        part.write_bytes(content)
