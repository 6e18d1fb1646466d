"""The ablation of the gradient-smooth loss on one backbone (the paper's Fig. 7, and our targets).

Four trainings that differ in L_B only: without it (two areas, weights 1 and 1, the paper's
ablation), and with each of its targets: illumination (where the network has one), image, gain. They
are then evaluated on the same cases; the table compares B, the contact sheet is Fig. 7. The network
always sees B; without the loss on it, it learns to leave B alone like C, hence the hard edge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maskupe.inference.build import build
from maskupe.maps import AffineGrid, GainGrid
from maskupe.registry import resolve
from maskupe_training.evaluation.run import Request, evaluate
from maskupe_training.export import export
from maskupe_training.recipe import Recipe
from maskupe_training.recipe_files import load
from maskupe_training.trainer import Run, fit

#: Settings of the loss by the name of the variant.
VARIANTS: Mapping[str, Sequence[str]] = {
    "without-smoothness": ("loss.two_areas=true", "loss.beta=0.0"),
    "smooth-illumination": ("loss.smooth_target=illumination",),
    "smooth-image": ("loss.smooth_target=image",),
    "smooth-gain": ("loss.smooth_target=gain",),
}


def run_ablation(
    recipe: str,
    settings: Sequence[str],
    data: Path,
    out: Path,
    cases: int,
    threads: int,
    raw: bool = False,
) -> dict[str, dict[str, Any]]:
    """Train the variants one after the other, then evaluates them; finished ones are kept.

    A run that was interrupted goes on where it was. ``out/evaluation`` holds the table, the
    numbers, and the contact sheet.

    Args:
        recipe: name or path of the backbone's recipe.
        settings: ``key=value`` for all variants, for example shorter trainings.
        data: the data root.
        out: a folder.
        cases: how many cases to evaluate.
        threads: CPU threads.
        raw: whether to measure each network alone, too; see :mod:`maskupe_training.raw`.

    Returns:
        The summaries by variant, and of the linear gain.
    """
    weights = []
    for name in variants(load(recipe, settings)):
        own = load(recipe, [*settings, *VARIANTS[name]])
        folder = out / name
        fit(own, Run(data, folder, resume=(folder / "last.pt").exists(), threads=threads))
        weights.append(str(export(folder / "last.pt", out / f"{name}.safetensors", data)))
    base = load(recipe, settings)
    source = base.validation.source
    request = Request(
        tuple(weights),
        source.kind,
        source.folder,
        source.split,
        cases,
        silhouettes=base.masks.needed_folders,
        baselines=False,
        raw=raw,
    )
    return evaluate(request, data, out / "evaluation", threads)


def variants(recipe: Recipe) -> list[str]:
    """Return the variants that a recipe's network can have: all, or all but the illumination."""
    retinex = build(resolve(recipe.model)).map_type in (AffineGrid, GainGrid)
    return [name for name in VARIANTS if retinex or name != "smooth-illumination"]
