"""Which part of a layer a job works on, and how much memory that needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from maskupe.areas.transition import Transition, selection_as_float


def region_of(selection: npt.NDArray[np.generic], transition: Transition) -> tuple[slice, slice]:
    """Rows and columns that hold all of A and B: the selection's bounds, widened by the band.

    The whole image where nothing is selected, about which the areas will complain.
    """
    height, width = selection.shape
    if selection.dtype.kind == "f":
        selection = selection_as_float(selection)
    rows = np.flatnonzero(selection.any(axis=1))
    if rows.size == 0:
        return slice(0, height), slice(0, width)
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(selection[top:bottom].any(axis=0))
    left, right = int(columns[0]), int(columns[-1]) + 1
    reach = transition.reach((bottom - top) * (right - left), min(height, width))
    return (
        slice(max(0, top - reach), min(height, bottom + reach)),
        slice(max(0, left - reach), min(width, right + reach)),
    )


def estimate_bytes(
    region: Sequence[int], dtype: npt.DTypeLike, outputs: Sequence[str] = ("image",)
) -> int:
    """Return upper estimate of the memory in bytes that one job needs beyond the model.

    Args:
        region: shape (h, w[, c]).
        dtype: of the region.
        outputs: as in :meth:`Enhancer.enhance_region`.
    """
    pixels = int(region[0]) * int(region[1])
    channels = int(region[2]) if len(region) > 2 else 1
    planes = 2 * channels * np.dtype(dtype).itemsize
    # Two planes of distances, one of which becomes the coverage, and three of yes and no. When
    # these are gone, denoising takes their room: up to three bytes a pixel while it is prepared,
    # and less than one afterwards. The matte's planes have a size of their own, as the network's.
    planes += 2 + 2 + 3
    planes += 4 * min(channels, 3) * ("illumination" in outputs) + 4 * ("weight" in outputs)
    planes += 2 * ("areas" in outputs) + channels * np.dtype(dtype).itemsize * (
        "enhanced" in outputs
    )
    return pixels * planes + 64 * 1024 * 1024
