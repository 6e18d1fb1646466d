"""What decides a training of the matting network; as TOML, in this package's ``recipes``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from maskupe.errors import InputError
from maskupe_training.config import build, current_names, to_tables
from maskupe_training.recipe import Steps
from maskupe_training.recipe_files import find
from maskupe_training.recipe_files import tables as read_tables

#: What ``task`` is in the recipes of the matting network; others have no such key.
TASK = "matte"


@dataclass(frozen=True)
class Pictures:
    """A folder of pictures.

    Attributes:
        folder: relative to the data root.
        licences: only pictures whose licence in ``index.csv`` contains one of these; all if empty.
    """

    folder: str
    licences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Masked:
    """Photographs with masks of their own subjects.

    Attributes:
        folders: relative to the data root, each with ``image/`` and ``mask/``.
        share: how often such a photograph is taken, where a subject is wanted.
    """

    folders: tuple[str, ...] = ()
    share: float = 0.6


@dataclass(frozen=True)
class Training(Steps):
    """How long and how.

    Attributes:
        minutes: the learning rate falls to its end in this time already, and the training ends
            there; ``None`` for no such limit. What comes of it then depends on the machine.
        rate: highest learning rate of AdamW, which falls to 1 % along a cosine.
        start: a checkpoint whose weights to begin with; empty for new ones.
        save_every: steps between checkpoints.
    """

    steps: int = 1500
    batch: int = 64
    ema: float = 0.995
    minutes: float | None = None
    rate: float = 2e-3
    start: str = ""
    save_every: int = 250

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_counts("save_every")
        for name in ("rate", "minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"training.{name} is {value}.", "Give a number above 0.")


@dataclass(frozen=True)
class MatteRecipe:
    """A training of the matting network.

    Attributes:
        name: of the weights.
        licence: of the weights, as the data's licences allow.
        description: one sentence for the model card.
        cutouts: RGBA pictures, the subjects.
        photos: photographs that serve as backgrounds.
        seed: decides initial weights and samples.
        task: :data:`TASK`.
    """

    name: str
    licence: str
    description: str
    cutouts: Pictures
    photos: Pictures
    masked: Masked = field(default_factory=Masked)
    training: Training = field(default_factory=Training)
    seed: int = 0
    task: str = TASK

    def __post_init__(self) -> None:
        if not 0 <= self.masked.share <= 1:
            raise InputError(f"masked.share is {self.masked.share}.", "Give a share, 0 … 1.")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, which :func:`from_tables` takes back.

        What is not set is left out.
        """
        return to_tables(self)


def is_matte(tables: Mapping[str, Any]) -> bool:
    """Return whether a recipe's tables are one of the matting network."""
    return tables.get("task") == TASK


def from_tables(tables: Mapping[str, Any], where: str) -> MatteRecipe:
    """Return a recipe from its tables; ``where`` names them in errors.

    Raises:
        InputError: for a key or value that does not fit.
    """
    return build(MatteRecipe, current_names(tables), where)


def load(name: str, settings: Sequence[str] = ()) -> MatteRecipe:
    """Read a recipe by path or by the name of one that comes with the package.

    Args:
        name: the path or the name.
        settings: ``section.key=value`` that override single keys.

    Raises:
        InputError: if it is not found, is none of the matting network, or does not fit.
    """
    found = read_tables(name, settings)
    if not is_matte(found):
        raise InputError(
            f"{name} is no recipe of the matting network.", f'It has no task = "{TASK}".'
        )
    return from_tables(found, find(name).name)
