"""Well-exposed photographs for synthesis, filtered by the licence of each."""

from __future__ import annotations

import csv
from pathlib import Path

from maskupe.errors import InputError
from maskupe_training.data.images import fit_long_edge, read_rgb, write_rgb
from maskupe_training.data.photos import licensed_images
from maskupe_training.prepare.writing import empty_target, finish, split_by_seed
from maskupe_training.progress import tracked


def prepare_photos(
    source: Path,
    target: Path,
    long_edge: int,
    licences: tuple[str, ...],
    val_share: float,
    seed: int,
) -> None:
    """Write 8-bit JPEG copies, their lines of ``index.csv``, ``split.json`` and a manifest.

    Args:
        source: a folder of photographs; with ``index.csv`` (``file,source,licence,…``) if
            licences are asked for.
        target: the folder to write.
        long_edge: of the copies, in pixels.
        licences: keep photographs whose licence contains one of these; empty keeps all.
        val_share: share of the photographs for validation.
        seed: decides the split.

    Raises:
        InputError: for a folder without pictures or index, no picture under the licences, or a
            target that is not empty.
    """
    paths = {path.name: path for path in licensed_images(source, licences)}
    if not paths:
        raise InputError(
            f"No photograph of {source} has a licence with {' or '.join(licences)}.",
            "Check --licence and index.csv.",
        )
    copies = {name: f"{Path(name).stem}.jpg" for name in paths}
    if len(set(copies.values())) < len(copies):
        raise InputError(f"Two photographs of {source} differ only by suffix.", "Rename one.")
    splits = split_by_seed(list(copies.values()), max(1, round(val_share * len(paths))), seed)
    empty_target(target)
    for name, path in tracked(paths.items(), len(paths), "preparing"):
        write_rgb(target / copies[name], fit_long_edge(read_rgb(path), long_edge))
    _copy_index(source / "index.csv", target / "index.csv", copies)
    finish(target, splits, {"data": "photos", "licences": list(licences), "seed": seed})


def _copy_index(source: Path, target: Path, copies: dict[str, str]) -> None:
    if not source.is_file():
        return
    with source.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        columns = list(reader.fieldnames or ())
        rows = [row | {"file": copies[row["file"]]} for row in reader if row.get("file") in copies]
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
