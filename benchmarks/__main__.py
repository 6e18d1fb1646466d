"""`python -m benchmarks`: what MaskUPE costs, in units of a float32 copy of the same picture.

Every number of one table comes from one process, the cases taken in turn, so that other work on
the machine hits them alike. With `--write` the numbers go to benchmarks.json in that folder, the
page to benchmarks.md and the plot to benchmarks.svg; without it the page is printed.

Sections can be named, to measure a part: where the folder has the numbers of other sections, of
the same commit, processor and options, they stay, so that several short runs make one page.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.card_page import page as card_page
from benchmarks.machine import describe, load
from benchmarks.report import plot, report
from benchmarks.sections import SECTIONS, Setting
from maskupe.parallel import machine_threads

#: What tools/try_card.sh measured on a graphics card, if its file lies beside the others.
CARD = "card.json"
NOTES = Path(__file__).with_name("notes.md")


def main(arguments: list[str] | None = None) -> int:
    """Measure, and prints or writes the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all if none"
    )
    parser.add_argument("--megapixels", type=float, default=24.0, help="size of the main tables")
    parser.add_argument("--threads", type=int, default=min(2, machine_threads()))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="tiny pictures: a test of itself")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="where the report goes")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"there is no section {unknown[0]!r}; use {', '.join(SECTIONS)}")
    if options.quick:
        setting = Setting(0.1, 0.1, options.threads, 1, (0.05, 0.1))
    else:
        small = min(6.0, options.megapixels)
        sizes = (1.0, 6.0, 24.0, 100.0)
        setting = Setting(options.megapixels, small, options.threads, options.rounds, sizes)
    result: dict[str, Any] = {
        "machine": describe(),
        "options": {**asdict(setting), "sizes": list(setting.sizes)},
        "loads": {},
    }
    if options.write is not None:
        _take_up(options.write / "benchmarks.json", result)
    for name in options.sections or SECTIONS:
        print(f"… {name}", file=sys.stderr, flush=True)
        result["loads"][name] = load()
        result[name] = SECTIONS[name](setting)
    page = report(result, NOTES.read_text("utf-8"))
    if options.write is not None and (options.write / CARD).is_file():
        card = json.loads((options.write / CARD).read_text("utf-8"))
        page = f"{page.rstrip()}\n\n{card_page(card, '##')}"
    if options.write is None:
        print(page)
        return 0
    options.write.mkdir(parents=True, exist_ok=True)
    files = {"md": page, "json": json.dumps(result, indent=1) + "\n"}
    if "sizes" in result:
        files["svg"] = plot(result)
    for name, text in files.items():
        (options.write / f"benchmarks.{name}").write_text(text, "utf-8")
    return 0


def _take_up(path: Path, result: dict[str, Any]) -> None:
    """Add what an earlier run measured, if it was the same program on the same machine."""
    if not path.is_file():
        return
    earlier = json.loads(path.read_text("utf-8"))
    if all(earlier.get(name) == result[name] for name in ("machine", "options")):
        result["loads"] |= earlier["loads"]
        result |= {name: earlier[name] for name in SECTIONS if name in earlier}


if __name__ == "__main__":
    sys.exit(main())
