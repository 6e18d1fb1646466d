"""Case lists: scene × frame × selection, decided by a seed, the same for every model.

Case i of a list never depends on how many cases are asked for, so the first 40 of a list of 140
are the list of 40.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from maskupe.areas.transition import Areas, Transition
from maskupe.errors import InputError
from maskupe_training.data.ground_truth import truth_of
from maskupe_training.data.images import F32, U8, luma
from maskupe_training.data.sources import Source
from maskupe_training.data.views import squashed
from maskupe_training.masks.sampler import MaskRecipe, MaskSampler

#: A case from brackets is underexposed inside A: its mean luma there is at most this, of 255.
DARK_LUMA = 60.0
# Scenes tried for one case before giving up.
_ATTEMPTS = 40


@dataclass(frozen=True)
class Case:
    """One case of an evaluation.

    Attributes:
        name: the picture and the kind of selection.
        scene: the scene's number in its data set; cases of one scene are alike.
        kind: the kind of selection.
        image: uint8 (H, W, 3), the input.
        truth: uint8 (H, W, 3), what A should look like.
        selection: float32 (H, W), 0…1.
        transition: the band.
        areas: what the product makes of the two.
    """

    name: str
    scene: int
    kind: str
    image: U8
    truth: U8
    selection: F32
    transition: Transition
    areas: Areas


def evaluation_masks(silhouettes: tuple[str, ...]) -> MaskRecipe:
    """Return the selections of an evaluation: every kind equally often, transitions as by default.

    Args:
        silhouettes: folders of mask files; without any, the kind silhouette is left out.
    """
    names = ("paper_circle", "ellipse", "polygon", "blob", "stroke", "dark_region", "islands")
    kinds = dict.fromkeys(names, 1.0) | ({"silhouette": 1.0} if silhouettes else {})
    return MaskRecipe(
        kinds=kinds,
        soft=0.2,
        automatic_width=1.0,
        sides={"outside": 1.0},
        coverage=(0.02, 0.8),
        silhouettes=silhouettes,
    )


def draw_cases(
    source: Source,
    masks: MaskSampler,
    kinds: tuple[str, ...],
    count: int,
    seed: int,
    size: int | None = None,
) -> Iterator[Case]:
    """Yield the first ``count`` cases of the list that ``seed`` decides.

    Scenes and kinds of selection take turns. With a local truth, a case must be underexposed
    inside A (:data:`DARK_LUMA`) and have a brighter frame there; draws that are not are replaced.

    Args:
        source: the data set.
        masks: draws the selections.
        kinds: the kinds of selection that take turns.
        count: how many cases.
        seed: decides the list.
        size: side in pixels that pictures are squashed to, or ``None`` for their own size.

    Raises:
        InputError: if the data has no such case.
    """

    def draw(index: int, attempt: int) -> Case | None:
        rng = np.random.default_rng([seed, index, attempt])
        # The offset makes a scene meet every kind as the list goes on; attempts walk to others.
        scene = (index + attempt * 7) % len(source)
        exposure = source.nth(scene, rng)
        if size is not None:
            exposure = squashed(exposure, size)
        kind = kinds[(index + index // max(1, len(source))) % len(kinds)]
        drawn = masks.draw(rng, exposure.image, kind)
        image, areas = exposure.image, drawn.areas
        truth = truth_of(exposure, areas.a)
        if not exposure.fixed:
            dark = float(luma(image)[areas.a].mean()) <= DARK_LUMA
            if not dark or truth is image:
                return None
        name = f"{exposure.name}-{kind}-{index:03d}"
        return Case(name, scene, kind, image, truth, drawn.selection, drawn.transition, areas)

    for index in range(count):
        for attempt in range(_ATTEMPTS):
            case = draw(index, attempt)
            if case is not None:
                yield case
                break
        else:
            raise InputError(
                f"No underexposed case could be drawn for number {index} of the case list.",
                "The split may be too small or too bright; use another one.",
            )
