"""What becomes of a command whose output cannot be written: ``maskupe models | head -1``."""

from __future__ import annotations

import codecs
import functools
import os
import re
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

_Arguments = ParamSpec("_Arguments")

#: Exit status of a command that could not say everything.
OUTPUT_FAILED = 1


def handle_broken_pipe(program: Callable[_Arguments, int]) -> Callable[_Arguments, int]:
    """Let a program end without a word once the reader of its output has gone.

    What else keeps the output from being written, a full disk say, is one sentence on stderr.
    Characters that the output's encoding lacks are replaced by likenesses or numbers.

    Args:
        program: returns its exit status, or raises SystemExit. A BrokenPipeError of stdout or
            stderr must come out of it.
    """

    @functools.wraps(program)
    def run(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> int:
        _accept_every_character()
        try:
            try:
                return program(*args, **kwargs)
            finally:
                # Short output is written only now; the interpreter would do it too late for us.
                _flush()
        except BrokenPipeError:
            return OUTPUT_FAILED

    return run


#: What stands for our own sentences' characters where the output's encoding lacks them.
_PLAIN = {"×": "x", "…": "...", "–": "-", "—": "-", "“": '"', "”": '"', "‘": "'", "’": "'"}
# What turns the direction of writing, and back.
_DIRECTIONS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
# A name longer than this says no more than its ends do.
_LONG = re.compile(r"\S{301,}")


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """Codec error handler: a likeness of the character where there is one, else its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    likeness = _PLAIN.get(character)
    if likeness is None:
        likeness = character.encode("ascii", "backslashreplace").decode("ascii")
    return likeness, error.start + 1


def _accept_every_character() -> None:
    """Let output in an encoding that lacks a character have another instead of an exception."""
    codecs.register_error("maskupe", _replaced)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="maskupe")


def printable(text: str) -> str:
    """Return the text in one line that does to a terminal nothing but appear.

    File names may hold any character: those that move the cursor, turn the direction of writing or
    are halves of one are written as their numbers. What is overlong is cut in its middle.
    """
    text = _LONG.sub(lambda found: f"{found[0][:100]}…{found[0][-100:]}", text)
    return "".join(
        character
        if unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")
        and unicodedata.bidirectional(character) not in _DIRECTIONS
        else character.encode("ascii", "backslashreplace").decode("ascii")
        if ord(character) > 127
        else f"\\x{ord(character):02x}"
        for character in text
    )


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
    """Keep the interpreter from complaining, at its exit, of what cannot be written."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
