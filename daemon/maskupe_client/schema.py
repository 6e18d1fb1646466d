"""The kinds of value a header may hold, each with its bounds and its words for the document."""

from __future__ import annotations

import math
import re
from typing import Any, Protocol

from maskupe_client.framing import MAX_PLANE_BYTES, PlaneSpec, WireError


class FieldType(Protocol):
    """Checks one value; ``words`` says in the protocol's document what is allowed."""

    @property
    def description(self) -> str:
        """What is allowed, for a person."""

    def check(self, value: Any, where: str) -> Any:
        """Return the value, normalised.

        Raises:
            WireError: ``bad-field``, naming the field ``where``.
        """


def _fail(where: str, words: str) -> WireError:
    return WireError("bad-field", f"The field '{where}' must be {words}.")


class Text:
    """A string of bounded length that matches a pattern as a whole."""

    def __init__(self, longest: int, pattern: str = "", *, shortest: int = 0) -> None:
        self.longest = longest
        self.shortest = shortest
        self.pattern = pattern

    @property
    def description(self) -> str:
        """What is allowed, for a person."""
        size = f"{self.shortest} to {self.longest}" if self.shortest else f"at most {self.longest}"
        return f"text of {size} characters" + (f" `{self.pattern}`" if self.pattern else "")

    def check(self, value: Any, where: str) -> str:
        """Return the string."""
        if not isinstance(value, str) or not self.shortest <= len(value) <= self.longest:
            raise _fail(where, self.description)
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise _fail(where, self.description)
        return value


class Flag:
    """True or false."""

    description = "true or false"

    def check(self, value: Any, where: str) -> bool:
        """Return the boolean."""
        if not isinstance(value, bool):
            raise _fail(where, self.description)
        return value


class Whole:
    """A whole number within bounds."""

    def __init__(self, low: int, high: int) -> None:
        self.low = low
        self.high = high

    @property
    def description(self) -> str:
        """What is allowed, for a person."""
        return f"a whole number from {self.low} to {self.high}"

    def check(self, value: Any, where: str) -> int:
        """Return the number."""
        if type(value) is not int or not self.low <= value <= self.high:
            raise _fail(where, self.description)
        return value


class Number:
    """A finite number within bounds."""

    def __init__(self, low: float, high: float) -> None:
        self.low = low
        self.high = high

    @property
    def description(self) -> str:
        """What is allowed, for a person."""
        return f"a number from {self.low:g} to {self.high:g}"

    def check(self, value: Any, where: str) -> float:
        """Return the number as a float."""
        if type(value) not in (int, float) or not math.isfinite(value):
            raise _fail(where, self.description)
        if not self.low <= value <= self.high:
            raise _fail(where, self.description)
        return float(value)


class Choice:
    """One of a few words."""

    def __init__(self, *choices: str) -> None:
        self.choices = choices

    @property
    def description(self) -> str:
        """What is allowed, for a person."""
        return "one of " + ", ".join(f"`{choice}`" for choice in self.choices)

    def check(self, value: Any, where: str) -> str:
        """Return the word."""
        if not isinstance(value, str) or value not in self.choices:
            raise _fail(where, self.description)
        return value


class WordOr:
    """One of certain words, or what another kind allows."""

    def __init__(self, other: FieldType, *allowed: str) -> None:
        self.other = other
        self.allowed = allowed

    @property
    def description(self) -> str:
        """What is allowed, for a person."""
        return ", ".join(f"`{word}`" for word in self.allowed) + f" or {self.other.description}"

    def check(self, value: Any, where: str) -> Any:
        """Return the word, or the other kind's value."""
        if isinstance(value, str):
            if value not in self.allowed:
                raise _fail(where, self.description)
            return value
        return self.other.check(value, where)


class Nullable:
    """Nil, or what another kind allows."""

    def __init__(self, other: FieldType) -> None:
        self.other = other

    @property
    def description(self) -> str:
        """What is allowed, for a person."""
        return f"nil or {self.other.description}"

    def check(self, value: Any, where: str) -> Any:
        """None, or the other kind's value."""
        return None if value is None else self.other.check(value, where)


class Shape:
    """A list of whole numbers, each within its own bounds; the last one may be optional."""

    def __init__(self, *bounds: tuple[int, int], optional_last: bool = False) -> None:
        self.bounds = bounds
        self.optional_last = optional_last

    @property
    def description(self) -> str:
        """What is allowed, for a person."""
        parts = [f"{low}…{high}" for low, high in self.bounds]
        if self.optional_last:
            parts[-1] += "?"
        return f"[{', '.join(parts)}]"

    def check(self, value: Any, where: str) -> tuple[int, ...]:
        """Return the numbers as a tuple."""
        lengths = {len(self.bounds), len(self.bounds) - int(self.optional_last)}
        if not isinstance(value, (list, tuple)) or len(value) not in lengths:
            raise _fail(where, self.description)
        for number, (low, high) in zip(value, self.bounds, strict=False):
            if type(number) is not int or not low <= number <= high:
                raise _fail(where, self.description)
        return tuple(value)


class Plane:
    """A map that describes a plane: ``shape``, ``dtype`` and, in a result, ``name``."""

    def __init__(self, shape: Shape, *dtypes: str, named: bool = False) -> None:
        self.shape = shape
        self.dtypes = Choice(*dtypes)
        self.named = named

    @property
    def description(self) -> str:
        """What is allowed, for a person."""
        name = "name, " if self.named else ""
        return f"{{{name}shape: {self.shape.description}, dtype: {self.dtypes.description}}}"

    def check(self, value: Any, where: str) -> Any:
        """Return a :class:`.wire.PlaneSpec`; with its name in front if planes are named here."""
        if not isinstance(value, dict):
            raise _fail(where, self.description)
        shape = self.shape.check(value.get("shape"), f"{where}.shape")
        dtype = self.dtypes.check(value.get("dtype"), f"{where}.dtype")
        spec = PlaneSpec(shape, dtype)
        if spec.nbytes > MAX_PLANE_BYTES:
            raise WireError(
                "too-large",
                f"The plane '{where}' has {spec.nbytes} bytes; no plane may have more than "
                f"{MAX_PLANE_BYTES} bytes.",
                "Select a smaller part.",
            )
        if self.named:
            return Text(32, r"[a-z]+").check(value.get("name"), f"{where}.name"), spec
        return spec


class Listed:
    """A list of values of one kind."""

    def __init__(self, item: FieldType, fewest: int, most: int) -> None:
        self.item = item
        self.fewest = fewest
        self.most = most

    @property
    def description(self) -> str:
        """What is allowed, for a person."""
        return f"a list of {self.fewest} to {self.most}: {self.item.description}"

    def check(self, value: Any, where: str) -> tuple[Any, ...]:
        """Return the items as a tuple."""
        if not isinstance(value, (list, tuple)) or not self.fewest <= len(value) <= self.most:
            raise _fail(where, self.description)
        return tuple(self.item.check(item, f"{where}[{i}]") for i, item in enumerate(value))


class Record:
    """A map from text to values of one kind, or to anything."""

    def __init__(self, value: FieldType | None) -> None:
        self.value = value

    @property
    def description(self) -> str:
        """What is allowed, for a person."""
        return "a map" + (f" of {self.value.description}" if self.value else "")

    def check(self, value: Any, where: str) -> dict[str, Any]:
        """Return the map."""
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise _fail(where, self.description)
        if self.value is None:
            return value
        return {key: self.value.check(item, f"{where}.{key}") for key, item in value.items()}
