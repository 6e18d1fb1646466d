"""How a selection becomes the areas: the formulas of :func:`maskupe.areas.make_areas`, by strips.

A band is worked out once from the whole selection, in planes of one or two bytes a pixel, and then
drawn some rows at a time, so that nothing of the photograph's size is ever held as float.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from maskupe.areas import Transition, auto_width, selection_as_float, smoothstep
from maskupe.distance import DistanceField
from maskupe.errors import EmptySelectionError
from maskupe.strips import machine_threads, rows_of, run_strips

Bools = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]

#: The coverage of a pixel of A, see :class:`maskupe.coverage.Coverage`.
FULL = 65_535

# A selection's partial pixels that touch its edge, also by a corner, are taken for antialiasing.
_NEIGHBOURS = np.ones((3, 3), np.uint8)
# If more than this share of the partial pixels lies further away, the edge is soft on purpose.
_SOFT_SHARE = 0.05
# What counts as fully selected: half a step of 8 bits below one absorbs rounding of float masks.
_FULL = 1.0 - 1.0 / 512.0
# Pixels of one strip: few enough for the cache, enough for threads not to queue up in Python.
_STRIP_PIXELS = 1 << 17
# Bands wider than this many pixels are not drawn with a table, which would become too large.
_WIDEST_TABLE = 1400


class Strip(NamedTuple):
    """The areas of some rows.

    Attributes:
        a: bool (n, w), the pixels to light up.
        b: bool (n, w), the transition band.
        weight: float32, the blend weights of the pixels of ``b``, in order.
    """

    a: Bools
    b: Bools
    weight: Float


class Band(Protocol):
    """A selection's areas, ready to be drawn.

    Attributes:
        shape: (height, width) of the selection.
        width: of the transition, see :class:`maskupe.areas.Areas`.
        uniform: whether every pixel belongs to A.
    """

    shape: tuple[int, int]
    width: float
    uniform: bool

    def rows(self, first: int, last: int) -> Strip:
        """The areas of some rows."""


def draw(band: Band, keep: Callable[[slice, Strip], None], threads: int | None = None) -> None:
    """Hands the areas of all rows to ``keep``, strip by strip, on several threads.

    Raises:
        EmptySelectionError: if there is no pixel in A.
    """
    height, width = band.shape
    lit = threading.Event()

    def strip(first: int, last: int) -> None:
        drawn = band.rows(first, last)
        if not lit.is_set() and drawn.a.any():
            lit.set()
        keep(slice(first, last), drawn)

    threads = machine_threads() if threads is None else threads
    run_strips(strip, height, rows_of(_STRIP_PIXELS, width), threads, None)
    check_lit(lit.is_set(), band.width)


def check_lit(lit: bool, width: float) -> None:
    """Raises EmptySelectionError unless some pixel is in A."""
    if not lit:
        raise EmptySelectionError(
            f"A transition of {width:.0f} px inside the selection leaves nothing to light up.",
            "Use a smaller width, or put the transition outside.",
        )


def divide(
    selection: npt.NDArray[Any],
    transition: Transition,
    short_side: int | None = None,
    threads: int | None = None,
) -> Band:
    """Works out the band of a selection; arguments and errors of :func:`make_areas`."""
    threads = machine_threads() if threads is None else threads
    marks = _Marks(selection, threads)
    count = selection.size if _is_one(marks.selected) else int(np.count_nonzero(marks.selected))
    if count == 0:
        raise EmptySelectionError(
            "The selection is empty: no pixel is selected by at least one half.",
            "Select the part to light up, or select none for the whole layer.",
        )
    automatic = isinstance(transition.width, str)
    side_length = short_side if short_side is not None else min(selection.shape)
    width = auto_width(count, side_length) if automatic else float(transition.width)
    if marks.soft:
        return _soft_band(marks, width, automatic, transition.side, threads)
    return HardBand(marks.selected, width, transition.side, threads)


class _Marks:
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
        """bool (h, w), where a test of the selection as float holds."""
        result = np.empty(self.selection.shape, bool)
        if self.selection.dtype.kind == "u":
            np.greater_equal(self.selection, self._least(test), out=result)
            return result

        def strip(first: int, last: int) -> None:
            result[first:last] = test(selection_as_float(self.selection[first:last]))

        self._run(strip)
        return result

    def _least(self, test: Callable[[Float], Bools]) -> int:
        """The least stored number for which a test of its value holds; all tests are monotone."""
        steps = np.arange(np.iinfo(self.selection.dtype).max + 1, dtype=self.selection.dtype)
        return int(np.argmax(test(selection_as_float(steps[None])[0])))

    def _partial(self) -> Callable[[npt.NDArray[Any]], Bools]:
        """The test for partly selected pixels, of numbers as they are stored."""
        if self.selection.dtype.kind == "u":
            low = self._least(lambda part: part > 1.0 - _FULL)
            high = self._least(lambda part: part >= _FULL)
            return lambda stored: (stored >= low) & (stored < high)

        def test(stored: npt.NDArray[Any]) -> Bools:
            mask = selection_as_float(stored)
            found: Bools = (mask > 1.0 - _FULL) & (mask < _FULL)
            return found

        return test

    def _count_partial(self) -> list[tuple[int, int]]:
        """Per strip the number of partial pixels, and of those that touch the edge."""
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
        run_strips(strip, height, rows_of(_STRIP_PIXELS, width), self.threads, None)


class HardBand:
    """Areas of a hard set: dilated and eroded by discs, the weight a function of the distance."""

    def __init__(self, selected: Bools, width: float, side: str, threads: int) -> None:
        self.shape = selected.shape[0], selected.shape[1]
        self.width = width
        self.uniform = _is_one(selected) or bool(selected.all())
        self._selected = selected
        self._grow = {"outside": width, "inside": 0.0, "centred": width / 2}[side]
        self._shrink = width - self._grow
        self._outward = self._inward = None
        if self._grow > 0 and not self.uniform:
            self._outward = DistanceField(selected, self._grow, threads)
        if self._shrink > 0 and not self.uniform:
            self._inward = DistanceField(~selected, self._shrink, threads)

    def _weight_outside(self, distance: Float) -> Float:
        """Blend weights at these distances from the selected set."""
        return self._weight(distance + np.float32(self._shrink))

    def _weight_inside(self, distance: Float) -> Float:
        """Blend weights within the selected set, at these distances from what is not."""
        return self._weight(np.float32(self._shrink + 1.0) - distance)

    def _weight(self, position: Float) -> Float:
        # Steps from the last pixel of A to the first of C: one more than the pixels between them.
        steps = np.float32(self.width + 1.0)
        return smoothstep((1.0 - position / steps).astype(np.float32))

    def coverage(self, threads: int) -> npt.NDArray[np.uint16] | None:
        """All rows at once, as :class:`maskupe.coverage.Coverage` counts, or None.

        The formulas are the same: they are worked out once for every squared distance that there
        is, and looked up by the compiled code. The band cannot be drawn any more afterwards.
        """
        fields = [field for field in (self._outward, self._inward) if field is not None]
        widest = max(self._grow, self._shrink)
        if not fields or fields[0].plane is None or widest > _WIDEST_TABLE:
            return None
        plane: npt.NDArray[np.uint16] = fields[0].plane
        if self._outward is not None:
            distance = _distances(self._grow)
            reached = distance <= self._grow
            table = np.where(reached, partial_coverage(self._weight_outside(distance)), 0)
            self._outward.write(plane, table.astype(np.uint16), 0, FULL, threads)
        if self._inward is not None:
            distance = _distances(self._shrink)
            lit = distance > self._shrink
            table = np.where(lit, FULL, partial_coverage(self._weight_inside(distance)))
            others = 0 if self._outward is None else None
            self._inward.write(plane, table.astype(np.uint16), FULL, others, threads)
        return plane

    def rows(self, first: int, last: int) -> Strip:
        """The areas of some rows."""
        a = reached = selected = self._selected[first:last]
        outward = inward = None
        if self._outward is not None:
            outward = self._outward.rows(first, last)
            reached = outward <= self._grow
        if self._inward is not None:
            inward = self._inward.rows(first, last)
            a = selected & (inward > self._shrink)
        b = reached & ~a
        weight = np.zeros(0, np.float32)
        if outward is not None:
            weight = self._weight_outside(outward[b])
        if inward is not None:
            within = self._weight_inside(inward[b])
            weight = within if outward is None else np.where(selected[b], within, weight)
        return Strip(a, b, weight)


class SoftBand:
    """Areas of a feathered selection: its own ramp, perhaps widened or narrowed by a width."""

    uniform = False

    def __init__(
        self, marks: _Marks, level: float, width: float, side: str, band: HardBand | None
    ) -> None:
        self.shape = marks.selected.shape[0], marks.selected.shape[1]
        self.width = width
        self._selection = marks.selection
        self._level = np.float32(level)
        self._side = side
        self._band = band

    def rows(self, first: int, last: int) -> Strip:
        """The areas of some rows."""
        mask = selection_as_float(self._selection[first:last])
        touched = mask > 1.0 - _FULL
        full = mask >= _FULL
        if self._level < 1:
            mask = np.minimum(mask / self._level, np.float32(1.0))
            full = mask >= 1.0
            touched = mask > 1.0 - _FULL
        ramp = smoothstep(mask)
        if self._band is None:
            return _strip(full, touched, ramp)
        band = self._band.rows(first, last)
        weight = band.a.astype(np.float32)
        weight[band.b] = band.weight
        if self._side == "outside":
            return _strip(full, touched | band.b, np.maximum(ramp, weight))
        if self._side == "inside":
            return _strip(full & band.a, touched, np.minimum(ramp, weight))
        mean = (ramp + weight) * np.float32(0.5)
        return _strip(full & band.a, touched | band.a | band.b, mean)


def _soft_band(marks: _Marks, width: float, automatic: bool, side: str, threads: int) -> SoftBand:
    """The band of a feathered selection.

    A feather that reaches as far as the automatic width is the transition; a narrower one, such as
    a smoothed edge has, would show as a seam, and the automatic width widens it.
    """
    level = 1.0
    full = marks.where(lambda part: part >= _FULL)
    if not full.any():
        # A feather wider than the selection never reaches one: its brightest quarter is A.
        mask = selection_as_float(marks.selection)
        level = float(np.quantile(mask[mask >= 0.5], 0.75))
        full = marks.where(lambda part: np.minimum(part / np.float32(level), 1.0) >= 1.0)
    touched = marks.where(lambda part: part / np.float32(level) > 1.0 - _FULL)
    own_width = _reach(full, touched, threads)
    if width == 0 or (automatic and own_width >= width):
        return SoftBand(marks, level, own_width, side, None)
    halves = marks.where(lambda part: np.minimum(part / np.float32(level), 1.0) >= 0.5)
    core = {"outside": full, "inside": touched, "centred": halves}[side]
    return SoftBand(marks, level, width, side, HardBand(core, width, side, threads))


def _reach(full: Bools, touched: Bools, threads: int) -> float:
    """The longest distance of a touched pixel from the full ones."""
    distances = DistanceField(full, threads=threads)
    longest = [0.0]

    def strip(first: int, last: int) -> None:
        part = touched[first:last]
        if part.any():
            longest.append(float(distances.rows(first, last)[part].max()))

    height, width = full.shape
    run_strips(strip, height, rows_of(_STRIP_PIXELS, width), threads, None)
    return max(longest)


def partial_coverage(weight: Float) -> npt.NDArray[np.uint16]:
    """Weights of B as coverage: never quite that of A or of C."""
    steps = np.clip(weight * np.float32(FULL) + np.float32(0.5), 1, FULL - 1)
    result: npt.NDArray[np.uint16] = steps.astype(np.uint16)
    return result


def in_band(coverage: npt.NDArray[np.uint16]) -> Bools:
    """Where a coverage is that of a pixel of B: neither 0 nor FULL."""
    # One comparison: 0 wraps around to the largest number.
    found: Bools = (coverage - np.uint16(1)) < np.uint16(FULL - 1)
    return found


def _distances(longest: float) -> Float:
    """The distances whose squares are 0, 1, 2, … up to one that is longer than ``longest``."""
    squares = np.arange((int(longest) + 2) ** 2, dtype=np.float32)
    return np.sqrt(squares)


def _is_one(plane: Bools) -> bool:
    """Whether one yes stands for all pixels."""
    return plane.strides == (0, 0)


def _strip(a: Bools, reached: Bools, weight: Float) -> Strip:
    b = reached & ~a
    return Strip(a, b, weight[b])
