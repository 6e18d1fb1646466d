"""Where the log goes: stderr, and a file of bounded size in the state directory."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path

from maskupe_daemon.private import owner_only

_MOST_BYTES, _OLD_ONES = 1_000_000, 3


@contextlib.contextmanager
def logging_to(directory: Path, *, verbose: bool) -> Iterator[None]:
    """Logs to stderr and to ``daemon.log`` in ``directory``, which is rotated at 1 MB."""
    form = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    with contextlib.suppress(OSError), owner_only():
        path = directory / "daemon.log"
        handlers.append(_QuietFileHandler(path, maxBytes=_MOST_BYTES, backupCount=_OLD_ONES))
    log = logging.getLogger("maskupe_daemon")
    for handler in handlers:
        handler.setFormatter(form)
        log.addHandler(handler)
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            with contextlib.suppress(OSError):
                handler.close()


class _QuietFileHandler(RotatingFileHandler):
    """Goes on without the file when the disk is full: a log must not stop the work."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        pass
