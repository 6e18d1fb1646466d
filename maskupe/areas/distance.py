"""Distances from every pixel to a set of pixels, some rows at a time.

A whole plane of float distances would be larger than the photograph. What is kept instead is one
plane of 16 bits, from which the compiled code makes the distances of a few rows when they are
asked for; without the compiled code OpenCV makes the plane of floats.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from maskupe.native import load
from maskupe.parallel import machine_threads, parallel_rows

Float = npt.NDArray[np.float32]

#: Distances beyond this many pixels count as infinite.
LONGEST = 65_534
# Fewer columns than this are not worth a thread.
_COLUMNS = 512


class DistanceField:
    """Euclidean distances between pixel centres, in pixels, to the nearest pixel of a set.

    Args:
        target: bool (h, w), the set.
        limit: distances that are longer than this may come out as infinite.
        threads: how many to use; all that the process may use if None.
    """

    def __init__(
        self, target: npt.NDArray[np.bool_], limit: float = math.inf, threads: int | None = None
    ) -> None:
        self._height, self._width = target.shape
        # One more than asked for: what lies at the limit must not depend on rounding it.
        self._limit = int(min(limit + 2, LONGEST, self._height + self._width))
        self._library = load()
        #: uint16 (h, w) where there is compiled code. Rows whose distances are no longer needed may
        #: be used for something else.
        self.plane: npt.NDArray[np.uint16] | None = None
        if self._library is None:
            self._distances = _by_opencv(target)
            return
        self.plane = np.empty(target.shape, np.uint16)
        if target.strides[1] != 1:
            target = np.ascontiguousarray(target)
        library, plane = self._library, self.plane

        def columns(first: int, last: int) -> None:
            library.maskupe_column_distances(
                *(target.ctypes.data, target.strides[0], plane.ctypes.data, self._width),
                *(self._height, first, last, self._limit),
            )

        threads = machine_threads() if threads is None else threads
        share = max(_COLUMNS, -(-self._width // threads))
        parallel_rows(columns, self._width, share, threads, None)

    def rows(self, first: int, last: int) -> Float:
        """Return float32 (last - first, w), the distances of some rows.

        Infinite if nothing is near.
        """
        if self.plane is None or self._library is None:
            return self._distances[first:last]
        out = np.empty((last - first, self._width), np.float32)
        scratch = np.empty((3, self._width), np.int32)
        self._library.maskupe_row_distances(
            *(self.plane[first:].ctypes.data, self._width, self._width, last - first),
            *(self._limit, out.ctypes.data, scratch.ctypes.data),
        )
        return out


def _by_opencv(target: npt.NDArray[np.bool_]) -> Float:
    if not target.any():
        return np.full(target.shape, np.inf, np.float32)
    zero_at_target = np.logical_not(target).view(np.uint8)
    found = cv2.distanceTransform(zero_at_target, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    distance = np.asarray(found, np.float32)
    # OpenCV's last bit depends on where in memory the rows lie. Squared distances are whole
    # numbers, so rounding those gives the same bits every time (up to 1,448 px, where float ends
    # and squared distances above 2^24 may differ in the last bit from the compiled code's).
    np.square(distance, out=distance)
    np.rint(distance, out=distance)
    return np.sqrt(distance, out=distance)
