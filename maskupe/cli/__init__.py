"""The command line ``maskupe``. Nothing heavy is imported before it is known what is wanted."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from maskupe.cli.output import handle_broken_pipe


@handle_broken_pipe
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0, 1 for a failure, 2 for bad input."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        from maskupe import __version__

        print(f"maskupe {__version__}")
        return 0
    from maskupe.cli.app import app
    from maskupe.cli.runner import run

    return run(app, "maskupe", arguments)
