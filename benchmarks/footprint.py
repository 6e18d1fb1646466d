"""What an installation takes on the disk, by distribution, without the extras.

To look at one: `VENV/bin/python -m benchmarks.footprint` in a checkout, where VENV has the wheel.
"""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9._-]+")
#: Smaller ones are told as one number.
_WORTH_NAMING = 1e6


def footprint() -> dict[str, float]:
    """Return megabytes by distribution, largest first, of all that ``pip install maskupe`` brings.

    Compiled Python (``.pyc``) counts, as far as it is there. MaskUPE itself is counted only where
    it was installed from a wheel: an editable installation has no files of its own.
    """
    sizes = {name: _size(name) / 1e6 for name in _needed("maskupe")}
    named = {name: size for name, size in sizes.items() if size * 1e6 >= _WORTH_NAMING}
    ordered = sorted(named.items(), key=lambda item: -item[1])
    return {
        "installed, all, MB": sum(sizes.values()),
        **{f"installed, {name}, MB": size for name, size in ordered},
        "installed, the rest, MB": sum(sizes.values()) - sum(named.values()),
    }


def _needed(top: str) -> list[str]:
    """Return a distribution and, without extras, all that it needs, as far as that is installed."""
    found: list[str] = []
    waiting = [top]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for other systems or Pythons
        found.append(name)
        for need in needs:
            match = _NAME.match(need)
            if match and not re.search(r"\bextra\s*==", need):
                waiting.append(match[0])
    return found


def _size(name: str) -> int:
    files = importlib.metadata.files(name) or []
    places = (Path(str(file.locate())) for file in files)
    return sum(place.stat().st_size for place in places if place.is_file())


if __name__ == "__main__":
    for name, megabytes in footprint().items():
        print(f"{megabytes:6.1f}  {name.removesuffix(', MB')}")
