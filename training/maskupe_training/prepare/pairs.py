"""Your own pairs: ``input/`` and ``target/``, paired by file name without its suffix."""

from __future__ import annotations

from pathlib import Path

from maskupe_training.data.images import list_images, read_rgb
from maskupe_training.prepare.writing import (
    check_same_names,
    empty_target,
    finish,
    split_into,
    write_pair,
)
from maskupe_training.progress import tracked


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
    inputs = {path.stem: path for path in list_images(source / "input")}
    targets = {path.stem: path for path in list_images(source / "target")}
    check_same_names(inputs, targets)
    splits = split_into(target, list(inputs), val_share, test_share, seed)
    empty_target(target)
    for name, path in tracked(inputs.items(), len(inputs), "preparing"):
        write_pair(target, name, read_rgb(path), read_rgb(targets[name]), long_edge)
    finish(target, splits, {"data": "pairs", "long_edge": long_edge, "seed": seed})
