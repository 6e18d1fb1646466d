"""Where recipes come from: TOML files that may extend one another, and settings on top.

Recipes that come with the package are found by name (``star-dce-mconcat``), others by path.
``--set section.key=value`` overrides single keys.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from maskupe.errors import InputError
from maskupe_training.config import apply_setting, read_toml
from maskupe_training.recipe import Recipe, from_tables

_FOLDER = Path(__file__).parent / "recipes"
#: The recipes that come with the package, by name; those with an underscore are only extended.
SHIPPED = tuple(sorted(path.stem for path in _FOLDER.glob("[!_]*.toml")))

_MATTES = Path(__file__).parent / "matte" / "recipes"
#: Those of the matting network, which :mod:`maskupe_training.matte.recipe` reads.
SHIPPED_MATTES = tuple(sorted(path.stem for path in _MATTES.glob("[!_]*.toml")))

# Tables of shares, which replace another recipe's as a whole.
_WHOLE = ("kinds", "sides")


def load(name: str, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe by path or by the name of one that comes with the package.

    Raises:
        InputError: if it is not found, or has a key or value that does not fit.
    """
    return from_tables(tables(name, settings), find(name).name)


def tables(name: str, settings: Sequence[str] = ()) -> dict[str, Any]:
    """Return the tables of a recipe of any task, by path or name, with settings on top.

    Raises:
        InputError: if it is not found, or a setting is none.
    """
    found = _extended(find(name), frozenset())
    for setting in settings:
        apply_setting(found, setting)
    return found


def command(recipe: Recipe) -> str:
    """Return the command that repeats a training: a shipped recipe, and what differs from it."""
    return _nearest_command(recipe.to_dict(), SHIPPED, lambda name: load(name).to_dict())


def matte_command(tables: Mapping[str, Any], read: Callable[[str], Mapping[str, Any]]) -> str:
    """Return the same for the matting network.

    Args:
        tables: the recipe's.
        read: gives those of a shipped recipe, with defaults.
    """
    return _nearest_command(tables, SHIPPED_MATTES, read)


def _nearest_command(
    tables: Mapping[str, Any], names: Sequence[str], read: Callable[[str], Mapping[str, Any]]
) -> str:
    own = _leaves(tables)
    candidates = []
    for name in names:
        shipped = _leaves(read(name))
        differing = {key: value for key, value in own.items() if shipped.get(key) != value}
        candidates.append((len(differing), name, differing))
    _, nearest, settings = min(candidates, key=lambda candidate: candidate[:2])
    given = [shlex.quote(f"{key}={_as_toml(value)}") for key, value in settings.items()]
    return " --set ".join([f"maskupe-train fit {nearest}", *given])


def _as_toml(value: Any) -> str:
    """Return a plain value as ``--set`` takes it, on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_as_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_as_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _leaves(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping) and key not in _WHOLE:
            result |= _leaves(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result


def find(name: str) -> Path:
    """Return the file of a recipe given by path or name."""
    for folder, names in ((_FOLDER, SHIPPED), (_MATTES, SHIPPED_MATTES)):
        if name in names:
            return folder / f"{name}.toml"
    path = Path(name)
    if path.is_file():
        return path
    known = ", ".join((*SHIPPED, *SHIPPED_MATTES))
    raise InputError(f"There is no recipe {name!r}.", f"Give a path, or one of: {known}.")


def _extended(path: Path, seen: frozenset[Path]) -> dict[str, Any]:
    tables = read_toml(path)
    parent = tables.pop("extends", None)
    if parent is None:
        return tables
    origin = path.parent / str(parent)
    if origin in seen:
        raise InputError(f"{path} extends itself through {origin}.")
    return _merged(_extended(origin, seen | {path}), tables)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``over`` on top of ``base``; tables are merged, except tables of shares."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if isinstance(value, dict) and isinstance(old, dict) and key not in _WHOLE:
            result[key] = _merged(old, value)
        else:
            result[key] = value
    return result
