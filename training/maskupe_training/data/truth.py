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


def local_truth(image: U8, candidates: Sequence[U8], a: Bool) -> U8:
    """The candidate that is best exposed inside A, the input itself among them.

    Candidates darker inside A than the input are left out: lighting up never darkens, so an input
    that is bright enough is its own truth.

    Args:
        image: uint8 (H, W, 3), the input.
        candidates: frames of the same scene and size, in any order.
        a: bool (H, W), not empty.
    """
    floor = float(luma(image)[a].mean())
    frames, lumas = [image], [luma(image)]
    for frame in candidates:
        light = luma(frame)
        if float(light[a].mean()) > floor:
            frames.append(frame)
            lumas.append(light)
    return frames[best_exposed(lumas, a)]
