"""What every data set looks like to the trainer: exposures of scenes, drawn by a generator."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskupe.errors import InputError
from maskupe_training.data.images import U8, ImageCache, list_images
from maskupe_training.data.splits import divide, superseded


@dataclass(frozen=True)
class Exposure:
    """A picture to brighten, and what it could look like.

    Attributes:
        name: names the picture in reports.
        image: uint8 (H, W, 3), the underexposed input.
        candidates: uint8 pictures of the same size; the truth in A is the best exposed of them
            (:func:`maskupe_training.data.ground_truth.truth_of`), or the only one.
        fixed: whether there is one reference, which is the truth whatever its brightness.
        alpha: uint8 (H, W), the matte of the subject that is too dark, where there is one: it is
            the selection then, as following its edges would have made it.
    """

    name: str
    image: U8
    candidates: tuple[U8, ...]
    fixed: bool
    alpha: U8 | None = None


class Source(ABC):
    """A data set, or one split of it.

    Attributes:
        scenes: the scenes' names; :meth:`nth` takes their places in it.
    """

    scenes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scenes)

    def draw(self, rng: np.random.Generator) -> Exposure:
        """Return a random exposure of a random scene."""
        return self.nth(int(rng.integers(len(self))), rng)

    @abstractmethod
    def nth(self, scene: int, rng: np.random.Generator) -> Exposure:
        """Return a random exposure of a given scene (modulo their number), for case lists."""


class BracketSource(Source):
    """Real exposure brackets in the SICE layout: ``bracket/``, ``index.json``, ``split.json``.

    ``index.json`` maps a scene to its ``frames`` (file names in ``bracket/``) and which of them are
    ``underexposed``; ``split.json`` maps a split's name to its scenes.
    """

    def __init__(self, folder: Path, split: str, cache: ImageCache) -> None:
        index = read_json(folder / "index.json")
        self._folder = folder / "bracket"
        self._cache = cache
        self._scenes = []
        for scene in split_names(folder, split):
            entry = index.get(scene)
            if not isinstance(entry, dict) or not entry.get("frames"):
                raise InputError(
                    f"{folder / 'index.json'} does not describe the scene {scene}.",
                    "Run `maskupe-train prepare brackets` on the folder again.",
                )
            if entry.get("underexposed"):
                self._scenes.append((scene, entry["frames"], entry["underexposed"]))
        if not self._scenes:
            raise InputError(f"No scene of the split {split!r} in {folder} is underexposed.")
        self.scenes = tuple(name for name, _, _ in self._scenes)

    def nth(self, scene: int, rng: np.random.Generator) -> Exposure:
        """See :class:`Source`; the frame is one of the scene's underexposed ones."""
        name, frames, underexposed = self._scenes[scene % len(self._scenes)]
        chosen = underexposed[rng.integers(len(underexposed))]
        image = self._cache.get(self._folder / chosen)
        others = tuple(self._cache.get(self._folder / f) for f in frames if f != chosen)
        for frame, picture in zip((f for f in frames if f != chosen), others, strict=True):
            if picture.shape != image.shape:
                raise InputError(
                    f"The frames {chosen} and {frame} of scene {name} differ in size.",
                    "A bracket's frames must be aligned and equally large.",
                )
        return Exposure(Path(chosen).stem, image, others, fixed=False)


class PairSource(Source):
    """Pairs of pictures with equal names: ``input/`` and ``target/`` (UIEB, FiveK, your own)."""

    def __init__(self, folder: Path, split: str, cache: ImageCache) -> None:
        inputs = {path.stem: path for path in list_images(folder / "input")}
        targets = {path.stem: path for path in list_images(folder / "target")}
        wanted = split_names(folder, split, everything=sorted(inputs))
        self._cache = cache
        self._pairs = []
        for name in wanted:
            for kind, found in (("input", inputs), ("target", targets)):
                if name not in found:
                    raise InputError(
                        f"The pair {name!r} has no picture in {folder / kind}.",
                        "Add it, or take the name out of split.json.",
                    )
            self._pairs.append((name, inputs[name], targets[name]))
        self.scenes = tuple(wanted)

    def nth(self, scene: int, rng: np.random.Generator) -> Exposure:
        """See :class:`Source`.

        Raises:
            InputError: if the two pictures differ in size.
        """
        name, input_path, target_path = self._pairs[scene % len(self._pairs)]
        image, target = self._cache.get(input_path), self._cache.get(target_path)
        if image.shape != target.shape:
            raise InputError(
                f"{input_path} is {_size(image)} and {target_path} is {_size(target)}.",
                "The two pictures of a pair must be equally large.",
            )
        return Exposure(name, image, (target,), fixed=True)


def _size(image: U8) -> str:
    return f"{image.shape[1]}×{image.shape[0]}"


def read_json(path: Path) -> dict[str, object]:
    """Return a JSON object from a file.

    Raises:
        InputError: if the file is missing or is no JSON object.
    """
    if not path.is_file():
        raise InputError(
            f"There is no {path}.", "Run `maskupe-train prepare` on the data set first."
        )
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} must hold a JSON object.")
    return value


def split_names(folder: Path, split: str, everything: Sequence[str] | None = None) -> list[str]:
    """Return the names in one split of a folder.

    Without ``split.json``, ``everything`` is ``val`` and ``test``. One that is older than our lists
    of scenes gives way to them (:func:`~maskupe_training.data.splits.superseded`).

    Raises:
        InputError: if the split is not there or is empty.
    """
    path = folder / "split.json"
    if everything is not None and not path.is_file():
        if split in ("val", "test"):
            return list(everything)
        raise InputError(
            f"{folder} has no split.json, so all of it counts as 'val' and 'test'.",
            "Run `maskupe-train prepare pairs` to divide it.",
        )
    splits: dict[str, Any] = read_json(path)
    if superseded(folder.name, splits):
        splits = dict(divide(folder.name, [name for names in splits.values() for name in names]))
    names = splits.get(split)
    if not isinstance(names, list) or not names:
        raise InputError(
            f"{path} has no split {split!r}.", f"It has {', '.join(sorted(splits)) or 'none'}."
        )
    return [str(name) for name in names]
