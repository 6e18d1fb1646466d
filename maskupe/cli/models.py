"""``maskupe models``: the registry, with what the installed weight files say about themselves."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from typing import Any

from maskupe import registry, weights_file
from maskupe.errors import WeightsError

# Columns of a terminal that has room for measurements.
_WIDE = 120


def show_models(as_json: bool) -> None:
    """Print the models to stdout, as a table for people or as JSON for programs."""
    entries = [describe(name, count=as_json) for name in registry.MODELS]
    if as_json:
        sys.stdout.write(json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    # A narrow terminal gets what a choice is made by; `--json` has the rest.
    wide = console.width >= _WIDE
    table = Table(box=None, pad_edge=False)
    for title in ("name", "weights are for", *(["measured"] if wide else []), ""):
        table.add_column(title, no_wrap=title == "name")
    for entry in entries:
        if not entry["installed"]:
            continue
        name = f"{entry['name']} (default)" if entry["default"] else entry["name"]
        cells = [name, entry["licence"].partition(",")[0]]
        if wide:
            cells.append(_short(entry["metrics"]))
        table.add_row(*cells, entry["description"])
    console.print(table)
    for entry in entries:
        if "problem" in entry:
            console.print(f"{entry['name']}: {entry['problem']}", soft_wrap=True, markup=False)
    absent = [e["name"] for e in entries if not e["installed"] and "problem" not in e]
    if absent:
        console.print()
        for line in (
            f"For research, not installed: {', '.join(absent)}.",
            registry.GET_RESEARCH_WEIGHTS,
        ):
            console.print(line, soft_wrap=True, highlight=False, markup=False)


def describe(name: str, count: bool = True) -> dict[str, Any]:
    """Return one model as JSON-ready values; what its weight file says wins over the registry.

    Returns:
        ``name``, ``default``, ``installed``, ``network``, ``conditioning``,
        ``learned_transition``, ``licence``, ``description``, ``training_data`` and ``metrics``
        (these two as the weight file has them; empty where none is installed), ``parameters`` and
        ``multiply_adds`` of one prediction (from the weight file, or counted where PyTorch is
        installed, else None). A weight file that cannot be read adds ``problem``.
    """
    config = registry.MODELS[name]
    path = registry.weights_path(config)
    entry: dict[str, Any] = {
        "name": config.name,
        "default": config.name == registry.DEFAULT,
        "installed": path is not None,
        "network": config.network,
        "conditioning": config.conditioning,
        "learned_transition": config.learned_transition,
        "licence": config.licence,
        "description": config.description,
        "training_data": "",
        "metrics": {},
        "parameters": None,
        "multiply_adds": None,
    }
    if path is None:
        return entry | _count(config) if count else entry
    try:
        header = weights_file.read_header(path)
        entry["training_data"] = header.metadata.get("training_data", "")
        entry["licence"] = header.metadata.get("licence") or config.licence
        entry["metrics"] = header.json("metrics") or {}
        for size in ("parameters", "multiply_adds"):
            entry[size] = header.json(size) if size in header.metadata else None
        if count and entry["parameters"] is None:
            entry |= _count(config)
    except WeightsError as error:
        entry["installed"] = False
        entry["problem"] = str(error)
    return entry


def _count(config: registry.ModelConfig) -> dict[str, int]:
    """Count what a model that is not installed would have; nothing where there is no PyTorch."""
    if find_spec("torch") is None:
        return {}
    from maskupe.inference.build import build
    from maskupe.networks.complexity import complexity

    return complexity(build(config))


def _short(metrics: Any) -> str:
    """Return measurements in one cell; nested ones are left to ``--json``."""
    if not isinstance(metrics, dict):
        return ""
    numbers = [
        (name, value)
        for name, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return ", ".join(f"{name} {value:.4g}" for name, value in numbers[:4])
