"""`python -m tests.bench`: the renderer in units of a float32 copy of the same picture.

Every number of one table comes from one process, the cases taken in turn, so that other work on
the machine hits them alike. Prints Markdown; `--json FILE` keeps the samples' summary with the
hardware and the commit.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from maskupe.strips import machine_threads
from tests.bench.machine import describe
from tests.bench.rendering import EXTRAS, compare, kinds, scaling
from tests.bench.table import markdown


def main() -> int:
    """Runs the chosen tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--megapixels", type=float, default=24.0, help="size of the main table")
    parser.add_argument("--threads", type=int, default=min(2, machine_threads()))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default="1,6,24", help="megapixels of the scaling table")
    parser.add_argument(
        "--tables", default="kinds,scaling,others", help="which of kinds, scaling, others"
    )
    parser.add_argument("--noise", action="store_true", help="white noise, not a photograph")
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()

    wanted = options.tables.split(",")
    result: dict[str, object] = {"machine": describe(), "options": vars(options) | {"json": None}}
    common = {"threads": options.threads, "rounds": options.rounds, "noise": options.noise}
    print(f"{options.threads} threads, {options.rounds} rounds; {describe()}\n", flush=True)
    if "kinds" in wanted:
        rows = kinds(options.megapixels, strength=options.strength, **common)
        print(f"### Kinds of map, {options.megapixels:g} MP\n\n{markdown(rows)}\n", flush=True)
        result["kinds"] = {name: asdict(row) for name, row in rows.items()}
    if "scaling" in wanted:
        for size in (float(text) for text in options.sizes.split(",")):
            rows = scaling(size, **common)
            print(f"### Scaling, {size:g} MP\n\n{markdown(rows)}\n", flush=True)
            result[f"scaling {size:g}"] = {name: asdict(row) for name, row in rows.items()}
    if "others" in wanted:
        rows = compare(min(options.megapixels, EXTRAS), **common)
        size = min(options.megapixels, EXTRAS)
        print(f"### Against other ways, {size:g} MP\n\n{markdown(rows)}\n", flush=True)
        result["others"] = {name: asdict(row) for name, row in rows.items()}
    if options.json:
        options.json.write_text(json.dumps(result, indent=1, default=str), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
