"""Manifests: which files a data set had, by SHA-256, so that a training can be repeated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from maskupe.errors import InputError
from maskupe.io.atomic import replace_file
from maskupe_training.data.images import SUFFIXES
from maskupe_training.data.sources import read_json

NAME = "manifest.json"
# Besides pictures, what decides how they are used.
_INDEXES = ("index.json", "split.json", "index.csv")


def write_manifest(folder: Path, about: Mapping[str, Any]) -> Path:
    """Write ``manifest.json``: ``about``, and every picture and index with its SHA-256.

    Args:
        folder: the data set.
        about: what it is and where it comes from; plain values.
    """
    files = {str(path.relative_to(folder)): file_digest(path) for path in _members(folder)}
    content = json.dumps({**about, "count": len(files), "files": files}, indent=1)
    path = folder / NAME
    replace_file(path, content.encode("utf-8"))
    return path


def check_manifest(folder: Path) -> int:
    """Compare a data set with its manifest; return the number of files.

    Raises:
        InputError: if there is no manifest, or the first file that is missing or differs.
    """
    files = read_json(folder / NAME).get("files")
    if not isinstance(files, dict):
        raise InputError(f"{folder / NAME} lists no files.", "Run `maskupe-train prepare` again.")
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path} is in the manifest but missing.", "Restore the file.")
        if file_digest(path) != expected:
            raise InputError(
                f"{path} is not the file that the manifest names.",
                "Restore it, or run `maskupe-train prepare` again.",
            )
    return len(files)


def manifest_digest(folder: Path) -> str:
    """Return SHA-256 over the names and contents of a data set, with or without a manifest file.

    An empty text if the folder does not exist.
    """
    if not folder.is_dir():
        return ""
    total = hashlib.sha256()
    for path in _members(folder):
        total.update(f"{path.relative_to(folder)} {file_digest(path)}\n".encode())
    return total.hexdigest()


def file_digest(path: Path) -> str:
    """Return SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _members(folder: Path) -> Iterable[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and (path.suffix.lower() in SUFFIXES or path.name in _INDEXES)
    )
