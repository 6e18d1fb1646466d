"""The paper's Fig. 6 for any photograph: one result after the other, more or less brightened.

``degree`` is the paper's coefficient: it multiplies the illumination map (smaller is brighter) or
the curve maps (larger is brighter). ``strength`` is the product's: an exponent of the gain, 0 for
the identity and 1 for the model's proposal. Only the strength leaves the identity in reach; both
are blended by the areas.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maskupe import Enhancer, Transition
from maskupe.areas.partition import make_areas
from maskupe.errors import InputError
from maskupe_training.data.images import SUFFIXES, fit_long_edge, read_gray, read_rgb, write_rgb
from maskupe_training.evaluation.sheet import captioned, outlined
from maskupe_training.raw import as_u8, load_network, raw_results

WAYS = ("degree", "strength")
# Larger photographs are scaled down: the figure shows them small.
_LONG_EDGE = 1024


def draw_degree_figure(
    photo: Path,
    mask: Path | None,
    model: str,
    values: str,
    by: str,
    output: Path,
    raw: bool = False,
) -> None:
    """Write a row of pictures: the input with the areas' outlines, then one result per value.

    Args:
        photo: the photograph.
        mask: of the photograph's size, white where to brighten; ``None`` for everywhere.
        model: a registry name, or the path of a weight file.
        values: numbers from 0 to 2, separated by commas.
        by: ``degree`` or ``strength``.
        output: the picture to write.
        raw: show the network alone, f(I, M), not blended by the areas; by ``degree`` only.

    Raises:
        InputError: for files that do not fit, values that are no numbers, or an unknown way.
        UnknownModelError, WeightsError: for a model that cannot be loaded.
    """
    if by not in WAYS:
        raise InputError(f"--by {by!r} is unknown.", f"Use {' or '.join(WAYS)}.")
    if output.suffix.lower() not in SUFFIXES:
        raise InputError(f"{output} is no picture's name.", f"Use one of {', '.join(SUFFIXES)}.")
    if raw and by == "strength":
        raise InputError("--raw goes with --by degree.", "The strength is the blending's own.")
    numbers = _numbers(values)
    image = read_rgb(photo)
    selection = np.full(image.shape[:2], 255, np.uint8) if mask is None else read_gray(mask)
    if selection.shape != image.shape[:2]:
        raise InputError(f"{mask} and {photo} differ in size.", "Both must be equally large.")
    image, selection = fit_long_edge(image, _LONG_EDGE), fit_long_edge(selection, _LONG_EDGE)
    areas = make_areas(selection)
    if by == "strength":
        enhancer = Enhancer.load(model)
        # The paper's areas, as by degree.
        how = Transition(edges="off")
        results = [
            np.asarray(
                enhancer.enhance(image, selection, strength=t, denoise=0, transition=how), np.uint8
            )
            for t in numbers
        ]
    else:
        enhanced = raw_results(load_network(model), image, areas, tuple(numbers))
        if not raw:
            original = image.astype(np.float32) / np.float32(255.0)
            weight = areas.weight[..., None]
            enhanced = [original + weight * (picture - original) for picture in enhanced]
        results = [as_u8(picture) for picture in enhanced]
    cells = [captioned("input", outlined(image, areas))]
    for number, result in zip(numbers, results, strict=True):
        cells.append(captioned(f"{by} {number:g}", result))
    write_rgb(output, np.hstack(cells))


def _numbers(values: str) -> list[float]:
    try:
        numbers = [float(part) for part in values.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0.0 <= number <= 2.0 for number in numbers):
        raise InputError(
            f"--values {values!r} is not usable.", "Give numbers from 0 to 2: 1.2,1,0.8."
        )
    return numbers
