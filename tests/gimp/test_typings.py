"""What mypy is told of GIMP's libraries holds for the real ones.

Were a name or an argument wrong in ``gimp_plugin/typings``, mypy would pass what fails in GIMP.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gimp.session import Session

TYPINGS = Path(__file__).parents[2] / "gimp_plugin" / "typings" / "gi" / "repository"
LIBRARIES = {"Babl": "0.1", "Gegl": "0.4", "Gimp": "3.0", "GimpUi": "3.0"}

# PyGObject writes what a function takes into its docstring: "get(self, rect:Gegl.Rectangle) -> …".
LOOK = """
import gi, importlib, re
gi.require_version(library, version)
module = importlib.import_module("gi.repository." + library)
result = {}
for path in paths:
    found = module
    for name in path.split("."):
        found = getattr(found, name, None)
    if found is None:
        result[path] = "missing"
    elif callable(found) and not isinstance(found, type):
        taken = found.__doc__.partition("(")[2].partition(")")[0]
        result[path] = re.findall("(\\\\w+):", taken)
    elif isinstance(found, int):
        result[path] = int(found)
    else:
        result[path] = "there"
"""


def declared(
    body: list[ast.stmt], inside: str = ""
) -> Iterator[tuple[str, list[str] | int | str | None]]:
    """Path of each name, and what has to be known of it: a function's arguments, a value."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield inside + node.name, "there"
            yield from declared(node.body, f"{inside}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            yield inside + node.name, [a.arg for a in node.args.args if a.arg != "self"]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield inside + node.targets[0].id, ast.literal_eval(node.value)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield inside + node.target.id, None


def test_there_is_a_description_of_each_library() -> None:
    assert {path.stem for path in TYPINGS.glob("*.pyi")} == set(LIBRARIES)


@pytest.mark.parametrize("library", LIBRARIES)
def test_names_arguments_and_values_are_the_library_s(library: str, console: Session) -> None:
    tree = ast.parse((TYPINGS / f"{library}.pyi").read_text("utf-8"))
    wanted = dict(declared(tree.body))
    found = console.run(LOOK, library=library, version=LIBRARIES[library], paths=list(wanted))
    assert "missing" not in found.values(), [p for p, what in found.items() if what == "missing"]
    wrong = {
        path: (expected, found[path])
        for path, expected in wanted.items()
        if expected is not None and found[path] != expected
    }
    assert not wrong
