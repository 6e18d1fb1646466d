"""The types of value a header may hold, each with its bounds and its words for the document."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from typing import Any

from maskupe_client.framing import MAX_PLANE_BYTES, PlaneSpec, WireError


class FieldType(ABC):
    """Checks one value.

    Attributes:
        description: what is allowed, for a person; the protocol's document shows it.
    """

    def __init__(self, description: str) -> None:
        self.description = description

    @abstractmethod
    def check(self, value: Any, where: str) -> Any:
        """Return the value, normalised.

        Raises:
            WireError: ``bad-field``, naming the field ``where``.
        """

    def refusal(self, where: str) -> WireError:
        """Return the error for a value that is not allowed."""
        return WireError("bad-field", f"The field '{where}' must be {self.description}.")


class Text(FieldType):
    """A string of bounded length that matches a pattern as a whole."""

    def __init__(self, longest: int, pattern: str = "", *, shortest: int = 0) -> None:
        size = f"{shortest} to {longest}" if shortest else f"at most {longest}"
        super().__init__(f"text of {size} characters" + (f" `{pattern}`" if pattern else ""))
        self.longest = longest
        self.shortest = shortest
        self.pattern = pattern

    def check(self, value: Any, where: str) -> str:
        """Return the string."""
        if not isinstance(value, str) or not self.shortest <= len(value) <= self.longest:
            raise self.refusal(where)
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise self.refusal(where)
        return value


class Flag(FieldType):
    """True or false."""

    def __init__(self) -> None:
        super().__init__("true or false")

    def check(self, value: Any, where: str) -> bool:
        """Return the boolean."""
        if not isinstance(value, bool):
            raise self.refusal(where)
        return value


class Whole(FieldType):
    """A whole number within bounds."""

    def __init__(self, low: int, high: int) -> None:
        super().__init__(f"a whole number from {low} to {high}")
        self.low = low
        self.high = high

    def check(self, value: Any, where: str) -> int:
        """Return the number."""
        if type(value) is not int or not self.low <= value <= self.high:
            raise self.refusal(where)
        return value


class Number(FieldType):
    """A finite number within bounds."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__(f"a number from {low:g} to {high:g}")
        self.low = low
        self.high = high

    def check(self, value: Any, where: str) -> float:
        """Return the number as a float."""
        if type(value) not in (int, float) or not math.isfinite(value):
            raise self.refusal(where)
        if not self.low <= value <= self.high:
            raise self.refusal(where)
        return float(value)


class Choice(FieldType):
    """One of a few words."""

    def __init__(self, *choices: str) -> None:
        super().__init__("one of " + ", ".join(f"`{choice}`" for choice in choices))
        self.choices = choices

    def check(self, value: Any, where: str) -> str:
        """Return the word."""
        if not isinstance(value, str) or value not in self.choices:
            raise self.refusal(where)
        return value


class WordOr(FieldType):
    """One of certain words, or what another type allows."""

    def __init__(self, other: FieldType, *allowed: str) -> None:
        super().__init__(", ".join(f"`{word}`" for word in allowed) + f" or {other.description}")
        self.other = other
        self.allowed = allowed

    def check(self, value: Any, where: str) -> Any:
        """Return the word, or the other type's value."""
        if isinstance(value, str):
            if value not in self.allowed:
                raise self.refusal(where)
            return value
        return self.other.check(value, where)


class Nullable(FieldType):
    """Nil, or what another type allows."""

    def __init__(self, other: FieldType) -> None:
        super().__init__(f"nil or {other.description}")
        self.other = other

    def check(self, value: Any, where: str) -> Any:
        """Return None, or the other type's value."""
        return None if value is None else self.other.check(value, where)


class Shape(FieldType):
    """A list of whole numbers, each within its own bounds; the last one may be optional."""

    def __init__(self, *bounds: tuple[int, int], optional_last: bool = False) -> None:
        parts = ", ".join(f"{low}…{high}" for low, high in bounds)
        super().__init__(f"[{parts}{'?' if optional_last else ''}]")
        self.bounds = bounds
        self.optional_last = optional_last

    def check(self, value: Any, where: str) -> tuple[int, ...]:
        """Return the numbers as a tuple."""
        lengths = {len(self.bounds), len(self.bounds) - int(self.optional_last)}
        if not isinstance(value, (list, tuple)) or len(value) not in lengths:
            raise self.refusal(where)
        for number, (low, high) in zip(value, self.bounds, strict=False):
            if type(number) is not int or not low <= number <= high:
                raise self.refusal(where)
        return tuple(value)


class Plane(FieldType):
    """A map that describes a plane: ``shape``, ``dtype`` and, in a result, ``name``."""

    def __init__(self, shape: Shape, *dtypes: str, named: bool = False) -> None:
        self.shape = shape
        self.dtypes = Choice(*dtypes)
        self.named = named
        name = "name, " if named else ""
        super().__init__(f"{{{name}shape: {shape.description}, dtype: {self.dtypes.description}}}")

    def check(self, value: Any, where: str) -> Any:
        """Return a :class:`.framing.PlaneSpec`; with its name in front if planes are named here."""
        if not isinstance(value, dict):
            raise self.refusal(where)
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


class Listed(FieldType):
    """A list of values of one type."""

    def __init__(self, item: FieldType, fewest: int, most: int) -> None:
        super().__init__(f"a list of {fewest} to {most}: {item.description}")
        self.item = item
        self.fewest = fewest
        self.most = most

    def check(self, value: Any, where: str) -> tuple[Any, ...]:
        """Return the items as a tuple."""
        if not isinstance(value, (list, tuple)) or not self.fewest <= len(value) <= self.most:
            raise self.refusal(where)
        return tuple(self.item.check(item, f"{where}[{i}]") for i, item in enumerate(value))


class Record(FieldType):
    """A map from text to values of one type, or to anything."""

    def __init__(self, value: FieldType | None) -> None:
        super().__init__("a map" + (f" of {value.description}" if value else ""))
        self.value = value

    def check(self, value: Any, where: str) -> dict[str, Any]:
        """Return the map."""
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise self.refusal(where)
        if self.value is None:
            return value
        return {key: self.value.check(item, f"{where}.{key}") for key, item in value.items()}
