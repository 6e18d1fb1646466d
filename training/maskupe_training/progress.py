"""Tell how far a long command is: a bar with the time left, or a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")

# Without a terminal: seconds between two lines.
_LINE_SECONDS = 30.0


def tracked(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield the items; say on stderr how many of ``total`` are done and how long the rest takes.

    Args:
        items: what is worked on.
        total: how many there are.
        what: a word for it, such as ``evaluating``.
    """
    console = Console(file=sys.stderr)
    if console.is_terminal:
        yield from track(items, what, total=total, console=console)
        return
    began = reported = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if done and now - reported >= _LINE_SECONDS:
            reported = now
            left = (total - done) * (now - began) / done
            print(f"{what}: {done} of {total}, {left / 60:.1f} min left", file=sys.stderr)
        yield item
