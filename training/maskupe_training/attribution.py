"""Whom a training's photographs are owed to: many of their licences ask to name the authors."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from maskupe_training.data.photos import licensed
from maskupe_training.data.source_factory import SourceRecipe
from maskupe_training.data.sources import split_names
from maskupe_training.recipe import Recipe


def credit_lines(recipe: Recipe, data_root: Path) -> list[str]:
    """One line per author, collection and licence, with the files, of the photographs trained on.

    Taken from the ``index.csv`` of each source of photographs; its column ``author`` is optional.
    Sources without an index add nothing.

    Raises:
        InputError: if an index lacks the columns that a recipe's licences need.
    """
    lines: list[str] = []
    for source in recipe.sources:
        if source.kind == "photos" and (data_root / source.folder / "index.csv").is_file():
            lines += _of_folder(data_root / source.folder, source)
    return lines


def _of_folder(folder: Path, source: SourceRecipe) -> list[str]:
    used = set(licensed(folder, source.licences or ("",)))
    if (folder / "split.json").is_file():
        used &= set(split_names(folder, source.split))
    return lines_of(folder, used)


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
