"""The local truth: which frame of a bracket is right inside a mask. One rule, used everywhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskupe_training.data.images import F32, U8, Bool, luma

#: A frame is well exposed inside A if its mean luma there is near to this, of 255.
TARGET_LUMA = 115.0


def best_exposed(lumas: Sequence[F32], a: Bool) -> int:
    """Index of the frame that is best exposed inside A.

    The rule: the frame whose mean display-encoded luma (Rec. 601) over the pixels of A is nearest
    to 115 of 255; of two equally near ones the first.

    Args:
        lumas: per frame its luma, float32 (H, W), 0…255.
        a: bool (H, W), the area A, not empty.
    """
    distance = [abs(float(frame[a].mean()) - TARGET_LUMA) for frame in lumas]
    return int(np.argmin(distance))


def best_candidate(image: U8, candidates: Sequence[U8], a: Bool) -> int | None:
    """Index of the candidate that is best exposed inside A; ``None`` if the input itself is.

    Candidates darker inside A than the input are left out: lighting up never darkens, so an input
    that is bright enough is its own truth.

    Args:
        image: uint8 (H, W, 3), the input.
        candidates: frames of the same scene and size, in any order.
        a: bool (H, W), not empty.
    """
    lumas = [luma(image), *(luma(frame) for frame in candidates)]
    floor = float(lumas[0][a].mean())
    brighter = [i for i in range(1, len(lumas)) if float(lumas[i][a].mean()) > floor]
    best = best_exposed([lumas[i] for i in (0, *brighter)], a)
    return None if best == 0 else brighter[best - 1] - 1


def local_truth(image: U8, candidates: Sequence[U8], a: Bool) -> U8:
    """The frame that :func:`best_candidate` names, or the input itself."""
    best = best_candidate(image, candidates, a)
    return image if best is None else candidates[best]
