"""What the documents point at is there: links, anchors, files, modules, functions."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from pathlib import Path

import pytest

from tools.docs.markdown import DOCUMENTS, ROOT, anchors, inline_code, links, read, short

documents = pytest.mark.parametrize("path", DOCUMENTS, ids=short)

_FILE = re.compile(r"[\w.\-]*(?:/[\w.\-]+)*/?[\w\-]+\.(?:py|c|h|md|toml|json|sh|po|safetensors)")
_PLACE = re.compile(r"(?:maskupe|daemon|training|gimp_plugin|tests|docs|tools)/[\w/.-]*")
_MODULE = re.compile(r"(?:maskupe(?:_daemon|_gimp|_training)?)(?:\.\w+)+")
_FUNCTION = re.compile(r"(\w+(?:\.\w+)?)\(\)")

#: Files that are named but are the reader's, or made while a program runs.
THEIRS = {"my-recipe.toml", "index.json", "split.json", "manifest.json", "recipe.json"}
THEIRS |= {"connection.json", "benchmarks.json", "star-dce-mconcat.safetensors"}


@pytest.fixture(scope="module")
def files() -> list[str]:
    """Every file of the project, from its root, with a slash before it."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    return [f"/{name}" for name in done.stdout.splitlines()]


@documents
def test_every_link_resolves(path: Path) -> None:
    wrong = []
    for link in links(read(path)):
        place, _, anchor = link.partition("#")
        if place.startswith(("http://", "https://")):
            continue
        target = (path.parent / place).resolve() if place else path
        if not target.exists() or not target.is_relative_to(ROOT):
            wrong.append(f"{link}: no such file")
        elif anchor and anchor not in anchors(read(target)):
            wrong.append(f"{link}: no such heading")
    assert not wrong, "\n".join(wrong)


@documents
def test_every_file_that_is_named_exists(path: Path, files: list[str]) -> None:
    wrong = []
    for code in inline_code(read(path)):
        if _FILE.fullmatch(code):
            exists = code in THEIRS or any(name.endswith(f"/{code}") for name in files)
        elif _PLACE.fullmatch(code):
            exists = any(f"{name}/".startswith(f"/{code.rstrip('/')}/") for name in files)
        else:
            continue
        if not exists:
            wrong.append(code)
    assert not wrong, "\n".join(wrong)


@documents
def test_every_python_name_exists(path: Path) -> None:
    for code in inline_code(read(path)):
        found = _MODULE.match(code)
        if not found or code.endswith((".commands", ".py")):
            continue
        parts = found[0].split(".")
        try:
            thing = _import(parts)
        except ModuleNotFoundError as error:
            if error.name and error.name.split(".")[0] in ("torch", "lightning_fabric"):
                continue  # names of the training are checked where it is installed
            raise
        assert thing is not None, code


def _import(parts: list[str]) -> object:
    """The module, class, function or method of a dotted name."""
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        try:
            thing: object = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
            continue
        for part in parts[length:]:
            thing = getattr(thing, part)
        return thing
    return None


def test_the_tour_names_functions_that_are_where_it_says(files: list[str]) -> None:
    """A ``name()`` belongs to the file that was named last before it."""
    source, checked = "", 0
    for code in inline_code(read(ROOT / "docs" / "tour.md")):
        if _FILE.fullmatch(code):
            named = [name for name in files if name.endswith(f"/{code}")]
            assert len(named) == 1, f"{code} could be any of {named}"
            source = read(ROOT / named[0][1:])
            is_python = code.endswith(".py")
        elif (found := _FUNCTION.fullmatch(code)) is not None:
            names = _defined(source) if is_python else set(re.findall(r"\b(\w+)\(", source))
            assert found[1] in names, f"{code} is not in the file named before it"
            checked += 1
    assert checked > 20


def _defined(source: str) -> set[str]:
    """Functions, classes and ``Class.method`` of a Python file."""
    found: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{inner.name}"
                for inner in node.body
                if isinstance(inner, ast.FunctionDef)
            }
    return found
