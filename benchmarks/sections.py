"""The parts of the benchmark that can be run by themselves, each of a minute or two."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.footprint import footprint
from benchmarks.jobs import others, scaling
from benchmarks.measure import Ratio
from benchmarks.rendering import backends, builds, kinds
from benchmarks.service import service


@dataclass(frozen=True)
class Setting:
    """How much is measured.

    Attributes:
        megapixels: size of the main tables.
        small: size where that would take too long.
        threads: of everything but what says otherwise.
        rounds: how often the cases are run in turn.
        sizes: megapixels of the table of sizes.
    """

    megapixels: float
    small: float
    threads: int
    rounds: int
    sizes: tuple[float, ...]

    @property
    def few(self) -> int:
        """Rounds where one takes long."""
        return max(1, self.rounds // 2)


def _sizes(setting: Setting) -> dict[str, Any]:
    return {
        f"{size:g}": _plain(scaling(size, setting.threads, setting.rounds if size < 50 else 2))
        for size in setting.sizes
    }


#: What each measures, as it goes into the JSON file under the same name.
SECTIONS: dict[str, Callable[[Setting], dict[str, Any]]] = {
    "renderer": lambda s: _plain(kinds(s.megapixels, s.threads, s.rounds)),
    "one thread": lambda s: _plain(kinds(s.megapixels, 1, s.few)),
    "builds": lambda s: _plain(builds(s.megapixels, s.threads, s.rounds)),
    "backends": lambda s: _plain(backends(s.small, s.threads, s.few)),
    "other ways": lambda s: _plain(others(s.megapixels, s.threads, s.few)),
    "sizes": _sizes,
    "daemon": lambda s: service(s.megapixels, s.sizes[-1], s.rounds),
    "footprint": lambda _: footprint(),
}


def _plain(rows: Mapping[str, Ratio]) -> dict[str, dict[str, float]]:
    """As JSON wants it, which has no word for what is not a number."""
    return {
        name: {key: value for key, value in asdict(row).items() if not math.isnan(value)}
        for name, row in rows.items()
    }
