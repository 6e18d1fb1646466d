"""The manifest of a batch: one photograph a line, as CSV with a header or as JSON lines.

Every line is checked before the first photograph is touched, so that a slip in line 900 is told
at once and not after an hour; so is that no output is written over another or over a source.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from maskupe import registry
from maskupe.areas.transition import Transition
from maskupe.errors import InputError
from maskupe.io.writing import JPEG_QUALITY, format_of
from maskupe.photo_job import PhotoJob, parse_denoise, parse_edges, parse_width

REQUIRED = ("photo", "output")
OPTIONAL = (
    "mask",
    "model",
    "strength",
    "denoise",
    "warmth",
    "saturation",
    "transition",
    "side",
    "edges",
    "quality",
)
_PATHS = ("photo", "output", "mask")
_NUMBERS = ("strength", "denoise", "warmth", "saturation", "transition", "edges", "quality")


def read_manifest(path: Path | str) -> list[PhotoJob]:
    """Return the jobs of a manifest, in its order.

    Relative paths count from the manifest's directory.

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
    jobs: dict[int, PhotoJob] = {}
    try:
        for number, values in reader(path):
            try:
                jobs[number] = _job(values, path.parent)
            except InputError as error:
                raise InputError(f"{path.name}, line {number}: {error}") from error
    except FileNotFoundError:
        raise InputError(f"There is no manifest {path}.") from None
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"The manifest {path} cannot be read: {reason}.") from error
    if not jobs:
        raise InputError(f"The manifest {path.name} names no photographs.")
    _check_outputs(path.name, jobs)
    return list(jobs.values())


def _check_outputs(name: str, jobs: Mapping[int, PhotoJob]) -> None:
    """Raise unless every output is a file of its own: jobs run in any order, and again."""
    sources: dict[Path, int] = {}
    for number, job in jobs.items():
        for source in (job.photo, job.mask):
            if source is not None:
                sources.setdefault(_resolved(name, number, source), number)
    outputs: dict[Path, int] = {}
    for number, job in jobs.items():
        target = _resolved(name, number, job.output)
        if (other := outputs.setdefault(target, number)) != number:
            raise InputError(
                f"{name}, line {number}: The output {job.output} is that of line {other} already."
            )
        if target in sources:
            raise InputError(
                f"{name}, line {number}: The output {job.output} is the photo or mask of line "
                f"{sources[target]}, which a second run would then start from.",
                "Name another output.",
            )


def _resolved(name: str, number: int, path: Path) -> Path:
    """Return where a path leads to."""
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{name}, line {number}: {path} cannot be followed: its links lead in a circle."
        ) from error


def _text(path: Path) -> str:
    """Return the manifest's text: UTF-8, or UTF-16 as spreadsheets save "Unicode text"."""
    content = path.read_bytes()
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"The manifest {path} cannot be read: it is not UTF-8.",
            "Save it as 'CSV UTF-8', or as Unicode text.",
        ) from error


def _csv_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a table as spreadsheets write it.

    Cells are separated by commas, semicolons or tabs; numbers may have a decimal comma; capitals in
    the header do not count; rows and columns in which nothing stands are no slips.
    """
    text = _text(path)
    separator, skipped = _separator(text)
    lines = io.StringIO(text, newline="")
    for _ in range(skipped):
        lines.readline()
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    header = [name.strip().lower() for name in next(reader, [])]
    names = [name for name in header if name]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"{path.name}, line {1 + skipped}: The column {name!r} is there twice."
            )
    for row in reader:
        number = reader.line_num + skipped
        filled = {index: cell for index, cell in enumerate(row) if cell.strip()}
        if any(index >= len(header) or not header[index] for index in filled):
            raise InputError(f"{path.name}, line {number}: It has more values than the header.")
        # An empty cell is an option left out.
        if filled:
            yield number, {header[index]: _cell(header[index], filled[index]) for index in filled}


def _separator(text: str) -> tuple[str, int]:
    """What separates the cells, and how many lines before the header say so (Excel's ``sep=``)."""
    first = text.partition("\n")[0].strip("\r")
    if first.lower().startswith("sep=") and len(first) == 5:
        return first[4], 1

    def known(separator: str) -> int:
        cells = next(csv.reader([first], delimiter=separator, skipinitialspace=True), [])
        return sum(cell.strip().lower() in REQUIRED + OPTIONAL for cell in cells)

    return max(",;\t", key=known), 0


def _cell(name: str, cell: str) -> str:
    if name not in _NUMBERS:
        return cell if name in _PATHS else cell.strip()
    return re.sub(r"^([+-]?\d*),(\d+)$", r"\1.\2", cell.strip())


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path.name}, line {number}: It is not JSON ({error}).") from error
        if not isinstance(values, dict):
            raise InputError(f"{path.name}, line {number}: It is not a JSON object.")
        yield number, {key: v for key, v in values.items() if v not in (None, "")}


def _job(values: dict[str, Any], folder: Path) -> PhotoJob:
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
        try:
            if not isinstance(text, str) or b"\0" in os.fsencode(text):
                raise InputError(f"The {name} {text!r} is not a path.")
        except UnicodeEncodeError:  # half of a character: no file has such a name
            raise InputError(f"The {name} {text!r} is not a path.") from None
        return folder / text

    output = path("output")
    format_of(output)
    return PhotoJob(
        photo=path("photo"),
        output=output,
        mask=path("mask") if "mask" in values else None,
        model=_model(str(values.get("model", "default")), folder),
        strength=_number(values, "strength", 1.0),
        denoise=parse_denoise(str(values.get("denoise", "auto"))),
        warmth=_number(values, "warmth", 0.0),
        saturation=_number(values, "saturation", 0.0),
        transition=Transition(
            parse_width(str(values.get("transition", "auto"))),
            values.get("side", "outside"),
            parse_edges(str(values.get("edges", "auto"))),
        ),
        quality=_whole_number(values, "quality", JPEG_QUALITY),
    )


def _model(name: str, folder: Path) -> str:
    """Return a model's name, or the path of its weight file, either of which must be there."""
    file = registry.given_file(name)
    if file is None:
        registry.resolve(name)
        return name
    if not registry.is_file(folder / file):
        raise InputError(f"There is no weight file {folder / file}.")
    return str(folder / file)


def _number(values: Mapping[str, Any], name: str, default: float) -> float:
    try:
        if isinstance(values.get(name), bool):
            raise TypeError
        return float(values.get(name, default))
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"The {name} {values[name]!r} is not a number.") from None


def _whole_number(values: Mapping[str, Any], name: str, default: int) -> int:
    number = _number(values, name, default)
    if not number.is_integer():
        raise InputError(f"The {name} {values[name]!r} is not a whole number.")
    return int(number)
