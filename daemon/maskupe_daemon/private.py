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

log = logging.getLogger("maskupe_daemon.private")


class AccessError(MaskUPEError):
    """The daemon cannot guarantee that only its owner gets in."""

    code = "access"
    exit_status = 4


def secure_directory(path: Path) -> None:
    """Makes sure that a directory exists and belongs to this user alone.

    A directory of ours that others may enter is closed to them.

    Raises:
        AccessError: if it is a symbolic link, no directory, somebody else's, or cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise AccessError(
                f"{path} is a link or a file, not a directory.",
                "Remove it, or set MASKUPE_STATE_DIR to another place.",
            )
        if hasattr(os, "geteuid"):
            if status.st_uid != os.geteuid():
                raise AccessError(
                    f"{path} belongs to another user.",
                    "Set MASKUPE_STATE_DIR to a directory of your own.",
                )
            if status.st_mode & 0o077:
                log.warning("%s could be entered by others; closing it to them", path)
                path.chmod(0o700)
    except OSError as error:
        raise AccessError(
            f"The directory {path} cannot be made or looked at: {error.strerror}.",
            "Set MASKUPE_STATE_DIR to a directory of your own.",
        ) from error


@contextlib.contextmanager
def owner_only() -> Iterator[None]:
    """Files that are made meanwhile can be read by their owner only."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def create_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a new file for its owner only.

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
    """Writes a file for its owner only; readers see the old one or the new one, never a part.

    Raises:
        OSError: if it cannot be written; the old one stays then.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)  # of a process that had our number and was killed
    create_json(beside, values)
    beside.replace(path)
