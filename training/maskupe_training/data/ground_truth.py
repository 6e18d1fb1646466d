"""The truth inside a mask: the reference of a pair, or the frame of a bracket that is right there.

One rule, for training and for evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence

from maskupe_training.data.images import U8, Bool, luma
from maskupe_training.data.sources import Exposure
from maskupe_training.data.views import SUBSAMPLE, View

#: A frame is well exposed inside A if its mean luma there is near to this, of 255.
TARGET_LUMA = 115.0


def truth_of(exposure: Exposure, a: Bool, view: View | None = None) -> U8:
    """The picture that shows A as it should look: uint8 (H, W, 3), one of the exposure's own.

    Args:
        exposure: the input and its candidates; a fixed one is the truth whatever its brightness.
        a: bool (h, w), the area A, not empty: of the pictures, or of the view.
        view: how A looks at the pictures, if not at all of them. Which frame is best exposed in A
            is a question of means, so a part of the pixels answers it.
    """
    if exposure.fixed:
        return exposure.candidates[0]
    frames = [exposure.image, *exposure.candidates]
    looked_at = frames
    if view is not None:
        few = a[SUBSAMPLE // 2 :: SUBSAMPLE, SUBSAMPLE // 2 :: SUBSAMPLE]
        if few.any() and view.size % SUBSAMPLE == 0:
            a, looked_at = few, [view.subsample(frame) for frame in frames]
        else:
            looked_at = [view.of(frame) for frame in frames]
    return frames[best_exposed(looked_at, a)]


def best_exposed(frames: Sequence[U8], a: Bool) -> int:
    """Return index of the frame that is best exposed inside A; the first of them is the input.

    The rule: the frame whose mean display-encoded luma (Rec. 601) over the pixels of A is nearest
    to 115 of 255; of two equally near ones the first. Candidates darker inside A than the input are
    left out: brightening never darkens, so an input that is bright enough is its own truth.

    Args:
        frames: uint8 (H, W, 3), of the same scene and size: the input, then its candidates.
        a: bool (H, W), not empty.
    """
    means = [float(luma(frame)[a].mean()) for frame in frames]
    allowed = [i for i, mean in enumerate(means) if i == 0 or mean > means[0]]
    return min(allowed, key=lambda i: abs(means[i] - TARGET_LUMA))
