"""What our Typer applications share: how they are set up, and run.

Every failure is one sentence and the right exit status.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from maskupe.cli.output import printable
from maskupe.errors import MaskUPEError, describe_failure
from maskupe.memory import require_address_space

# Typer raises click's exceptions but, since it brings its own copy of click, does not export
# their base class; it is the common ancestor of those that it does export.
_UsageError: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)

FAILURE, BAD_INPUT, INTERRUPTED = 1, 2, 130


def application(name: str, purpose: str) -> typer.Typer:
    """Return an application without commands yet, for :func:`run`.

    Args:
        name: the program's name.
        purpose: one sentence for its help.
    """
    app = typer.Typer(
        name=name,
        help=purpose,
        epilog="Add --debug to any command to see the traceback of an error.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    return app


def _show_version(context: typer.Context, wanted: bool) -> None:
    if wanted:
        from maskupe import __version__

        typer.echo(f"{context.info_name} {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


def run(app: typer.Typer, name: str, arguments: Sequence[str], extra: str | None = None) -> int:
    """Run an application and return its exit status; errors go to stderr as one sentence.

    ``--debug`` anywhere among the arguments adds the traceback; no arguments ask for the help.

    Args:
        app: the commands; a command may return its exit status.
        name: the program's name, before each sentence.
        arguments: without the program's name.
        extra: the package's extra that brings what the commands import, if they need one.

    Raises:
        BrokenPipeError: nobody reads the output; for :mod:`maskupe.cli.output`.
    """
    debug = "--debug" in arguments
    wanted = [argument for argument in arguments if argument != "--debug"] or ["--help"]
    command = typer.main.get_command(app)
    try:
        if _showed_help(command, name, wanted):
            return 0
        require_address_space()
        status = command.main(wanted, prog_name=name, standalone_mode=False)
        return status if isinstance(status, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        say(name, "Stopped.")
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        if debug:
            for line in "".join(traceback.format_exception(error)).splitlines():
                print(printable(line), file=sys.stderr)
        return _explain(name, error, extra)


def _showed_help(command: Any, name: str, arguments: Sequence[str]) -> bool:
    """Print a command's help if its name and ``--help`` are all that is given.

    Typer would do the same half a second later: before it parses, it imports pydantic.
    """
    *path, last = arguments
    context = typer.Context(command, info_name=name)
    for part in path:
        command = getattr(command, "commands", {}).get(part)
        if command is None or not command.add_help_option:
            return False
        context = typer.Context(command, info_name=part, parent=context)
    if last != "--help":
        return False
    typer.echo(command.get_help(context))
    return True


def _explain(name: str, error: Exception, extra: str | None) -> int:
    """Say what went wrong; return the exit status."""
    if extra and isinstance(error, ModuleNotFoundError):
        say(
            name,
            f"This command needs {error.name}, which is not installed.",
            f"Install it with: pip install 'maskupe[{extra}]'",
        )
        return FAILURE
    if isinstance(error, _UsageError):
        say(name, _sentence(error.format_message()), f"See '{name} --help'.")  # type: ignore[attr-defined]
        return BAD_INPUT
    say(name, describe_failure(error))
    return error.exit_status if isinstance(error, MaskUPEError) else FAILURE


def say(name: str, *sentences: str) -> None:
    """Print sentences in one line to stderr, after the program's name."""
    print(printable(f"{name}: {' '.join(sentences)}"), file=sys.stderr)


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."
