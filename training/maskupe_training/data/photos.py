"""A folder of well-exposed photographs as a data set, each under a licence of its own."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maskupe.errors import InputError
from maskupe_training.data.images import ImageCache, list_images
from maskupe_training.data.sources import Exposure, Source, split_names
from maskupe_training.data.synthesis import SynthesisRecipe, bracket, draw_response, underexpose


class PhotoSource(Source):
    """A folder of well-exposed photographs, underexposed as they are drawn.

    ``index.csv`` (``file,source,licence,…``), if there, gives each photograph's licence, and only
    those whose licence contains one of ``licences`` are used; ``split.json`` divides them.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        cache: ImageCache,
        recipe: SynthesisRecipe,
        licences: Sequence[str] = (),
    ) -> None:
        paths = licensed_images(folder, licences)
        if (folder / "split.json").is_file():
            chosen = set(split_names(folder, split))
            paths = [path for path in paths if path.name in chosen]
        if not paths:
            raise InputError(
                f"No photograph of {folder} is in the split {split!r} under the wanted licences.",
                "Check the source's licences in the recipe, index.csv and split.json.",
            )
        self._paths = sorted(paths, key=lambda path: path.name)
        self.scenes = tuple(path.stem for path in self._paths)
        self._cache = cache
        self._recipe = recipe

    def nth(self, scene: int, rng: np.random.Generator) -> Exposure:
        """See :class:`~maskupe_training.data.sources.Source`."""
        path = self._paths[scene % len(self._paths)]
        photo = self._cache.get(path)
        response = draw_response(rng, self._recipe)
        published = rng.random() < self._recipe.published
        image = underexpose(rng, photo, self._recipe, response, published)
        if published:
            return Exposure(path.stem, image, (photo,), fixed=True)
        shift = rng.uniform(-1.0, 1.0) * self._recipe.bracket_shift
        exposures = [step + shift for step in self._recipe.bracket]
        return Exposure(path.stem, image, bracket(photo, exposures, response), fixed=False)


def licensed_images(folder: Path, licences: Sequence[str]) -> list[Path]:
    """Return the photographs of a folder under one of some licences; all, if there are none.

    Raises:
        InputError: if the folder has no photographs, or licences are asked for and not known.
    """
    paths = list_images(folder)
    if not licences:
        return paths
    allowed = set(licensed(folder, licences))
    return [path for path in paths if path.name in allowed]


def licensed(folder: Path, licences: Sequence[str]) -> list[str]:
    """Return file names in ``folder/index.csv`` whose licence contains one of ``licences``.

    Raises:
        InputError: if there is no index, or it has no columns ``file`` and ``licence``.
    """
    path = folder / "index.csv"
    if not path.is_file():
        raise InputError(
            f"There is no {path}, so the photographs' licences are unknown.",
            "Write one with the columns file,source,licence, or ask for no licences.",
        )
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        if not {"file", "licence"} <= set(reader.fieldnames or ()):
            raise InputError(f"{path} lacks the columns file and licence.")
        return [row["file"] for row in reader if any(kind in row["licence"] for kind in licences)]
