"""The guided filter, which smooths values but for the edges of a picture."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]


class GuidedFilter:
    """A guided filter (He, Sun and Tang, 2013): values are about a · guide + b in each window.

    Args:
        guide: float32 (h, w, 3).
        radius: of the window, in cells.
        eps: regularisation, in squared units of the guide.
    """

    def __init__(self, guide: Float, radius: int, eps: float) -> None:
        self._planes = [np.ascontiguousarray(guide[..., c]) for c in range(3)]
        self._size = (2 * radius + 1, 2 * radius + 1)
        r, g, b = self._planes
        mr, mg, mb = self._means = [self._mean(plane) for plane in self._planes]
        rr, gg, bb = (
            self._mean(plane * plane) - mean * mean + np.float32(eps)
            for plane, mean in zip(self._planes, self._means, strict=True)
        )
        rg = self._mean(r * g) - mr * mg
        rb = self._mean(r * b) - mr * mb
        gb = self._mean(g * b) - mg * mb
        # The inverse of a symmetric 3×3 matrix by its adjugate.
        c_rr, c_rg, c_rb = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
        c_gg, c_gb, c_bb = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
        self._adjugate = ((c_rr, c_rg, c_rb), (c_rg, c_gg, c_gb), (c_rb, c_gb, c_bb))
        self._scale = 1.0 / (rr * c_rr + rg * c_rg + rb * c_rb)

    def coefficients(self, values: Float) -> tuple[Float, Float]:
        """Return a, float32 (h, w, 3), and b, (h, w), of values (h, w)."""
        middle = self._mean(values)
        slopes = [
            self._mean(plane * values) - mean * middle
            for plane, mean in zip(self._planes, self._means, strict=True)
        ]
        a = [
            sum((c * slope for c, slope in zip(row, slopes, strict=True)), np.float32(0))
            * self._scale
            for row in self._adjugate
        ]
        b = middle - sum(x * mean for x, mean in zip(a, self._means, strict=True))
        return np.stack([self._mean(plane) for plane in a], axis=-1), self._mean(b)

    def _mean(self, plane: Any) -> Float:
        return np.asarray(cv2.blur(plane, self._size), np.float32)
