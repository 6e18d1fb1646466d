"""`python -m tests.bench`: what MaskUPE costs, in units of a float32 copy of the same picture.

Every number of one table comes from one process, the cases taken in turn, so that other work on
the machine hits them alike. With `--write` the numbers go to docs/benchmarks.json, the page to
docs/benchmarks.md and the plot to docs/benchmarks.svg; without it the page is printed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from maskupe.strips import machine_threads
from tests.bench.jobs import others, scaling
from tests.bench.machine import describe
from tests.bench.measure import Ratio
from tests.bench.rendering import backends, kinds
from tests.bench.report import plot, report
from tests.bench.service import service

NOTES = Path(__file__).with_name("notes.md")


def main(arguments: list[str] | None = None) -> int:
    """Measures, and prints or writes the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--megapixels", type=float, default=24.0, help="size of the main tables")
    parser.add_argument("--threads", type=int, default=min(2, machine_threads()))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="tiny pictures: a test of itself")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="where the report goes")
    options = parser.parse_args(arguments)
    sizes = (0.05, 0.1) if options.quick else (1.0, 6.0, 24.0, 100.0)
    if options.quick:
        options.megapixels, options.rounds = 0.1, 1
    result = measure(options.megapixels, options.threads, options.rounds, sizes)
    page = report(result, NOTES.read_text("utf-8"))
    if options.write is None:
        print(page)
        return 0
    options.write.mkdir(parents=True, exist_ok=True)
    numbers = json.dumps(result, indent=1)
    for name, text in (("md", page), ("svg", plot(result)), ("json", numbers + "\n")):
        (options.write / f"benchmarks.{name}").write_text(text, "utf-8")
    return 0


def measure(
    megapixels: float, threads: int, rounds: int, sizes: tuple[float, ...]
) -> dict[str, Any]:
    """All numbers, as they go into the JSON file."""
    small = min(6.0, megapixels)
    result: dict[str, Any] = {
        "machine": describe(),
        "options": {
            "megapixels": megapixels, "threads": threads, "rounds": rounds, "small": small,
        },
    }  # fmt: skip
    tell("renderer")
    result["kinds"] = plain(kinds(megapixels, threads, rounds))
    result["kinds, 1 thread"] = plain(kinds(megapixels, 1, max(1, rounds // 2)))
    tell("backends")
    result["backends"] = plain(backends(small, threads, max(1, rounds // 2)))
    tell("other ways")
    result["others"] = plain(others(megapixels, threads, max(1, rounds // 2)))
    tell("sizes")
    result["scaling"] = {
        f"{size:g}": plain(scaling(size, threads, rounds if size < 50 else 2)) for size in sizes
    }
    tell("daemon")
    result["service"] = service(megapixels, sizes[-1], rounds)
    return result


def plain(rows: Mapping[str, Ratio]) -> dict[str, dict[str, float]]:
    """As JSON wants it, which has no word for what is not a number."""
    return {
        name: {key: value for key, value in asdict(row).items() if not math.isnan(value)}
        for name, row in rows.items()
    }


def tell(stage: str) -> None:
    """Says on stderr how far it is."""
    print(f"… {stage}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
