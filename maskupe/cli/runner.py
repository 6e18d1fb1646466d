"""Running a typer application so that every failure is one sentence and the right exit status."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import typer

from maskupe.errors import MaskUPEError

# Typer raises click's exceptions but, since it brings its own copy of click, does not export
# their base class; it is the common ancestor of those that it does export.
_UsageError: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)

FAILURE, BAD_INPUT, INTERRUPTED = 1, 2, 130


def run(app: typer.Typer, name: str, arguments: Sequence[str]) -> int:
    """Runs an application and returns its exit status; errors go to stderr as one sentence.

    ``--debug`` anywhere among the arguments adds the traceback; no arguments ask for the help.

    Args:
        app: the commands; a command may return its exit status.
        name: the program's name, before each sentence.
        arguments: without the program's name.
    """
    debug = "--debug" in arguments
    wanted = [argument for argument in arguments if argument != "--debug"] or ["--help"]
    try:
        status = typer.main.get_command(app).main(wanted, prog_name=name, standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        say(name, "Stopped.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone; keep the interpreter from complaining at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except Exception as error:
        if debug:
            traceback.print_exception(error)
        return _explain(name, error)


def _explain(name: str, error: Exception) -> int:
    """Says what went wrong; returns the exit status."""
    if isinstance(error, _UsageError):
        say(name, _sentence(error.format_message()), f"See '{name} --help'.")  # type: ignore[attr-defined]
        return BAD_INPUT
    if isinstance(error, MaskUPEError):
        say(name, str(error))
        return error.exit_status
    if isinstance(error, MemoryError):
        say(name, "There is not enough memory.", "Close other programs, or crop the picture.")
        return FAILURE
    what = _sentence(f"Something unexpected failed ({type(error).__name__}: {error})")
    say(name, what, "Run it again with --debug and report what it prints.")
    return FAILURE


def say(name: str, *sentences: str) -> None:
    """Prints sentences in one line to stderr, after the program's name."""
    print(f"{name}: {' '.join(sentences)}", file=sys.stderr)


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."
