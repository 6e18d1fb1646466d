"""The model card: a page in Markdown, written from the weight file's own metadata.

Many licences of photographs ask to name their authors, so that they are part of it.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from maskupe import weights_file
from maskupe.io.atomic import replace_file
from maskupe.weights_file import Header, digest
from maskupe_training.config import current_names
from maskupe_training.data.photos import licensed
from maskupe_training.data.sources import split_names
from maskupe_training.data.splits import describe_scenes
from maskupe_training.recipe import Recipe

_USE = (
    "Lights up a selected, underexposed part of a photograph and leaves the rest as it is.",
    "It does not remove noise, cannot bring back what was clipped to black, and was not",
    "made for restoring evidence or for medical pictures.",
)
_USE_OF_MATTING = (
    "Says how much of each pixel near a drawn line belongs to the subject that the line is around,",
    "so that light follows its outline. It needs the line: it finds nobody in a photograph by",
    "itself, and was not made to identify or to count people.",
)


_OF_VAL = (
    "What begins with *val* is of the cases that the checkpoint was chosen by, at the size that it",
    "was trained at: it is higher than on other ones, and not to be compared with anything else.",
)


def write_card(path: Path, measured: Mapping[str, Any] | None = None) -> Path:
    """Write the card beside a weight file; return its path.

    Args:
        path: the ``.safetensors`` file.
        measured: metrics that are not in the file, since they were measured later.

    Raises:
        WeightsError: if the file is missing, or is not one of ours.
        MaskUPEError: if the card cannot be written.
    """
    header, arrays = weights_file.read(path)
    parameters = int(header.metadata.get("parameters") or sum(a.size for a in arrays.values()))
    card = path.with_suffix(".md")
    replace_file(card, _page(path, header, parameters, measured).encode("utf-8"))
    return card


def _page(path: Path, header: Header, parameters: int, measured: Mapping[str, Any] | None) -> str:
    """Return the card as Markdown with the front matter that Hugging Face reads."""
    metadata = header.metadata
    stored = header.json("recipe") or {}
    recipe = current_names(stored)
    lines = [
        *_front_matter(metadata),
        f"# {path.stem}",
        "",
        str(recipe.get("description", "")),
        "",
        "| | |",
        "|---|---|",
        f"| Network | {metadata.get('network', '')}, {parameters:,} parameters |",
        *([f"| Conditioning | {metadata['conditioning']} |"] if "conditioning" in metadata else []),
        f"| Licence of the weights | {metadata.get('licence', '')} |",
        f"| Trained on | {_data(recipe)} |",
        f"| Data manifest | {metadata.get('training_data', '')} |",
        *(f"| Scenes | {text} |" for text in describe_scenes(header)),
        *_started(header),
        *_level(metadata),
        f"| Seed | {metadata.get('seed', '')} |",
        f"| Source commit | {metadata.get('commit', '')} |",
        f"| Created | {metadata.get('created', '')} |",
        f"| SHA-256 | `{digest(path)}` |",
        "",
        "Trained with",
        "",
        f"    {metadata.get('command', '')}",
        "",
    ]
    deviations = recipe.get("deviations")
    if deviations:
        lines += ["## Where it differs from the paper", "", str(deviations), ""]
    lines += _metrics({**(header.json("metrics") or {}), **(measured or {})})
    lines += [
        "## Intended use and limits",
        "",
        *(_USE_OF_MATTING if metadata.get("network") == "matting" else _USE),
        "",
    ]
    credits = header.json("credits")
    if credits:
        lines += ["## Credits", ""] + [f"- {line}" for line in credits] + [""]
    lines += ["## Recipe", "", "```json", json.dumps(stored, indent=1), "```", ""]
    return "\n".join(lines)


def _level(metadata: Mapping[str, str]) -> list[str]:
    if "stops" not in metadata:
        return []
    return [f"| Level | {float(metadata['stops']):+} EV at export (`--stops`), chosen on val |"]


def _started(header: Header) -> list[str]:
    start = header.json("started_from")
    if not start:
        return []
    facts = f"{start['tensors']} of {start['of']} tensors, sha256:{start['sha256']}"
    return [f"| Started from | {start['name']}: {facts}; licence: {start['licence']} |"]


def _front_matter(metadata: Mapping[str, str]) -> list[str]:
    """Return YAML, of plain words only."""
    matting = metadata.get("network") == "matting"
    tags = ["image-matting"] if matting else ["low-light", "underexposure", "image-enhancement"]
    tags += [
        word for key in ("network", "conditioning") if (word := metadata.get(key)) and not matting
    ]
    licence = re.sub(r"[^a-z]+", "-", metadata.get("licence", "").lower()).strip("-")
    return [
        "---",
        "license: other",
        f"license_name: {licence or 'unknown'}",
        "library_name: maskupe",
        f"pipeline_tag: {'image-segmentation' if matting else 'image-to-image'}",
        "tags:",
        *(f"- {tag}" for tag in ["maskupe", *tags]),
        "---",
        "",
    ]


def _data(recipe: Mapping[str, Any]) -> str:
    if recipe.get("task") == "matte":
        parts = [(recipe[kind]["folder"], kind) for kind in ("cutouts", "photos")]
        parts += [(folder, "with masks") for folder in recipe["masked"]["folders"]]
        return ", ".join(f"`{folder}` ({what})" for folder, what in parts)
    return ", ".join(
        f"{source['kind']} `{source['folder']}` ({source['split']})"
        for source in recipe.get("sources", [])
    )


def _metrics(metrics: Mapping[str, Any]) -> list[str]:
    if not metrics:
        return []
    rows = [
        f"| {name.replace('_', ' ')} | {_cell(value)} |" for name, value in sorted(metrics.items())
    ]
    lines = ["## Measured", "", "| | |", "|---|---|", *rows, ""]
    if "val_psnr_a" in metrics:
        lines += [*_OF_VAL, ""]
    return lines


def _cell(value: Any) -> str:
    command = isinstance(value, str) and value.startswith("maskupe-train ")
    return f"`{value}`" if command else str(value)


def credit_lines(recipe: Recipe, data_root: Path) -> list[str]:
    """One line per author, collection and licence, with the files, of the photographs trained on.

    Taken from the ``index.csv`` of each source of photographs; its column ``author`` is optional.
    Sources without an index add nothing.

    Raises:
        InputError: if an index lacks the columns that a recipe's licences need.
    """
    lines: list[str] = []
    for source in recipe.sources:
        folder = data_root / source.folder
        if source.kind == "photos" and (folder / "index.csv").is_file():
            used = set(licensed(folder, source.licences or ("",)))
            if (folder / "split.json").is_file():
                used &= set(split_names(folder, source.split))
            lines += lines_of(folder, used)
    return lines


def lines_of(folder: Path, used: Collection[str]) -> list[str]:
    """Return one line per author, collection and licence of some files of a folder with an index.

    Args:
        folder: holds ``index.csv``.
        used: names of the files that are owed to somebody.
    """
    files: dict[str, list[str]] = {}
    with (folder / "index.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["file"] in used:
                names = [row[key] for key in ("author", "source") if row.get(key)]
                whom = f"{', '.join(names) or folder.name} ({row['licence']})"
                files.setdefault(whom, []).append(row["file"])
    return [f"{whom}: {', '.join(sorted(members))}" for whom, members in sorted(files.items())]
