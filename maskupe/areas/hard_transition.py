"""The band around a hard selection: a function of the distance from it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from maskupe.areas.distance import DistanceField
from maskupe.areas.rows import AreaRows, Bools, Float
from maskupe.areas.selection import is_one
from maskupe.areas.transition import smoothstep


class HardTransition:
    """Areas of a hard set: dilated and eroded by discs, the weight a function of the distance."""

    def __init__(self, selected: Bools, width: float, side: str, threads: int) -> None:
        self.shape = selected.shape[0], selected.shape[1]
        self.width = width
        self.uniform = is_one(selected) or bool(selected.all())
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

    @property
    def plane(self) -> npt.NDArray[np.uint16] | None:
        """uint16 (h, w), memory whose rows are free once :meth:`rows` has been asked for them."""
        field = self._outward or self._inward
        return None if field is None else field.plane

    def rows(self, first: int, last: int) -> AreaRows:
        """Return the areas of some rows."""
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
        return AreaRows(a, b, weight)
