"""What our command lines share: how they are set up, and ``--version``."""

from __future__ import annotations

from typing import Annotated

import typer


def application(name: str, purpose: str) -> typer.Typer:
    """Return an application without commands yet, for :func:`maskupe.cli.runner.run`.

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
