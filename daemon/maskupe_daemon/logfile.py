"""Where the log goes: stderr, and a file of bounded size in the state directory."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path

_MOST_BYTES, _OLD_ONES = 1_000_000, 3


@contextlib.contextmanager
def logging_to(directory: Path, *, verbose: bool) -> Iterator[None]:
    """Log to stderr and to ``daemon.log`` in ``directory``, which is rotated at 1 MB.

    A record with the extra ``is_reported`` goes to the file only: stderr hears it in another way.
    """
    form = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    stderr = logging.StreamHandler(sys.stderr)
    stderr.addFilter(lambda record: not hasattr(record, "is_reported"))
    handlers: list[logging.Handler] = [stderr]
    with contextlib.suppress(OSError):
        path = directory / "daemon.log"
        if path.is_fifo():  # opening it would wait until somebody reads
            raise FileExistsError
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
