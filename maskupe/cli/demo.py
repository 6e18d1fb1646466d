"""``maskupe demo``: found by name, since this package imports none of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points

from maskupe.errors import MaskUPEError

#: The group under which another package offers commands: functions of the arguments that return
#: the exit status.
COMMAND_GROUP = "maskupe.commands"


def run_demo(arguments: Sequence[str]) -> int:
    """Run the command ``demo`` that the daemon's package offers.

    Raises:
        MaskUPEError: if nothing offers it.
    """
    for entry in entry_points(group=COMMAND_GROUP, name="demo"):
        command: Callable[[Sequence[str]], int] = entry.load()
        return command(arguments)
    raise MaskUPEError("The demo is not installed.", "Install the whole package: maskupe.")
