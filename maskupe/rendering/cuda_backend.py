"""The renderer for NVIDIA cards: strips through pinned memory, one kernel, several streams.

Each of the caller's threads takes a :class:`~maskupe.rendering.staging.Slot`, copies a strip's
pixels into its pinned memory, and has its stream do the rest: to the card, the kernel, and back.
While one thread waits for that, others copy; so copies both ways, the kernel and the processor's
own copying overlap without a strip knowing of another, and a job stops between strips like any.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from maskupe.areas.rows import FULL
from maskupe.native import DEPTHS
from maskupe.parallel import StripFunction, rows_of
from maskupe.rendering import packing
from maskupe.rendering.choice import MOST_SLOTS
from maskupe.rendering.job import Job, bound_positions
from maskupe.rendering.native_backend import RenderingError
from maskupe.rendering.positions import Positions

#: Least and most bytes of a strip, both ways together. What Python has to say for each takes about
#: 0.1 ms, one thread at a time; what is pinned for it stays until nobody wants it.
STRIP_BYTES = (1 << 20, 16 << 20)
#: About how many strips make a job: a few for each slot, so that none has long to wait at the end.
STRIPS = 3 * MOST_SLOTS
# Most rows of a launch, the limit of a grid's second axis.
_MOST_ROWS = 65535
# Of so many rows and columns one is looked at before all of them are.
_STEP = 16
# What the kernel is pointed to where a job has no such array.
_NOTHING = np.zeros(4, np.int32)


def prepare(job: Job, device: str = "cuda") -> tuple[StripFunction, int]:
    """Return the function that renders a strip of rows on ``device``, and how many rows to give it.

    Args:
        job: the job.
        device: ``cuda`` or ``cuda:N``; the processor where Triton interprets.

    Raises:
        RenderingError: if there is no card, PyTorch or Triton here.
    """
    try:
        from maskupe.rendering.staging import Launch, staging_for
    except ModuleNotFoundError as error:
        raise RenderingError(
            f"The renderer for graphics cards needs PyTorch with Triton: {error}.",
            "Leave the choice of the renderer to MaskUPE, or install 'maskupe[torch]'.",
        ) from error
    staging = staging_for(device)
    arrays, numbers, compiled_in = describe(job)
    launch = Launch(staging.take_parameters(arrays), numbers, compiled_in)
    rows = strip_rows(job)

    def strip(first: int, last: int) -> None:
        for start in range(first, last, rows):
            _render(start, min(start + rows, last))

    def _render(first: int, last: int) -> None:
        image, out, coverage = (p[first:last] for p in (job.image, job.out, job.coverage))
        least, most = range_of(coverage)
        if most == 0:
            out[...] = image
            return
        clean = None if job.clean is None else job.clean(first, last)
        with staging.slot() as slot:
            slot.render(launch, first, image, None if least == FULL else coverage, clean, out)

    return strip, rows


def strip_rows(job: Job) -> int:
    """Return how many rows make a strip."""
    pixel = 2 * job.image.dtype.itemsize * job.image.shape[2] + job.coverage.itemsize
    least, most = STRIP_BYTES
    size = min(max(job.height * job.width * pixel // STRIPS, least), most)
    return min(rows_of(size // pixel, job.width), _MOST_ROWS)


def range_of(coverage: npt.NDArray[np.uint16]) -> tuple[int, int]:
    """Return the least and the largest coverage of some rows; two that differ, if these do."""
    few = coverage[:1] if coverage.strides[0] == 0 else coverage[::_STEP, ::_STEP]
    least, most = int(few.min()), int(few.max())
    if least != most or coverage.strides[0] == 0:
        return least, most
    return int(coverage.min()), int(coverage.max())


#: Names of the arrays of parameters, in the order of the kernel's arguments.
ARRAYS = (
    *("rows", "columns", "map", "table", "guide", "ramp"),
    *("bound", "bound_rows", "bound_columns"),
)


def describe(
    job: Job,
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, float], dict[str, int]]:
    """The kernel's arguments: arrays of parameters, numbers, and numbers that are compiled in."""
    arranged = packing.pack_map(job.maps, np.dtype(np.float32))
    arrays: dict[str, npt.NDArray[Any]] = dict.fromkeys(ARRAYS, _NOTHING)
    arrays |= {"map": arranged.map, "table": arranged.table, "guide": arranged.guide}
    arrays["ramp"] = job.fade.ramp
    map_rows, map_columns = arranged.shape or (1, 1)
    if arranged.shape is not None:
        arrays["rows"] = _packed(job.frame.rows(0, job.height, map_rows))
        arrays["columns"] = _packed(job.frame.columns(map_columns))
    bound_height = bound_width = 1
    if job.fade.bound is not None:
        bound_height, bound_width = job.fade.bound.plane.shape
        down, across = bound_positions(job.fade.bound, job.frame, 0, job.height)
        arrays |= {"bound": job.fade.bound.plane, "bound_rows": _packed(down)}
        arrays["bound_columns"] = _packed(across)
    numbers = {
        "height": job.height,
        "width": job.width,
        "map_rows": map_rows,
        "map_columns": map_columns,
        "bound_height": bound_height,
        "bound_width": bound_width,
        "count": arranged.count,
        "strength": job.strength,
        "saturation": job.saturation,
    }
    compiled_in = {
        "KIND": arranged.map_number,
        "STEPS": arranged.count if arranged.map_number == packing.CURVE else 0,
        "KNOTS": arranged.knots,
        "DEPTH": DEPTHS[job.image.dtype],
        "CHANNELS": job.image.shape[2],
        "BOUND": int(job.fade.bound is not None),
        "SATURATED": int(job.saturation != 0),
    }
    return arrays, numbers, compiled_in


def _packed(positions: Positions) -> npt.NDArray[np.int32]:
    """Return positions as int32 (2, n): the low cells, and the bits of the ways to the next."""
    return np.stack([positions.low, positions.fraction.view(np.int32)])
