"""Whether a command line that a document shows would be understood. Nothing is run."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from tools.docs.markdown import ROOT, read

#: Our programs, by name: the module of each one's parser.
PROGRAMS = {
    "maskupe": "maskupe.cli.app",
    "maskupe-train": "maskupe_training.cli",
    "maskupe-daemon": "maskupe_daemon.cli",
    "maskupe-gimp": "maskupe_gimp.cli",
}
# Packages of this repository that are run with ``python -m``.
_OWN = ("benchmarks", "tests.", "tools.")


def ours(line: str) -> list[str] | None:
    """Return the words of a shell line from our program's name on; None if it runs none of ours."""
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if "-m" in words[:-1]:
        place = words.index("-m") + 1
        if words[place] == "maskupe_training":
            words = ["maskupe-train", *words[place + 1 :]]
        elif words[place].startswith(_OWN):
            words = words[place:]
    known = words and (words[0] in (*PROGRAMS, "make") or words[0].startswith(_OWN))
    return words if known else None


def check(words: Sequence[str]) -> None:
    """Raise what the program's own parser raises for a line that it does not understand."""
    program, *arguments = words
    arguments = [argument for argument in arguments if argument != "--debug"]
    if program == "make":
        _check_make(arguments)
    elif program.startswith(_OWN):
        _check_module(program, arguments)
    elif not {"--help", "--version"} & set(arguments):
        module: Any = importlib.import_module(PROGRAMS[program])
        if hasattr(module, "app"):
            _check_typer(typer.main.get_command(module.app), program, arguments)
        else:
            _check_argparse(module, arguments)


def _check_make(arguments: list[str]) -> None:
    makefile = read(ROOT / "Makefile")
    for word in arguments:
        name, assigned, _ = word.partition("=")
        known = rf"\$\((?:if \$\()?{name}\)" if assigned else rf"^{name}:"
        if not re.search(known, makefile, re.M):
            raise ValueError(f"the Makefile knows no {word}")


def _check_module(name: str, arguments: list[str]) -> None:
    place = ROOT.joinpath(*name.split("."))
    source = read(place / "__main__.py" if place.is_dir() else place.with_suffix(".py"))
    for option in arguments:
        if option.startswith("--") and f'"{option}"' not in source:
            raise ValueError(f"{name} has no option {option}")


def _check_typer(command: Any, name: str, arguments: list[str]) -> None:
    if not hasattr(command, "commands"):
        command.make_context(name, arguments)
    elif not arguments or arguments[0] not in command.commands:
        raise ValueError(f"{name} has no command {' '.join(arguments[:1])}")
    else:
        _check_typer(command.commands[arguments[0]], arguments[0], arguments[1:])


def _check_argparse(module: Any, arguments: list[str]) -> None:
    if Path(module.__file__).parent.name == "maskupe_daemon" and (
        not arguments or arguments[0].startswith("-")
    ):
        arguments = ["run", *arguments]
    try:
        module._parser().parse_args(arguments)
    except SystemExit as stop:
        raise ValueError("not understood; the captured stderr says why") from stop
