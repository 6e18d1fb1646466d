"""UIEB (Li et al. 2019) as published: ``raw-890/`` and ``reference-890/``, equal names."""

from __future__ import annotations

from pathlib import Path

from maskupe_training.data.splits import divide
from maskupe_training.prepare.writing import finish, first_folder, list_pairs, write_pairs

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
    inputs, targets = list_pairs(raw, reference)
    if len(inputs) != PAIRS:
        print(f"{source} has {len(inputs)} pairs, not the {PAIRS} of UIEB: a part is prepared.")
    splits = divide("uieb", inputs)
    write_pairs(target, inputs, targets, long_edge)
    finish(target, splits, {"data": "UIEB", "long_edge": long_edge})
