"""The areas as the full-size stage wants them: two bytes a pixel instead of six.

Where the areas A, B and C are, and how much of the effect a pixel of B takes, are one number of 16
bits. The formulas are those of :mod:`maskupe.areas.partition`, the same as for
:class:`maskupe.areas.transition.Areas`; only the weight is rounded, to a 65,535th.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskupe.areas.hard_transition import HardTransition
from maskupe.areas.partition import draw_areas, transition_shape
from maskupe.areas.rows import FULL, AreaRows, in_transition, partial_coverage
from maskupe.areas.transition import Transition
from maskupe.parallel import STRIP_PIXELS, machine_threads, rows_of


@dataclass(frozen=True)
class Coverage:
    """Areas and blend weight of a region, in one plane; it can be read like ``Areas``.

    Attributes:
        plane: uint16 (H, W): 65535 in A, 0 in C, else the weight of a pixel of B in 65535ths.
        width: the width of the band in pixels, as in :class:`maskupe.areas.transition.Areas`.
    """

    plane: npt.NDArray[np.uint16]
    width: float

    @property
    def a(self) -> npt.NDArray[np.bool_]:
        """bool (H, W): the pixels to light up."""
        found: npt.NDArray[np.bool_] = self.plane == FULL
        return found

    @property
    def b(self) -> npt.NDArray[np.bool_]:
        """bool (H, W): the transition band."""
        return in_transition(self.plane)

    @property
    def c(self) -> npt.NDArray[np.bool_]:
        """bool (H, W): the pixels to leave alone."""
        found: npt.NDArray[np.bool_] = self.plane == 0
        return found

    @property
    def weight(self) -> npt.NDArray[np.float32]:
        """float32 (H, W), 1 in A, 0 in C, smooth and monotone in between."""
        return self.plane * np.float32(1.0 / FULL)

    def counts(self) -> tuple[int, int]:
        """Return how many pixels belong to A and to B."""
        if self.uniform:
            return self.plane.size, 0
        full = touched = 0
        step = rows_of(STRIP_PIXELS, self.plane.shape[1])
        for first in range(0, self.plane.shape[0], step):
            rows = self.plane[first : first + step]
            touched += int(np.count_nonzero(rows))
            full += int(np.count_nonzero(rows == FULL))
        return full, touched - full

    @property
    def uniform(self) -> bool:
        """Whether it is known that every pixel belongs to A."""
        return self.plane.strides[0] == 0

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.plane.shape[0], self.plane.shape[1]

    def crop(self, rows: slice, columns: slice) -> Coverage:
        """Return the same seen through a window (a view, nothing is copied)."""
        return Coverage(self.plane[rows, columns], self.width)


def full_coverage(height: int, width: int) -> Coverage:
    """All pixels belong to A. One row of numbers stands for all rows."""
    row = np.full((1, width), FULL, np.uint16)
    return Coverage(np.broadcast_to(row, (height, width)), 0.0)


def make_coverage(
    selection: npt.NDArray[Any],
    transition: Transition | None = None,
    *,
    short_side: int | None = None,
    threads: int | None = None,
) -> Coverage:
    """Return the areas of a selection; arguments and errors of :func:`.transition.make_areas`.

    Args:
        selection: (H, W), bool, uint8, uint16 or float 0…1.
        transition: width and side of the band.
        short_side: short side of the whole image in pixels.
        threads: how many to use; all that the process may use if None.
    """
    threads = machine_threads() if threads is None else threads
    band = transition_shape(selection, transition or Transition(), short_side, threads)
    if band.uniform:
        return Coverage(full_coverage(*band.shape).plane, band.width)
    # The distances' memory serves again: one plane less, for a job's largest selections.
    free = band.plane if isinstance(band, HardTransition) else None
    plane = np.empty(band.shape, np.uint16) if free is None else free

    def keep(rows: slice, strip: AreaRows) -> None:
        np.multiply(strip.a, np.uint16(FULL), out=plane[rows])
        plane[rows][strip.b] = partial_coverage(strip.weight)

    draw_areas(band, keep, threads)
    return Coverage(plane, band.width)


def quantise(weight: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Return weights in 65535ths, to nearest; what lies outside 0…1 is clipped."""
    steps = weight * np.float32(FULL) + np.float32(0.5)
    return np.clip(steps, 0, FULL, out=steps).astype(np.uint16)
