"""Turns TOML tables into frozen dataclasses, with a sentence for every key that does not fit."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from maskupe.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        InputError: if the file is missing or not valid TOML.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.", "Check the path.")
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}.") from error


def apply_setting(tables: dict[str, Any], setting: str) -> None:
    """Apply one ``section.key=value`` to the tables; the value is written as in TOML.

    A value that is no TOML is taken as a string, so ``--set model=deepupe`` needs no quotes.

    Raises:
        InputError: if there is no ``=``, or a part of the key is no table.
    """
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set {setting!r} is not key=value.", "Write --set training.steps=100.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    *parents, last = key.strip().split(".")
    table: Any = tables
    for part in parents:
        table = table.setdefault(part, {}) if isinstance(table, dict) else None
        if not isinstance(table, dict):
            raise InputError(f"--set {setting!r}: {part!r} is not a table of the recipe.")
    table[last] = value


#: What older recipes and checkpoints call some keys.
_FORMER_NAMES = {"about": "description", "cuts": "deviations"}


def to_tables(recipe: Any) -> dict[str, Any]:
    """Return a dataclass as plain values, without those that are None; :func:`build` reads them."""
    tables: dict[str, Any] = _plain(asdict(recipe))
    return tables


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def current_names(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's tables with the keys that older ones call something else renamed."""
    return {_FORMER_NAMES.get(key, key): value for key, value in tables.items()}


def build(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """Return a dataclass from a table; nested dataclasses from nested tables.

    Args:
        kind: the dataclass.
        table: its values; missing keys take the dataclass's defaults.
        where: how to call the table in an error, for example ``recipe.toml, [loss]``.

    Raises:
        InputError: for an unknown key, a missing one, or a value of the wrong type.
    """
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(cast(Any, kind))}
    for key in table:
        if key not in known:
            raise InputError(
                f"{where}: there is no key {key!r}.", f"Known keys are {', '.join(sorted(known))}."
            )
    values = {}
    for name, field in known.items():
        if name in table:
            values[name] = _convert(hints[name], table[name], f"{where}: {name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{where}: the key {name!r} is missing.", "Add it.")
    return kind(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and isinstance(value, Mapping):
        return build(cast(Any, hint), value, where)
    if origin in (Union, types.UnionType):
        inner = [part for part in arguments if part is not type(None)]
        if type(value) in inner:
            return value
        return _convert(inner[0], value, where)
    if origin is tuple and isinstance(value, list):
        if arguments[-1] is Ellipsis:
            return tuple(_convert(arguments[0], item, where) for item in value)
        if len(arguments) == len(value):
            pairs = zip(arguments, value, strict=True)
            return tuple(_convert(part, item, where) for part, item in pairs)
    elif origin is not None and origin is not tuple and isinstance(value, Mapping):
        return {key: _convert(arguments[1], item, where) for key, item in value.items()}
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(hint, type) and type(value) is hint:
        return value
    raise InputError(f"{where}: {value!r} is not what belongs here.", f"Give {_describe(hint)}.")


def _describe(hint: Any) -> str:
    if is_dataclass(hint):
        return "a table"
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    if hint in names:
        return names[hint]
    return "a list" if get_origin(hint) is tuple else "a table"
