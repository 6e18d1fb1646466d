"""What becomes of a command whose output cannot be written: ``maskupe models | head -1``."""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

_Arguments = ParamSpec("_Arguments")

#: Exit status of a command that could not say everything.
UNSAID = 1


def guard_output(program: Callable[_Arguments, int]) -> Callable[_Arguments, int]:
    """Lets a program end without a word once the reader of its output has gone.

    What else keeps the output from being written, a full disk say, is one sentence on stderr.
    Signs that the console's encoding does not have come out as question marks.

    Args:
        program: returns its exit status, or raises SystemExit. A BrokenPipeError of stdout or
            stderr must come out of it.
    """

    @functools.wraps(program)
    def run(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> int:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        try:
            try:
                return program(*args, **kwargs)
            finally:
                # Short output is written only now; the interpreter would do it too late for us.
                _flush()
        except BrokenPipeError:
            return UNSAID

    return run


def _flush() -> None:
    try:
        if sys.stdout:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        name = Path(sys.argv[0]).name
        sys.exit(f"{name}: The output cannot be written ({error.strerror}).")
    finally:
        _discard()


def _discard() -> None:
    """Keeps the interpreter from complaining, at its exit, of what cannot be written."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
