"""Stops instead of strength: reading a typed number, and finding the strength that gives it."""

from __future__ import annotations

import re

#: Differences in stops that are not seen in one decimal.
NEAR = 0.045
#: Each step needs a preview. More would not come nearer.
_MOST_STEPS = 8
_NUMBER = re.compile(r"([+-]?)\s*(\d+(?:[.,]\d*)?|[.,]\d+)\s*[^\W\d]*")


def read_stops(text: str) -> float:
    """Return the number in "+1.7 EV", "1,7" or the like.

    Raises:
        ValueError: if there is none.
    """
    found = _NUMBER.fullmatch(text.strip().replace("\N{MINUS SIGN}", "-"))
    if found is None:
        raise ValueError(text)
    return float(found[1] + found[2].replace(",", "."))


class StrengthSearch:
    """Look for the strength at which a picture becomes lighter by a number of stops.

    More strength gives more stops, in no proportion that could be known beforehand.

    Args:
        stops: the number wanted.
        most: the largest strength.
    """

    def __init__(self, stops: float, most: float) -> None:
        self.stops = stops
        self._most = most
        self._less = (0.0, 0.0)  # the largest strength known to give less, and its stops
        self._more: tuple[float, float] | None = None
        self._steps = 0

    def next(self, strength: float, stops: float) -> float | None:
        """Return the strength to try after one that gave so many stops; None to stay with it."""
        self._steps += 1
        if abs(stops - self.stops) <= NEAR or self._steps > _MOST_STEPS:
            return None
        if stops < self.stops:
            self._less = strength, stops
        else:
            self._more = strength, stops
        (low, dark), high = self._less, self._more
        if high is not None and high[1] <= dark:
            return None  # no light at all is more than what is wanted
        if high is not None:
            wanted = low + (high[0] - low) * (self.stops - dark) / (high[1] - dark)
        else:
            wanted = low * self.stops / dark if dark > 0 else self._most
        wanted = round(min(max(wanted, 0.0), self._most), 3)
        return None if wanted == round(strength, 3) else wanted
