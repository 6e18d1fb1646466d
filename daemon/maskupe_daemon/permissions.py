"""What only the owner may enter or read: the daemon's directory and its files."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from maskupe.errors import MaskUPEError

log = logging.getLogger("maskupe_daemon.permissions")

_ELSEWHERE = "Choose a directory of your own, with MASKUPE_STATE_DIR or --endpoint."


class AccessError(MaskUPEError):
    """The daemon cannot guarantee that only its owner gets in."""

    code = "access"
    exit_status = 4


def secure_directory(path: Path, *, close: bool = True) -> None:
    """Make sure that a directory exists and belongs to this user alone.

    Args:
        path: the directory; what is missing of it is made.
        close: whether others are shut out of a directory of ours that they may enter; else such a
            one is refused. One that is meant for all, like ``/tmp``, is refused in any case.

    Raises:
        AccessError: if it is a symbolic link, no directory, somebody else's, open to others, or
            cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.is_symlink() or not path.is_dir():
            raise AccessError(f"{path} is a link or a file, not a directory.", _ELSEWHERE)
        if os.name == "posix":
            # By its descriptor, as its name may stand for something else in between.
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                _keep_others_out(path, descriptor, close)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise AccessError(
            f"The directory {path} cannot be made or looked at: {error.strerror}.", _ELSEWHERE
        ) from error


def _keep_others_out(path: Path, descriptor: int, close: bool) -> None:
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid():
        raise AccessError(f"{path} belongs to another user.", _ELSEWHERE)
    if status.st_mode & 0o077:
        if not close or status.st_mode & stat.S_ISVTX:
            raise AccessError(f"{path} can be entered by others.", _ELSEWHERE)
        log.warning("%s could be entered by others; closing it to them", path)
        os.fchmod(descriptor, 0o700)


@contextlib.contextmanager
def owner_only() -> Iterator[None]:
    """Files that are made meanwhile can be read by their owner only."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def create_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a new file for its owner only.

    Raises:
        FileExistsError: if there is one; links are not followed.
        OSError: if it cannot be written; nothing is left then.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(values, file, indent=1)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def replace_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a file for its owner only; readers see the old one or the new one, never a part.

    Raises:
        OSError: if it cannot be written; the old one stays then.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)  # of a process that had our number and was killed
    create_json(temporary, values)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
