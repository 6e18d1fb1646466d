"""What an evaluation leaves behind: a table for the terminal, Markdown, JSON, CSV."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maskupe.errors import InputError
from maskupe_training.data.sources import read_json
from maskupe_training.evaluation.measure import COLUMNS, OF_A, Kinds, Values
from maskupe_training.tables import markdown, print_table

#: What the row of a global model has after its name.
BLENDED = ", blended"

#: What the row of a network alone, f(I, M), has after its name.
RAW = ", raw"

_DIGITS = {
    "psnr_a": 2,
    "psnr_a_gamma_aligned": 2,
    "halo": 1,
    "largest_c": 0,
    "step": 2,
    "ciede2000_a": 2,
}
# Columns about A, which come first: PSNR has two more, its interval and the difference.
_OF_A = len(OF_A) + 2


def print_summaries(title: str, summaries: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the summaries as two tables, narrow enough for a terminal: A, then B and C."""
    for name, columns in (("A", slice(0, _OF_A)), ("B and C", slice(_OF_A, None))):
        rows = [[method, *_cells(summary)[columns]] for method, summary in summaries.items()]
        print_table(f"{title}: {name}", ["method", *_headings()[columns]], rows)


def markdown_table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the summaries as a Markdown table."""
    rows = [[name, *_cells(summary)] for name, summary in summaries.items()]
    return markdown(["method", *_headings()], rows) + "\n"


def kinds_tables(kinds: Kinds) -> str:
    """Return a Markdown table for each metric in A, by kind of selection, a method a row."""
    methods = [name for name in next(iter(kinds.values())) if name != "n"]
    measured = next(iter(kinds.values()))[methods[0]]
    tables = []
    for metric in (name for name in OF_A if name in measured):
        title = COLUMNS[metric] if metric != "psnr_a_gamma_aligned" else "PSNR A, gamma-aligned"
        headings = [title, *(f"{kind.replace('_', ' ')} ({k['n']})" for kind, k in kinds.items())]
        digits = _DIGITS.get(metric, 3)
        rows = [
            [method, *(f"{kind[method][metric]:.{digits}f}" for kind in kinds.values())]
            for method in methods
        ]
        tables.append(markdown(headings, rows) + "\n")
    return "\n".join(tables)


def command(request: Mapping[str, Any]) -> str:
    """Return the command line that measures what a request asks for."""
    words = ["maskupe-train evaluate", *request["models"], "--data DATA"]
    for option in ("kind", "folder", "split", "cases", "seed"):
        words.append(f"--{option} {request[option]}")
    words += [f"--silhouettes {folder}" for folder in request["silhouettes"]]
    words += [f"--kinds {kind}" for kind in request.get("kinds", ())]
    words += [f"--{flag}" for flag in ("raw", "slow") if request.get(flag)]
    if request.get("denoise"):
        words.append(f"--denoise {request['denoise']}")
    if request.get("edges", "off") != "off":
        words.append(f"--edges {request['edges']}")
    if not request["baselines"]:
        words.append("--no-baselines")
    return " ".join([*words, "--out runs/evaluation"])


def write_json(
    path: Path,
    request: Mapping[str, Any],
    summaries: Mapping[str, Mapping[str, Any]],
    kinds: Kinds,
    rows: Mapping[str, Sequence[Values]],
    names: Sequence[str],
) -> None:
    """Everything: the request, the summaries, means by kind, and every value of every case."""
    cases = {
        method: [
            {"case": name} | {k: v if math.isfinite(v) else None for k, v in row.items()}
            for name, row in zip(names, own, strict=True)
        ]
        for method, own in rows.items()
    }
    content = {"request": request, "summary": summaries, "kinds": kinds, "cases": cases}
    path.write_text(json.dumps(content, indent=1), "utf-8")


def write_csv(path: Path, rows: Mapping[str, Sequence[Values]], names: Sequence[str]) -> None:
    """One line per method and case."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["method", "case", *COLUMNS])
        for method, own in rows.items():
            for name, row in zip(names, own, strict=True):
                writer.writerow([method, name, *(row[column] for column in COLUMNS)])


def card_metrics(path: Path, model: str) -> dict[str, Any]:
    """Return what an evaluation's JSON says about a model, for its card.

    Raises:
        InputError: if the file is no evaluation or does not have that model.
    """
    content = read_json(path)
    summaries, request = content.get("summary"), content.get("request")
    if not isinstance(summaries, dict) or not isinstance(request, dict):
        raise InputError(f"{path} is no evaluation.", "Give the JSON that `evaluate` wrote.")
    row = model
    # A global model's row says that it was blended.
    model = f"{model}{BLENDED}" if f"{model}{BLENDED}" in summaries else model
    if model not in summaries:
        raise InputError(f"{path} does not measure {model!r}.", f"It has {', '.join(summaries)}.")
    measured = {"": summaries[model], "raw_": summaries.get(row + RAW, {})}
    prefix = f"{request['folder']}_{request['split']}"
    found = {f"{prefix}_{name}": request[name] for name in ("seed", "long_edge") if name in request}
    for kind, summary in measured.items():
        for name, value in summary.items():
            if isinstance(value, list):
                value = " … ".join(f"{_round(name, part)}" for part in value)
            elif isinstance(value, float):
                value = _round(name, value)
            found[f"{prefix}_{kind}{name}"] = value
    return found | {f"{prefix}_command": command(request)}


def _headings() -> list[str]:
    first, *others = COLUMNS.values()
    return [first, "95 %", "vs linear gain", *others]


def _cells(summary: Mapping[str, Any]) -> list[str]:
    low, high = summary["psnr_a_interval"]
    cells = [f"{summary['psnr_a']:.2f}", f"{low:.1f}…{high:.1f}"]
    if "psnr_a_gain" in summary:
        low, high = summary["psnr_a_gain_interval"]
        cells.append(f"{summary['psnr_a_gain']:+.2f} ({low:+.1f}…{high:+.1f})")
    else:
        cells.append("")
    for name in list(COLUMNS)[1:]:
        value = summary.get(name)  # an evaluation may be older than the metric
        cells.append("–" if value is None else f"{value:.{_DIGITS.get(name, 3)}f}")
    return cells


def _round(name: str, value: float) -> float:
    return round(value, _DIGITS.get(name, 3))
