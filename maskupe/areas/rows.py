"""The areas of some rows as they are drawn, and the number that stands for each pixel's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]

#: The coverage of a pixel of A, see :class:`maskupe.areas.coverage.Coverage`.
FULL = 65_535


class AreaRows(NamedTuple):
    """The areas of some rows.

    Attributes:
        a: bool (n, w), the pixels to light up.
        b: bool (n, w), the transition band.
        weight: float32, the blend weights of the pixels of ``b``, in order.
    """

    a: Bools
    b: Bools
    weight: Float


def partial_coverage(weight: Float) -> npt.NDArray[np.uint16]:
    """Return weights of B as coverage: never quite that of A or of C."""
    steps = np.clip(weight * np.float32(FULL) + np.float32(0.5), 1, FULL - 1)
    result: npt.NDArray[np.uint16] = steps.astype(np.uint16)
    return result


def in_transition(coverage: npt.NDArray[np.uint16]) -> Bools:
    """Return where a coverage is that of a pixel of B: neither 0 nor FULL."""
    # One comparison: 0 wraps around to the largest number.
    found: Bools = (coverage - np.uint16(1)) < np.uint16(FULL - 1)
    return found


def area_rows(a: Bools, reached: Bools, weight: Float) -> AreaRows:
    """Return the areas from A, A and B together, and the weights of all pixels."""
    b = reached & ~a
    return AreaRows(a, b, weight[b])
