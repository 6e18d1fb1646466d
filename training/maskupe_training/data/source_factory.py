"""Opens the data set that a recipe names."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from maskupe.errors import InputError
from maskupe_training.data.images import ImageCache
from maskupe_training.data.photos import PhotoSource
from maskupe_training.data.sources import BracketSource, PairSource, Source
from maskupe_training.data.synthesis import SynthesisRecipe

KINDS = ("brackets", "pairs", "photos", "relit")


@dataclass(frozen=True)
class SourceRecipe:
    """One data set of a recipe.

    Attributes:
        kind: ``brackets`` (local truth), ``pairs`` (one reference), ``photos`` (synthesis), or
            ``relit`` (cut-outs on photographs, darker than what is behind them).
        folder: relative to the data root; of ``relit`` that of the cut-outs.
        split: which part of it.
        share: how often it is drawn from, relative to the recipe's other sources.
        licences: for ``photos``: only those whose licence contains one of these texts.
        synthesis: for ``photos`` and ``relit``: how they are underexposed.
        backgrounds: for ``relit``: the folder of photographs behind the subjects.
        masked: for ``relit``: folders of photographs with masks of their own subjects.
    """

    kind: str
    folder: str
    split: str = "train"
    share: float = 1.0
    licences: tuple[str, ...] = ()
    synthesis: SynthesisRecipe = field(default_factory=SynthesisRecipe)
    backgrounds: str = ""
    masked: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(
                f"The data kind {self.kind!r} is unknown.", f"Use one of {', '.join(KINDS)}."
            )
        if not self.share > 0:
            raise InputError(f"The share of the data {self.folder!r} is {self.share}.")


def open_source(recipe: SourceRecipe, data_root: Path, cache: ImageCache) -> Source:
    """Return the data set that a recipe's table describes.

    Raises:
        InputError: if its folder is missing or not in the layout of its kind.
    """
    folder = data_root / recipe.folder
    if not folder.is_dir():
        raise InputError(
            f"There is no data folder {folder}.",
            "Give the data root by --data or the environment variable MASKUPE_DATA.",
        )
    if recipe.kind == "brackets":
        return BracketSource(folder, recipe.split, cache)
    if recipe.kind == "pairs":
        return PairSource(folder, recipe.split, cache)
    if recipe.kind == "relit":
        from maskupe_training.data.relit import RelitSource

        masked = [data_root / name for name in recipe.masked]
        photos = data_root / recipe.backgrounds
        return RelitSource(folder, photos, masked, recipe.synthesis, recipe.licences)
    return PhotoSource(folder, recipe.split, cache, recipe.synthesis, recipe.licences)
