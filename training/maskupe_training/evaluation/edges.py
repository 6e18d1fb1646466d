"""Measures where the light goes: along outlines, with lines drawn by hand and without edges."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskupe import Enhancer, Transition
from maskupe.errors import InputError
from maskupe_training.data.images import U8
from maskupe_training.evaluation.edge_cases import KINDS, circles, edge_cases
from maskupe_training.evaluation.edge_metrics import UNDERLIT, outline_quality, steepest, wiped
from maskupe_training.tables import markdown, print_table

#: The columns, with what they are called and how many digits they have.
COLUMNS: Mapping[str, tuple[str, int]] = {
    "leak": ("leak", 3),
    "miss": ("miss", 3),
    "edge": ("edge", 3),
    "far": ("far", 3),
    "ring": ("ring dB", 1),
    "scale": ("scale", 2),
    "underlit": ("underlit", 0),
    "wiped": ("wiped %", 2),
    "wiped_by_truth": ("by the truth", 2),
}
#: The columns about circles.
CIRCLE_COLUMNS = {"steepest": ("steepest", 2), "worst": ("worst", 2), "n": ("circles", 0)}


@dataclass(frozen=True)
class EdgeRequest:
    """What to measure.

    Attributes:
        model: registry name or path of a weight file.
        matting: the matting network, likewise.
        folders: within the data root, each with ``image/`` and ``mask/``.
        photos: a folder of photographs within the data root, for circles.
        cases: how many at most; all if None.
        circles: how many at most.
        seed: decides light, noise and lines.
        held_out: only pictures that no training of the matting network sees.
    """

    model: str = "default"
    matting: str = "default"
    folders: tuple[str, ...] = ("portrait_ccp", "portrait_humanseg", "portrait_matting")
    photos: str = "cc_photos"
    cases: int | None = None
    circles: int = 24
    seed: int = 1
    held_out: bool = True


def evaluate_edges(
    request: EdgeRequest, data_root: Path, out: Path | None = None, threads: int = 1
) -> dict[str, Any]:
    """Measure, print the tables, and write the JSON.

    Args:
        request: what to measure.
        data_root: the folder that the data sets lie in.
        out: a file for the JSON.
        threads: CPU threads of the full-size stage.

    Returns:
        What the JSON holds: ``request``, ``n``, ``summary`` and ``circles`` by row, ``cases``.

    Raises:
        InputError: for data that is missing or holds no case.
        UnknownModelError, WeightsError: for a model that cannot be loaded.
    """
    enhancer = Enhancer.load(request.model, threads=threads, matting=request.matting)
    rows: dict[str, list[dict[str, float]]] = {}
    names: list[str] = []
    folders = [data_root / folder for folder in request.folders]
    drawn = edge_cases(folders, request.seed, request.cases, request.held_out)
    for case in drawn:
        names.append(case.name)
        for kind in KINDS:
            selection = case.selections[kind]
            by_truth = 100.0 * wiped(case.image, case.truth, selection)
            for edges in ("auto", "off"):
                output = _brightened(enhancer, case.image, selection, edges)
                values = outline_quality(case.image, output, case.truth, case.alpha)
                values["wiped"] = 100.0 * wiped(case.image, output, selection)
                values["wiped_by_truth"] = by_truth
                rows.setdefault(row_name(kind, edges), []).append(values)
    if not names:
        raise InputError("None of the pictures is fit for a case.", "Give others, or --all.")
    steps: dict[str, list[float]] = {}
    found = circles(data_root / request.photos, request.seed, request.circles, request.held_out)
    for circle in found:
        for edges in ("auto", "off"):
            output = _brightened(enhancer, circle.image, circle.selection, edges)
            step = steepest(circle.image, output, circle.selection, circle.width)
            steps.setdefault(row_name("circle", edges), []).append(step)
    content: dict[str, Any] = {
        "request": asdict(request),
        "n": len(names),
        "summary": {row: summarise(values) for row, values in rows.items()},
        "circles": {
            row: {"steepest": float(np.mean(own)), "worst": max(own), "n": len(own)}
            for row, own in steps.items()
        },
        "cases": {
            row: [{"case": name} | own for name, own in zip(names, values, strict=True)]
            for row, values in rows.items()
        },
    }
    title = f"{content['n']} cases, seed {request.seed}"
    print_table(title, *_head_and_rows("selection", content["summary"], COLUMNS))
    title = "circles where the photograph has no edge"
    print_table(title, *_head_and_rows("selection", content["circles"], CIRCLE_COLUMNS))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(content, indent=1), "utf-8")
    return content


def row_name(kind: str, edges: str) -> str:
    """Return what a row is called."""
    return kind if edges == "auto" else f"{kind}, edges off"


def summarise(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return means over cases; the median of the scale, and how many cases are underlit."""
    scales = np.array([row["scale"] for row in rows])
    found = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    found["scale"] = float(np.median(scales))
    found["underlit"] = float(np.count_nonzero(scales > UNDERLIT))
    return found


def markdown_tables(content: Mapping[str, Any]) -> tuple[str, str]:
    """Return the tables of outlines and of circles, as Markdown."""
    outlines = _head_and_rows(f"{content['n']} cases", content["summary"], COLUMNS)
    circles = _head_and_rows("no edge near the line", content["circles"], CIRCLE_COLUMNS)
    return markdown(*outlines), markdown(*circles)


def _head_and_rows(
    first: str, summaries: Mapping[str, Mapping[str, float]], columns: Mapping[str, tuple[str, int]]
) -> tuple[list[str], list[list[str]]]:
    """Return a table's head, which begins with ``first``, and its rows."""

    def cell(value: float, digits: int) -> str:
        return f"{value:.{digits}f}" if math.isfinite(value) else "–"

    rows = [
        [row, *(cell(values[name], digits) for name, (_, digits) in columns.items())]
        for row, values in summaries.items()
    ]
    return [first, *(heading for heading, _ in columns.values())], rows


def _brightened(enhancer: Enhancer, image: U8, selection: U8, edges: Any) -> U8:
    transition = Transition(edges=edges)
    return np.asarray(enhancer.enhance(image, selection, transition=transition), np.uint8)
