"""Your own pairs: ``input/`` and ``target/``, paired by file name without its suffix."""

from __future__ import annotations

from pathlib import Path

from maskupe_training.prepare.writing import finish, list_pairs, split_into, write_pairs


def prepare_pairs(
    source: Path,
    target: Path,
    long_edge: int,
    val_share: float,
    seed: int,
    test_share: float = 0.0,
) -> None:
    """Write 8-bit copies, ``split.json`` and a manifest.

    Raises:
        InputError: for folders that are missing or empty, pictures without a partner, pairs of
            different sizes, or a target that is not empty.
    """
    inputs, targets = list_pairs(source / "input", source / "target")
    splits = split_into(target, list(inputs), val_share, test_share, seed)
    write_pairs(target, inputs, targets, long_edge)
    finish(target, splits, {"data": "pairs", "long_edge": long_edge, "seed": seed})
