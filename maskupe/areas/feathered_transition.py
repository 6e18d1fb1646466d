"""The band of a feathered selection: its own ramp, perhaps together with a band around it."""

from __future__ import annotations

import numpy as np

from maskupe.areas.distance import DistanceField
from maskupe.areas.hard_transition import HardTransition
from maskupe.areas.rows import AreaRows, Bools, area_rows
from maskupe.areas.selection import SELECTED, SelectionAnalysis
from maskupe.areas.transition import selection_as_float, smoothstep
from maskupe.parallel import STRIP_PIXELS, parallel_rows, rows_of


class FeatheredTransition:
    """Areas of a feathered selection: its own ramp, perhaps widened or narrowed by a width."""

    uniform = False

    def __init__(
        self,
        marks: SelectionAnalysis,
        level: float,
        width: float,
        side: str,
        band: HardTransition | None,
    ) -> None:
        self.shape = marks.selected.shape[0], marks.selected.shape[1]
        self.width = width
        self._selection = marks.selection
        self._level = np.float32(level)
        self._side = side
        self._band = band

    def rows(self, first: int, last: int) -> AreaRows:
        """Return the areas of some rows."""
        mask = selection_as_float(self._selection[first:last])
        touched = mask > 1.0 - SELECTED
        full = mask >= SELECTED
        if self._level < 1:
            mask = np.minimum(mask / self._level, np.float32(1.0))
            full = mask >= 1.0
            touched = mask > 1.0 - SELECTED
        ramp = smoothstep(mask)
        if self._band is None:
            return area_rows(full, touched, ramp)
        band = self._band.rows(first, last)
        weight = band.a.astype(np.float32)
        weight[band.b] = band.weight
        if self._side == "outside":
            return area_rows(full, touched | band.b, np.maximum(ramp, weight))
        if self._side == "inside":
            return area_rows(full & band.a, touched, np.minimum(ramp, weight))
        mean = (ramp + weight) * np.float32(0.5)
        return area_rows(full & band.a, touched | band.a | band.b, mean)


def feathered_transition(
    marks: SelectionAnalysis, width: float, automatic: bool, side: str, threads: int
) -> FeatheredTransition:
    """Return the band of a feathered selection.

    A feather that reaches as far as the automatic width is the transition; a narrower one, such as
    a smoothed edge has, would show as a seam, and the automatic width widens it.
    """
    level = 1.0
    full = marks.where(lambda part: part >= SELECTED)
    if not full.any():
        # A feather wider than the selection never reaches one: its brightest quarter is A.
        mask = selection_as_float(marks.selection)
        level = float(np.quantile(mask[mask >= 0.5], 0.75))
        full = marks.where(lambda part: np.minimum(part / np.float32(level), 1.0) >= 1.0)
    touched = marks.where(lambda part: part / np.float32(level) > 1.0 - SELECTED)
    own_width = _reach(full, touched, threads)
    if width == 0 or (automatic and own_width >= width):
        return FeatheredTransition(marks, level, own_width, side, None)
    halves = marks.where(lambda part: np.minimum(part / np.float32(level), 1.0) >= 0.5)
    core = {"outside": full, "inside": touched, "centred": halves}[side]
    return FeatheredTransition(
        marks, level, width, side, HardTransition(core, width, side, threads)
    )


def _reach(full: Bools, touched: Bools, threads: int) -> float:
    """Return the longest distance of a touched pixel from the full ones."""
    distances = DistanceField(full, threads=threads)
    longest = [0.0]

    def strip(first: int, last: int) -> None:
        part = touched[first:last]
        if part.any():
            longest.append(float(distances.rows(first, last)[part].max()))

    height, width = full.shape
    parallel_rows(strip, height, rows_of(STRIP_PIXELS, width), threads, None)
    return max(longest)
