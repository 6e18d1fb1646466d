"""One rendering job, checked: what every backend may rely on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from maskupe.areas.coverage import Coverage, quantise
from maskupe.areas.transition import Areas
from maskupe.blending.weights import BlendCurve, LightLimit, linear
from maskupe.denoise import CleanRows
from maskupe.errors import InputError
from maskupe.maps import MAP_TYPES, Maps, ToneCurves, Window, find_invalid_array
from maskupe.pixel_layout import PIXEL_TYPES, colour_channels, scale_of
from maskupe.rendering.positions import Frame, Positions, axis_positions

Pixels: TypeAlias = npt.NDArray[Any]

#: The value of full white in each accepted type of pixel.
WHITE = {dtype: scale_of(dtype) for dtype in PIXEL_TYPES}


@dataclass(frozen=True)
class Job:
    """A checked job.

    Attributes:
        maps: the low-resolution proposal.
        image: (h, w, channels) uint8, uint16 or float32; 1 gray, 2 gray + alpha, 3 RGB, 4 RGBA.
        out: like ``image``; may be the same memory.
        coverage: uint16 (h, w), see :class:`maskupe.areas.coverage.Coverage`.
        fade: from coverage to blend weight.
        frame: where the region lies.
        strength: 0 and more.
        saturation: of what is brightened, -1…1, see :mod:`maskupe.rendering.saturation`; 0 where
            the image is gray.
        clean: what to enhance in place of the image, rows by first and last number,
            None where that is the image; see :mod:`maskupe.denoise`.
    """

    maps: Maps
    image: Pixels
    out: Pixels
    coverage: npt.NDArray[np.uint16]
    fade: BlendCurve
    frame: Frame
    strength: float
    saturation: float = 0.0
    clean: CleanRows | None = None

    def bound_rows(self, first: int, last: int) -> npt.NDArray[np.float32] | None:
        """Return the bound on added light in some rows, float32 (last - first, w).

        None where none is.
        """
        bound = self.fade.bound
        return None if bound is None else bound_rows(bound, self.frame, first, last)

    @property
    def height(self) -> int:
        """Rows of the region."""
        return int(self.image.shape[0])

    @property
    def width(self) -> int:
        """Columns of the region."""
        return int(self.image.shape[1])


def bound_positions(
    bound: LightLimit, frame: Frame, first: int, last: int
) -> tuple[Positions, Positions]:
    """Where a region's rows ``first`` to ``last`` (exclusive) and its columns lie on a bound."""
    rows, columns = bound.plane.shape
    top = frame.window.y + first - bound.y
    return (
        axis_positions(top, last - first, bound.height, rows),
        axis_positions(frame.window.x - bound.x, frame.width, bound.width, columns),
    )


def bound_rows(bound: LightLimit, frame: Frame, first: int, last: int) -> npt.NDArray[np.float32]:
    """Return a bound at the pixels of a region's rows, float32 (last - first, w)."""
    rows, columns = bound_positions(bound, frame, first, last)
    low, high = bound.plane[rows.low], bound.plane[rows.high]
    lines = low + rows.fraction[:, None] * (high - low)
    left = lines[:, columns.low]
    result: npt.NDArray[np.float32] = left + columns.fraction * (lines[:, columns.high] - left)
    return result


def make_job(
    maps: Maps,
    image: Pixels,
    areas: Areas | Coverage,
    window: Window,
    strength: float,
    weight: npt.NDArray[np.float32] | None,
    fade: BlendCurve | None,
    out: Pixels | None,
    clean: CleanRows | None = None,
    saturation: float = 0.0,
) -> Job:
    """Check the arguments of :func:`maskupe.rendering.render` and bring them into one form.

    Raises:
        InputError: for any shape, dtype or number that does not fit.
    """
    if image.dtype not in WHITE or image.ndim not in (2, 3) or image.size == 0:
        raise InputError(
            f"An image of shape {image.shape} and type {image.dtype} cannot be rendered.",
            "Pass (height, width) with 1 to 4 channels, as uint8, uint16 or float32.",
        )
    if image.ndim == 3 and not 1 <= image.shape[2] <= 4:
        raise InputError(f"An image has 1 to 4 channels, not {image.shape[2]}.")
    height, width = image.shape[:2]
    if out is None:
        out = np.empty(image.shape, image.dtype)
    elif out.shape != image.shape or out.dtype != image.dtype or not out.flags.writeable:
        raise InputError("The output array must be writeable, of the image's shape and type.")
    if areas.shape != (height, width):
        raise InputError(f"The areas' shape {areas.shape} is not the image's {(height, width)}.")
    if weight is None and isinstance(areas, Coverage):
        coverage = areas.plane
    else:
        weight = areas.weight if weight is None else weight
        if weight.shape != (height, width) or weight.dtype != np.float32:
            raise InputError(
                f"The weight must be float32 of shape {(height, width)}, "
                f"not {weight.dtype} of shape {weight.shape}."
            )
        coverage = quantise(weight)
    inside = 0 <= window.x <= window.layer_width - width
    if not (inside and 0 <= window.y <= window.layer_height - height):
        raise InputError(
            f"A region of {width} × {height} px at ({window.x}, {window.y}) does not lie inside "
            f"a layer of {window.layer_width} × {window.layer_height} px."
        )
    if not (math.isfinite(strength) and strength >= 0):
        raise InputError(f"The strength {strength} is not a number from 0 upwards.")
    if not -1 <= saturation <= 1:
        raise InputError(f"The saturation {saturation} is not a number from -1 to 1.")
    check_maps(maps)
    if isinstance(maps, ToneCurves) and strength not in (0, 1):
        # The power acts on the map's few entries, so no backend has to take it per pixel.
        t = np.float32(strength)
        maps = ToneCurves(maps.table**t, maps.residual**t)
    shape = (height, width, -1)
    return Job(
        maps,
        image.reshape(shape) if image.ndim == 3 else image[:, :, None],
        out.reshape(shape) if out.ndim == 3 else out[:, :, None],
        coverage,
        fade or linear(),
        Frame(window, width),
        float(strength),
        0.0 if colour_channels(image) == 1 else float(saturation),
        clean,
    )


def check_maps(maps: Maps) -> None:
    """Refuse maps whose arrays do not have the shapes that :mod:`maskupe.maps` gives.

    Raises:
        InputError: naming the array that does not fit.
    """
    if type(maps) not in MAP_TYPES.values():
        raise InputError(f"{type(maps).__name__} is not a type of map.")
    found = find_invalid_array(maps)
    if found is not None:
        name, array = found
        raise InputError(
            f"{type(maps).__name__}.{name} of shape {array.shape} and type {array.dtype} "
            "is not a map that can be rendered."
        )
