"""What the pixels of a selection are: selected, partly selected, on a soft edge or a hard one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskupe.areas.rows import Bools, Float
from maskupe.areas.transition import selection_as_float
from maskupe.parallel import STRIP_PIXELS, parallel_rows, rows_of

#: What counts as fully selected: half a step of 8 bits below one absorbs rounding of float masks.
SELECTED = 1.0 - 1.0 / 512.0

# A selection's partial pixels that touch its edge, also by a corner, are taken for antialiasing.
_NEIGHBOURS = np.ones((3, 3), np.uint8)
# If more than this share of the partial pixels lies further away, the edge is soft on purpose.
_SOFT_SHARE = 0.05


class SelectionAnalysis:
    """What a selection's pixels are, found in strips.

    Attributes:
        selection: as it was given.
        selected: bool (h, w), at least one half.
        soft: whether the partial pixels reach further from the edge than antialiasing does.
    """

    def __init__(self, selection: npt.NDArray[Any], threads: int) -> None:
        selection = np.asarray(selection)
        selection_as_float(selection[:1])  # the checks of its form; those of its values follow
        self.selection = selection
        self.threads = threads
        self.soft = False
        if selection.dtype == np.bool_:
            self.selected = selection
            return
        if selection.dtype.kind == "u" and selection.min() == np.iinfo(selection.dtype).max:
            self.selected = np.broadcast_to(np.True_, selection.shape)
            return
        self.selected = self.where(lambda part: part >= 0.5)
        partial, near = (sum(numbers) for numbers in zip(*self._count_partial(), strict=True))
        self.soft = partial - near > _SOFT_SHARE * partial

    def where(self, test: Callable[[Float], Bools]) -> Bools:
        """Return bool (h, w), where a test of the selection as float holds."""
        result = np.empty(self.selection.shape, bool)
        if self.selection.dtype.kind == "u":
            np.greater_equal(self.selection, self._least(test), out=result)
            return result

        def strip(first: int, last: int) -> None:
            result[first:last] = test(selection_as_float(self.selection[first:last]))

        self._run(strip)
        return result

    def _least(self, test: Callable[[Float], Bools]) -> int:
        """Return the least stored number for which a test of its value holds.

        All tests are monotone.
        """
        steps = np.arange(np.iinfo(self.selection.dtype).max + 1, dtype=self.selection.dtype)
        return int(np.argmax(test(selection_as_float(steps[None])[0])))

    def _partial(self) -> Callable[[npt.NDArray[Any]], Bools]:
        """Return the test for partly selected pixels, of numbers as they are stored."""
        if self.selection.dtype.kind == "u":
            low = self._least(lambda part: part > 1.0 - SELECTED)
            high = self._least(lambda part: part >= SELECTED)
            return lambda stored: (stored >= low) & (stored < high)

        def test(stored: npt.NDArray[Any]) -> Bools:
            mask = selection_as_float(stored)
            found: Bools = (mask > 1.0 - SELECTED) & (mask < SELECTED)
            return found

        return test

    def _count_partial(self) -> list[tuple[int, int]]:
        """Return per strip the number of partial pixels, and of those that touch the edge."""
        height = self.selection.shape[0]
        is_partial = self._partial()
        counts = [(0, 0)]

        def strip(first: int, last: int) -> None:
            partial = is_partial(self.selection[first:last])
            number = int(np.count_nonzero(partial))
            if number == 0:
                return
            top = max(0, first - 1)
            around = self.selected[top : min(height, last + 1)]
            inside = slice(first - top, first - top + last - first)
            outer = cv2.dilate(around.view(np.uint8), _NEIGHBOURS)[inside]
            inner = cv2.erode(around.view(np.uint8), _NEIGHBOURS)[inside]
            counts.append((number, int(np.count_nonzero(partial & (outer != inner)))))

        self._run(strip)
        return counts

    def _run(self, strip: Callable[[int, int], None]) -> None:
        height, width = self.selection.shape
        parallel_rows(strip, height, rows_of(STRIP_PIXELS, width), self.threads, None)


def is_one(plane: Bools) -> bool:
    """Return whether one yes stands for all pixels."""
    return plane.strides == (0, 0)
