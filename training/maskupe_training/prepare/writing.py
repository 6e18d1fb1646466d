"""What all preparations share: small 8-bit copies, a split by seed, a manifest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from maskupe.errors import InputError
from maskupe.io.atomic import replace_file
from maskupe_training.data.images import U8, fit_long_edge, list_images, read_rgb
from maskupe_training.data.manifest import write_manifest
from maskupe_training.data.splits import Splits, divide, is_listed
from maskupe_training.progress import tracked


def empty_target(target: Path) -> None:
    """Make the folder to write to.

    Raises:
        InputError: if there is something in it already.
    """
    if target.exists() and any(target.iterdir()):
        raise InputError(f"{target} is not empty.", "Give a new folder.")
    target.mkdir(parents=True, exist_ok=True)


def split_by_seed(names: Sequence[str], val: int, seed: int) -> Splits:
    """Divide names into ``val`` ones for validation and the others for training.

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


def split_into(
    target: Path, names: Sequence[str], val_share: float, test_share: float, seed: int
) -> Splits:
    """Divide the scenes of a data set by our list, if its folder is one of those, else by seed.

    Args:
        target: the folder to write, whose name decides.
        names: of the scenes.
        val_share: share for validation, of one scene at least.
        test_share: share for tests; with so few scenes that it comes to none, there are none.
        seed: decides which.

    Raises:
        InputError: if nothing is left to train on.
    """
    if is_listed(target.name):
        print(f"{target.name} is divided by the lists that come with MaskUPE.")
        return divide(target.name, names)
    test = round(test_share * len(names))
    splits = split_by_seed(names, max(1, round(val_share * len(names))) + test, seed)
    if test:
        held_out = list(map(str, np.random.default_rng(seed).permutation(splits["val"])))
        splits |= {"val": sorted(held_out[test:]), "test": sorted(held_out[:test])}
    return splits


def write_pair(target: Path, name: str, image: U8, reference: U8, long_edge: int) -> None:
    """Write one pair as ``input/NAME.png`` and ``target/NAME.png``, each whole or not at all.

    Raises:
        InputError: if the two differ in size.
        MaskUPEError: if a file cannot be written.
    """
    if image.shape != reference.shape:
        sizes = " and ".join(f"{p.shape[1]}×{p.shape[0]}" for p in (image, reference))
        raise InputError(
            f"The two pictures of the pair {name!r} are {sizes}.",
            "The two must be equally large: check which of them was cropped or turned.",
        )
    for kind, picture in (("input", image), ("target", reference)):
        _, coded = cv2.imencode(".png", fit_long_edge(picture, long_edge)[..., ::-1])
        (target / kind).mkdir(parents=True, exist_ok=True)
        replace_file(target / kind / f"{name}.png", coded.tobytes())


def write_pairs(
    target: Path, inputs: Mapping[str, Path], targets: Mapping[str, Path], long_edge: int
) -> None:
    """Make the folder and write pairs into it, which are read from files by their names.

    Raises:
        InputError: for a pair whose two pictures differ in size, or a folder that is not empty.
    """
    empty_target(target)
    for name, path in tracked(inputs.items(), len(inputs), "preparing"):
        write_pair(target, name, read_rgb(path), read_rgb(targets[name]), long_edge)


def finish(target: Path, splits: Splits, about: Mapping[str, object]) -> None:
    """Write ``split.json`` and ``manifest.json``, and say what was done."""
    (target / "split.json").write_text(json.dumps(splits, indent=1), "utf-8")
    counts = {name: len(members) for name, members in splits.items()}
    write_manifest(target, {**about, "splits": counts})
    parts = ", ".join(f"{count} {name}" for name, count in counts.items())
    print(f"{target}: {parts}.")


def first_folder(source: Path, names: Iterable[str], what: str) -> Path:
    """Return the first of the folders that exists.

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


def list_pairs(inputs_in: Path, targets_in: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the pictures of two folders by name, without suffixes.

    Raises:
        InputError: for a folder that is missing or empty; naming the first picture that has no
            partner, and how many there are.
    """
    inputs = {path.stem: path for path in list_images(inputs_in)}
    targets = {path.stem: path for path in list_images(targets_in)}
    lonely = sorted(set(inputs) ^ set(targets))
    if lonely:
        here, missing = (inputs, targets) if lonely[0] in inputs else (targets, inputs)
        folder = next(iter(missing.values())).parent
        raise InputError(
            f"{here[lonely[0]]} has no partner in {folder} ({len(lonely)} have none).",
            "Complete the download, or remove the pictures without partners.",
        )
    return inputs, targets
