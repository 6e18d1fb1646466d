"""The EV entry: what can be typed, and the strength that is found for it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import pytest

from maskupe_gimp import source

sys.path.insert(0, str(source()))
from maskupe_plugin.exposure import NEAR, StrengthSearch, read_stops

#: Stops by strength: in proportion, saturating as bright colours do, and growing.
CURVES: dict[str, Callable[[float], float]] = {
    "straight": lambda strength: 1.8 * strength,
    "saturating": lambda strength: 4 * (1 - math.exp(-1.5 * strength)),
    "growing": lambda strength: strength**2,
}


@pytest.mark.parametrize(
    ("text", "stops"),
    [
        ("+1.7 EV", 1.7),
        ("1,7", 1.7),
        (" -0.5LW ", -0.5),
        ("\N{MINUS SIGN}2", -2.0),
        ("+ .5", 0.5),
        ("3.", 3.0),
    ],
)
def test_numbers_of_stops_are_read(text: str, stops: float) -> None:
    assert read_stops(text) == stops


@pytest.mark.parametrize("text", ["", "EV", "1.7.2", "bright", "1 2", "nan", "+-1"])
def test_other_text_is_no_number(text: str) -> None:
    with pytest.raises(ValueError):
        read_stops(text)


def found(curve: Callable[[float], float], stops: float, start: float) -> float:
    search, strength = StrengthSearch(stops, 2.0), start
    while (wanted := search.next(strength, curve(strength))) is not None:
        assert 0 <= wanted <= 2
        strength = wanted
    return strength


@pytest.mark.parametrize("start", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("stops", [0.2, 1.0, 1.7, 3.0])
@pytest.mark.parametrize("name", CURVES)
def test_the_strength_is_found(name: str, stops: float, start: float) -> None:
    curve = CURVES[name]
    assert abs(curve(found(curve, stops, start)) - stops) <= NEAR


@pytest.mark.parametrize("start", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("name", CURVES)
def test_what_cannot_be_had_ends_at_the_limit(name: str, start: float) -> None:
    assert found(CURVES[name], 9.0, start) == 2.0
    assert found(CURVES[name], -1.0, start) == 0.0
