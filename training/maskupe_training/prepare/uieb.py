"""UIEB (Li et al. 2019) as published: ``raw-890/`` and ``reference-890/``, equal names."""

from __future__ import annotations

from pathlib import Path

from maskupe_training.data.images import list_images, read_rgb
from maskupe_training.data.splits import divide
from maskupe_training.prepare.writing import (
    check_same_names,
    empty_target,
    finish,
    first_folder,
    write_pair,
)
from maskupe_training.progress import tracked

#: How many pairs are published.
PAIRS = 890


def prepare_uieb(source: Path, target: Path, long_edge: int) -> None:
    """Write 8-bit copies, ``split.json`` by our lists (about 90 pairs for tests) and a manifest.

    Raises:
        InputError: for folders that are missing or empty, pictures without a partner, pairs of
            different sizes, or a target that is not empty.
    """
    raw = first_folder(source, ("raw-890", "raw", "input"), "the raw pictures")
    reference = first_folder(source, ("reference-890", "reference", "target"), "the references")
    inputs = {path.stem: path for path in list_images(raw)}
    targets = {path.stem: path for path in list_images(reference)}
    check_same_names(inputs, targets)
    if len(inputs) != PAIRS:
        print(f"{source} has {len(inputs)} pairs, not the {PAIRS} of UIEB: a part is prepared.")
    splits = divide("uieb", inputs)
    empty_target(target)
    for name, path in tracked(inputs.items(), len(inputs), "preparing"):
        write_pair(target, name, read_rgb(path), read_rgb(targets[name]), long_edge)
    finish(target, splits, {"data": "UIEB", "long_edge": long_edge})
