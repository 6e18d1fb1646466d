"""What all preparations share: small 8-bit copies, a split by seed, a manifest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from maskupe.errors import InputError
from maskupe_training.data.images import U8, fit_long_edge, write_rgb
from maskupe_training.data.manifest import write_manifest

Splits = dict[str, list[str]]


def empty_target(target: Path) -> None:
    """Makes the folder to write to.

    Raises:
        InputError: if there is something in it already.
    """
    if target.exists() and any(target.iterdir()):
        raise InputError(f"{target} is not empty.", "Give a new folder.")
    target.mkdir(parents=True, exist_ok=True)


def split_by_seed(names: Sequence[str], val: int, seed: int) -> Splits:
    """Divides names into ``val`` ones for validation and the others for training.

    Raises:
        InputError: if nothing is left to train on, or to validate on.
    """
    if not 0 < val < len(names):
        raise InputError(
            f"{len(names)} scenes cannot be divided into training and {val} for validation.",
            "Add data, or choose another share.",
        )
    shuffled = np.random.default_rng(seed).permutation(sorted(names))
    return {"train": sorted(map(str, shuffled[val:])), "val": sorted(map(str, shuffled[:val]))}


def write_pair(target: Path, name: str, image: U8, reference: U8, long_edge: int) -> None:
    """Writes one pair as ``input/NAME.png`` and ``target/NAME.png``.

    Raises:
        InputError: if the two differ in size.
    """
    if image.shape != reference.shape:
        sizes = " and ".join(f"{p.shape[1]}×{p.shape[0]}" for p in (image, reference))
        raise InputError(
            f"The two pictures of the pair {name!r} are {sizes}.",
            "The two must be equally large: check which of them was cropped or turned.",
        )
    write_rgb(target / "input" / f"{name}.png", fit_long_edge(image, long_edge))
    write_rgb(target / "target" / f"{name}.png", fit_long_edge(reference, long_edge))


def finish(target: Path, splits: Splits, about: Mapping[str, object]) -> None:
    """Writes ``split.json`` and ``manifest.json``, and says what was done."""
    (target / "split.json").write_text(json.dumps(splits, indent=1), "utf-8")
    counts = {name: len(members) for name, members in splits.items()}
    write_manifest(target, {**about, "splits": counts})
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    print(f"{target}: {told}.")


def first_folder(source: Path, names: Iterable[str], what: str) -> Path:
    """The first of the folders that exists.

    Raises:
        InputError: if there is none of them; the sentence lists them.
    """
    names = list(names)
    for name in names:
        if (source / name).is_dir():
            return source / name
    raise InputError(
        f"{source} has no folder with {what}.", f"It should be one of: {', '.join(names)}."
    )


def check_same_names(inputs: Mapping[str, Path], targets: Mapping[str, Path]) -> None:
    """Checks that every picture has its partner.

    Raises:
        InputError: naming the first that has none, and how many there are.
    """
    lonely = sorted(set(inputs) ^ set(targets))
    if lonely:
        here, missing = (inputs, targets) if lonely[0] in inputs else (targets, inputs)
        folder = next(iter(missing.values())).parent
        raise InputError(
            f"{here[lonely[0]]} has no partner in {folder} ({len(lonely)} have none).",
            "Complete the download, or remove the pictures without partners.",
        )
