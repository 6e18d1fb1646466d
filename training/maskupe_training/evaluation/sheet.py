"""Contact sheets: one row per case, one column per method, for people's eyes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from maskupe.areas.transition import Areas
from maskupe_training.data.images import U8, write_rgb
from maskupe_training.evaluation.cases import Case

_CELL = 256
_CAPTION = 18


def contact_sheet(path: Path, cases: Sequence[Case], results: Sequence[Mapping[str, U8]]) -> None:
    """Write rows of: input with A's and B's outlines, every method's result, the truth.

    Args:
        path: where to; the suffix decides the format.
        cases: the rows.
        results: per case the results by method, uint8 (H, W, 3), the same methods in every row.
    """
    rows = []
    for case, outputs in zip(cases, results, strict=True):
        cells = {
            "input": outlined(case.image, case.areas),
            **outputs,
            "truth in A": truth_shown(case),
        }
        rows.append(np.hstack([captioned(name, picture) for name, picture in cells.items()]))
    write_rgb(path, np.vstack(rows), quality=88)


def outlined(image: U8, areas: Areas) -> U8:
    """Return the input with the outlines of A (green) and of A ∪ B (yellow)."""
    picture = image.copy()
    for area, colour in ((areas.a, (0, 255, 0)), (areas.a | areas.b, (255, 220, 0))):
        outline, _ = cv2.findContours(area.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outline, -1, colour, 2)
    return picture


def truth_shown(case: Case) -> U8:
    """Return the truth in A, blended into the input by the weight."""
    weight = case.areas.weight[..., None]
    mixed = case.image + weight * (case.truth.astype(np.float32) - case.image)
    return np.rint(mixed).astype(np.uint8)


def captioned(text: str, picture: U8) -> U8:
    """Return a cell: the picture fitted into 256×256 on grey, under its caption."""
    height, width = picture.shape[:2]
    scale = _CELL / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    cell = np.full((_CELL + _CAPTION, _CELL + 2, 3), 48, np.uint8)
    cell[_CAPTION : _CAPTION + size[1], : size[0]] = small
    cv2.putText(
        cell, text, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (240, 240, 240), 1, cv2.LINE_AA
    )
    return cell
