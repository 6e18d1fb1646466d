"""The manifest of a batch: one photograph a line, as CSV with a header or as JSON lines.

Every line is checked before the first photograph is touched, so that a slip in line 900 is told
at once and not after an hour.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maskupe.errors import InputError
from maskupe.jobs import Job, parse_width

REQUIRED = ("photo", "output")
OPTIONAL = ("mask", "model", "strength", "transition", "side", "quality")


def read_manifest(path: Path | str) -> list[Job]:
    """The jobs of a manifest, in its order; relative paths count from the manifest's directory.

    Raises:
        InputError: with the line's number, for whatever cannot be a job.
    """
    path = Path(path)
    readers = {".csv": _csv_lines, ".jsonl": _json_lines, ".ndjson": _json_lines}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"The manifest {path.name} is neither .csv nor .jsonl.", "Rename it to what it is."
        )
    jobs: list[Job] = []
    outputs: dict[Path, int] = {}
    try:
        for number, values in reader(path):
            try:
                job = _job(values, path.parent)
                if (other := outputs.setdefault(job.output.resolve(), number)) != number:
                    raise InputError(f"The output {job.output} is that of line {other} already.")
            except InputError as error:
                raise InputError(f"{path.name}, line {number}: {error}") from error
            jobs.append(job)
    except FileNotFoundError:
        raise InputError(f"There is no manifest {path}.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The manifest {path} cannot be read: {error}.") from error
    if not jobs:
        raise InputError(f"The manifest {path.name} names no photographs.")
    return jobs


def _csv_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        for row in reader:
            if None in row:
                raise InputError(
                    f"{path.name}, line {reader.line_num}: It has more values than the header."
                )
            # An empty cell is an option left out.
            yield reader.line_num, {key: value for key, value in row.items() if value}


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except ValueError as error:
                raise InputError(
                    f"{path.name}, line {number}: It is not JSON ({error})."
                ) from error
            if not isinstance(values, dict):
                raise InputError(f"{path.name}, line {number}: It is not a JSON object.")
            yield number, {key: value for key, value in values.items() if value is not None}


def _job(values: dict[str, Any], folder: Path) -> Job:
    for name in REQUIRED:
        if name not in values:
            raise InputError(f"It names no {name}.")
    for name in values:
        if name not in REQUIRED + OPTIONAL:
            raise InputError(
                f"The option {name!r} is unknown.", f"Use {', '.join(REQUIRED + OPTIONAL)}."
            )

    def path(name: str) -> Path:
        text = values[name]
        if not isinstance(text, str):
            raise InputError(f"The {name} {text!r} is not a path.")
        return folder / text

    job = Job(
        photo=path("photo"),
        output=path("output"),
        mask=path("mask") if "mask" in values else None,
        model=str(values.get("model", "default")),
        strength=_number(values, "strength", 1.0),
        width=parse_width(str(values.get("transition", "auto"))),
        side=values.get("side", "outside"),
        quality=int(_number(values, "quality", 95)),
    )
    job.transition  # noqa: B018  # raises for a width or side that cannot be
    if job.output.resolve() == job.photo.resolve():
        raise InputError(
            "A batch cannot replace its photos, since a second run would enhance them twice.",
            "Name another output.",
        )
    return job


def _number(values: dict[str, Any], name: str, default: float) -> float:
    try:
        return float(values.get(name, default))
    except (TypeError, ValueError):
        raise InputError(f"The {name} {values[name]!r} is not a number.") from None
