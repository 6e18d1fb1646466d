"""Draws a selection and its transition by recipe: which shapes, how soft, how many, what band."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np

from maskupe.areas.partition import make_areas
from maskupe.areas.transition import Areas, Side, Transition
from maskupe.errors import EmptySelectionError, InputError
from maskupe_training.data.images import F32, U8, fit_long_edge, list_images, read_gray
from maskupe_training.masks import shapes

#: The kinds of selection that a recipe can name.
KINDS = (
    "paper_circle",
    "ellipse",
    "rectangle",
    "polygon",
    "blob",
    "stroke",
    "dark_region",
    "silhouette",
    "islands",
    "whole",
)

_FREE: Mapping[str, Callable[[np.random.Generator, int, int], F32]] = {
    "ellipse": shapes.ellipse,
    "rectangle": shapes.rectangle,
    "polygon": shapes.polygon,
    "blob": shapes.blob,
    "stroke": shapes.stroke,
}

# Draws that are refused (too small, too large, nothing left after erosion) before giving up.
_ATTEMPTS = 50


@dataclass(frozen=True)
class MaskRecipe:
    """What selections to draw.

    Attributes:
        kinds: share of each kind of :data:`KINDS`; they need not add up to one.
        soft: share of selections with a feathered edge (not the paper's circles, not ``whole``).
        feather: smallest and largest feather (Gaussian sigma), as a share of the short side.
        automatic_width: share of transitions with the automatic width.
        width: smallest and largest explicit width, as a share of the short side.
        hard_edge: share of explicit transitions of width 0.
        sides: share of each side of the transition.
        coverage: smallest and largest share of the image that A may cover.
        silhouettes: folders of mask files, relative to the data root, for the kind ``silhouette``.
    """

    kinds: Mapping[str, float] = field(default_factory=lambda: {"paper_circle": 1.0})
    soft: float = 0.25
    feather: tuple[float, float] = (0.005, 0.06)
    automatic_width: float = 0.5
    width: tuple[float, float] = (0.01, 0.15)
    hard_edge: float = 0.05
    sides: Mapping[str, float] = field(
        default_factory=lambda: {"outside": 0.7, "inside": 0.15, "centred": 0.15}
    )
    coverage: tuple[float, float] = (0.01, 0.9)
    silhouettes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_shares("masks.kinds", self.kinds, KINDS)
        _check_shares("masks.sides", self.sides, get_args(Side))
        if self.kinds.get("silhouette") and not self.silhouettes:
            raise InputError(
                "The recipe asks for silhouettes but names no folder of mask files.",
                "Set masks.silhouettes to a list of folders, or drop the kind silhouette.",
            )
        low, high = self.coverage
        if not 0 <= low < high <= 1:
            raise InputError(
                f"masks.coverage is {low} … {high}.", "Give two shares with 0 <= low < high <= 1."
            )

    @property
    def needed_folders(self) -> tuple[str, ...]:
        """Of ``silhouettes``, those that must be there: none where that kind is never drawn."""
        return self.silhouettes if self.kinds.get("silhouette") else ()


def _check_shares(name: str, shares: Mapping[str, float], known: tuple[str, ...]) -> None:
    for key, share in shares.items():
        if key not in known:
            raise InputError(f"{name} has no {key!r}.", f"Use some of {', '.join(known)}.")
        if not share >= 0:
            raise InputError(f"{name}.{key} is {share}.", "Give a share of 0 or more.")
    if not sum(shares.values()) > 0:
        raise InputError(f"{name} gives every choice a share of 0.", "Give one of them a share.")


@dataclass(frozen=True)
class Drawn:
    """One drawn selection.

    Attributes:
        kind: which of :data:`KINDS`.
        selection: float32 (H, W), 0…1.
        transition: the band that goes with it.
        areas: what :func:`maskupe.areas.partition.make_areas` makes of the two.
    """

    kind: str
    selection: F32
    transition: Transition
    areas: Areas


class MaskSampler:
    """Draws selections; the same generator state and picture give the same selection."""

    def __init__(self, recipe: MaskRecipe, data_root: Path) -> None:
        self._recipe = recipe
        self._kinds = [kind for kind, share in recipe.kinds.items() if share > 0]
        weights = np.array([recipe.kinds[kind] for kind in self._kinds], float)
        self._shares = weights / weights.sum()
        self._sides = list(recipe.sides)
        sides = np.array([recipe.sides[side] for side in self._sides], float)
        self._side_shares = sides / sides.sum()
        self._outlines: list[Path] = []
        for folder in recipe.needed_folders:
            self._outlines += _mask_files(data_root / folder)

    def draw(self, rng: np.random.Generator, image: U8, kind: str | None = None) -> Drawn:
        """A selection for a picture (uint8 (H, W, 3)), of a given kind or of one drawn by share.

        Raises:
            InputError: if no selection within the recipe's coverage could be drawn.
        """
        height, width = image.shape[:2]
        chosen = kind or str(rng.choice(self._kinds, p=self._shares))
        low, high = self._recipe.coverage
        for _ in range(_ATTEMPTS):
            selection, transition = self._draw_once(rng, image, chosen)
            try:
                areas = make_areas(selection, transition)
            except EmptySelectionError:
                continue
            if chosen == "whole" or low <= areas.a.sum() / (height * width) <= high:
                return Drawn(chosen, selection, transition, areas)
        raise InputError(
            f"No selection of kind {chosen!r} covers {low:.0%} to {high:.0%} of the image.",
            "Widen masks.coverage, or leave that kind out.",
        )

    def _draw_once(self, rng: np.random.Generator, image: U8, kind: str) -> tuple[F32, Transition]:
        height, width = image.shape[:2]
        if kind == "whole":
            return np.ones((height, width), np.float32), Transition()
        if kind == "paper_circle":
            return paper_circle(rng, height, width)
        if kind == "islands":
            names = list(_FREE)
            count = int(rng.integers(2, 5))
            chosen = [names[rng.integers(len(names))] for _ in range(count)]
            selection = shapes.union([_FREE[name](rng, height, width) for name in chosen])
        elif kind == "dark_region":
            selection = shapes.dark_region(rng, image)
        elif kind == "silhouette":
            path = self._outlines[rng.integers(len(self._outlines))]
            selection = shapes.silhouette(rng, _outline(path), height, width)
        else:
            selection = _FREE[kind](rng, height, width)
        short = min(height, width)
        if rng.random() < self._recipe.soft:
            selection = shapes.feather(selection, short * rng.uniform(*self._recipe.feather))
        return selection, self._transition(rng, short)

    def _transition(self, rng: np.random.Generator, short: int) -> Transition:
        side = self._sides[rng.choice(len(self._sides), p=self._side_shares)]
        if rng.random() < self._recipe.automatic_width:
            return Transition("auto", side)  # type: ignore[arg-type]
        if rng.random() < self._recipe.hard_edge:
            return Transition(0.0, side)  # type: ignore[arg-type]
        return Transition(short * rng.uniform(*self._recipe.width), side)  # type: ignore[arg-type]


def paper_circle(rng: np.random.Generator, height: int, width: int) -> tuple[F32, Transition]:
    """Return the paper's mask: r1 ~ U(m/3, m/2), r2 ~ U(1.1 r1, 1.3 r1), m the short side.

    The paper does not say where the centre lies; here it is uniform over the image. A is the disc
    of radius r1, B the ring up to r2.
    """
    short = min(height, width)
    radius = rng.uniform(short / 3, short / 2)
    outer = rng.uniform(1.1 * radius, 1.3 * radius)
    centre = (rng.uniform(0, width - 1), rng.uniform(0, height - 1))
    return shapes.circle(height, width, centre, radius), Transition(outer - radius, "outside")


def _mask_files(folder: Path) -> list[Path]:
    try:
        return list_images(folder)
    except InputError as error:
        raise InputError(
            f"The mask folder {folder} has no mask files.",
            "masks.silhouettes names folders of mask pictures, white where the object is; "
            "--set masks.kinds.silhouette=0 does without.",
        ) from error


@functools.cache
def _outline(path: Path) -> U8:
    """Return a mask file scaled down to 320 pixels; it is kept in memory."""
    mask = fit_long_edge(read_gray(path), 320)
    if mask.max() == mask.min():
        raise InputError(
            f"The mask file {path} is the same everywhere.", "Remove it from the folder."
        )
    return mask
