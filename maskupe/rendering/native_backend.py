"""The compiled kernel: a small C library that is built with the wheel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from maskupe.errors import MaskUPEError
from maskupe.native import DEPTHS, load
from maskupe.native.structure import NativeJob
from maskupe.parallel import STRIP_PIXELS, StripFunction, rows_of
from maskupe.pixel_layout import has_whole_rows
from maskupe.rendering.job import Job, bound_positions
from maskupe.rendering.packing import pack_map

#: Where noise is removed, strips are whole rows of tiles of so many rows.
_TILE_ROWS = 64
#: The kernel reads this many columns' positions beyond the last one (BLOCK of ``guide.h``).
_COLUMN_PAD = 32
#: Results from this size on do not stay in a cache anyway: they are written past it, which saves
#: reading the memory that is about to be overwritten.
_STREAM_BYTES = 16 << 20


# Arrays with an entry for each row of the region.
_BY_ROW = ("row_low", "row_high", "row_part", "bound_row_low", "bound_row_high", "bound_row_part")


class RenderingError(MaskUPEError):
    """A rendering backend that was asked for cannot be used here."""

    code = "no-renderer"


def available() -> bool:
    """Return whether the kernel loads on this machine."""
    return load() is not None


def prepare(job: Job) -> tuple[StripFunction, int]:
    """Return the function that renders a strip of rows, and how many rows to give it.

    Raises:
        RenderingError: if the kernel is not part of this installation or does not load.
    """
    library = load()
    if library is None:
        raise RenderingError(
            "The compiled renderer is not part of this installation, or is switched off.",
            "Leave the choice of the renderer to MaskUPE, or install a wheel for this platform.",
        )
    # Tone curves are stored by type of pixel, and clean rows are floats.
    forms = {False: _common(job, job.image.dtype)}
    if job.clean is not None:
        forms[True] = _common(job, np.dtype(np.float32))

    def strip(first: int, last: int) -> None:
        clean = job.clean(first, last) if job.clean is not None else None
        common, kept = forms[clean is not None]
        native = NativeJob.from_buffer_copy(common)
        if clean is not None:
            native.clean = clean.ctypes.data
        rows = slice(first, last)
        out = job.out[rows]
        target = out if has_whole_rows(out) else np.empty(out.shape, out.dtype)
        planes = {
            "image": _whole_rows(job.image[rows]),
            "coverage": _whole_rows(job.coverage[rows]),
            "out": target,
        }
        for name, array in planes.items():
            setattr(native, name, array.ctypes.data)
            setattr(native, f"{name}_stride", array.strides[0])
        for name in _BY_ROW:
            if name in kept:
                setattr(native, name, kept[name].ctypes.data + 4 * first)
        scratch = np.zeros(library.maskupe_scratch_size(native) // 4 + 1, np.float32)
        library.maskupe_render(native, 0, last - first, scratch.ctypes.data)
        if target is not out:
            out[...] = target

    rows = rows_of(2 * STRIP_PIXELS, job.width)
    if job.clean is not None:
        rows = max(1, rows // _TILE_ROWS) * _TILE_ROWS
    return strip, rows


def _common(job: Job, dtype: np.dtype[Any]) -> tuple[NativeJob, dict[str, npt.NDArray[Any]]]:
    """Return what all strips of a job share, and the arrays that it points into, by field."""
    arranged = pack_map(job.maps, dtype)
    kept: dict[str, npt.NDArray[Any]] = {
        "map": arranged.map,
        "table": arranged.table,
        "guide": arranged.guide,
        "ramp": job.fade.ramp,
    }
    bound = job.fade.bound
    if bound is not None:
        down, across = bound_positions(bound, job.frame, 0, job.height)
        kept |= {"bound": bound.plane, "bound_low": across.low, "bound_high": across.high}
        kept |= {"bound_part": across.fraction, "bound_row_low": down.low}
        kept |= {"bound_row_high": down.high, "bound_row_part": down.fraction}
    native = NativeJob(
        width=job.width,
        channels=job.image.shape[2],
        depth=DEPTHS[job.image.dtype],
        kind=arranged.map_number,
        count=arranged.count,
        knots=arranged.knots,
        stream=job.out.nbytes >= _STREAM_BYTES,
        strength=job.strength,
        saturation=job.saturation,
        bound_columns=0 if bound is None else bound.plane.shape[1],
    )
    if arranged.shape is not None:
        rows = job.frame.rows(0, job.height, arranged.shape[0])
        columns = job.frame.columns(arranged.shape[1])
        part = np.pad(columns.fraction, (0, _COLUMN_PAD))
        native.map_rows, native.map_columns = arranged.shape
        kept |= {"row_low": rows.low, "row_high": rows.high, "row_part": rows.fraction}
        ends = np.searchsorted(columns.low, columns.low, side="right").astype(np.int32)
        kept |= {"column_low": columns.low, "column_high": columns.high, "column_end": ends}
        kept |= {"column_part": part, "column_part3": np.repeat(part, 3)}
    for name, array in kept.items():
        setattr(native, name, array.ctypes.data)
    return native, kept


def _whole_rows(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array if has_whole_rows(array) else np.ascontiguousarray(array)
