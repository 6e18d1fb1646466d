"""Between stored pixels and colours 0…1, and the one place where the effect is blended in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskupe.areas.coverage import Coverage
from maskupe.blending.weights import BlendCurve, limit_added_light
from maskupe.maps import Window
from maskupe.parallel import STRIP_PIXELS, rows_of
from maskupe.pixel_layout import LUMA
from maskupe.rendering.job import WHITE, Job, Pixels, bound_rows
from maskupe.rendering.positions import Frame
from maskupe.rendering.saturation import saturate

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PixelRows:
    """Some rows of a job, their colours taken out of the pixels.

    Attributes:
        image: (rows, w, channels), the stored pixels.
        raw: float32 (rows, w, 1 or 3), the colour channels in stored units.
        colour: float32 (rows, w, 3), clipped to 0…1; NaN counts as 0 here.
    """

    image: Pixels
    raw: Floats
    colour: Floats


def read_rows(image: Pixels) -> PixelRows:
    """Take the colours out of some rows (rows, w, 1 to 4 channels)."""
    colours = 3 if image.shape[2] >= 3 else 1
    raw = image[:, :, :colours].astype(np.float32)
    with np.errstate(invalid="ignore"):  # signalling NaNs are pixels like others
        colour = raw * np.float32(1.0 / WHITE[image.dtype])
    np.fmax(colour, np.float32(0.0), out=colour)
    np.fmin(colour, np.float32(1.0), out=colour)
    if colours == 1:
        colour = np.repeat(colour, 3, axis=2)
    return PixelRows(image, raw, colour)


def finish_difference(job: Job, strip: PixelRows, clean: Floats | None, difference: Floats) -> None:
    """Make what the maps add to what was enhanced what the job adds to the pixels, in place.

    Args:
        job: the job.
        strip: the rows.
        clean: float32 (rows, w, 4), what was enhanced in their place, see
            :class:`maskupe.denoise.CleanRows`; None if that is ``strip.colour``.
        difference: float32 (rows, w, 3), enhanced minus what was enhanced; it is overwritten.
    """
    if clean is None:
        saturate(strip.colour, difference, job.saturation)
        return
    difference *= clean[..., 3:]
    saturate(clean[..., :3], difference, job.saturation)
    difference += clean[..., :3]
    difference -= strip.colour


def write_rows(
    rows: PixelRows,
    difference: Floats,
    weight: Floats | None,
    out: Pixels,
    bound: Floats | None = None,
) -> None:
    """Write image + weight · difference to ``out``, rounded to nearest (halves up) for integers.

    Args:
        rows: the pixels.
        difference: float32 (rows, w, 3), enhanced minus ``rows.colour``; it is overwritten.
        weight: float32 (rows, w), None if it is 1 everywhere; where it is 0, or alpha is 0, the
            pixel keeps its bits.
        out: (rows, w, channels), may be the image itself.
        bound: float32 (rows, w), the most light on edges, see
            :func:`maskupe.blending.weights.limit_added_light`.
    """
    if weight is not None and bound is not None:
        weight = limit_added_light(weight, difference, bound)
    image, value = rows.image, rows.raw
    white = WHITE[image.dtype]
    if value.shape[2] == 1:
        difference = (difference @ LUMA)[:, :, None]
    difference *= np.float32(white) if weight is None else (weight * np.float32(white))[:, :, None]
    with np.errstate(invalid="ignore"):
        value += difference
    if image.dtype != np.float32:
        value += np.float32(0.5)
        np.clip(value, 0.0, white, out=value)
    if weight is None and image.shape[2] in (1, 3):
        np.copyto(out, value, casting="unsafe")
        return
    changed = np.ones(image.shape[:2], bool) if weight is None else weight > 0
    if image.shape[2] in (2, 4):
        changed &= image[:, :, -1] != 0
    if out is not image and not np.shares_memory(out, image):
        out[...] = image
    np.copyto(out[:, :, : value.shape[2]], value.astype(image.dtype), where=changed[:, :, None])


def weights(
    coverage: Coverage,
    fade: BlendCurve,
    window: Window,
    image: Pixels,
    enhanced: Pixels | None = None,
) -> Floats:
    """Return the blend weights of a region, float32 (h, w).

    Args:
        coverage: of the region.
        fade: from coverage to weight.
        window: where the region lies in its layer.
        image: the pixels.
        enhanced: the same with the full effect; without it the bound on added light is left out,
            so that the weights show the areas and nothing else.
    """
    result = np.empty(coverage.shape, np.float32)
    height, width = result.shape
    step = rows_of(STRIP_PIXELS, width)
    for first in range(0, height, step):
        rows = slice(first, min(height, first + step))
        result[rows] = fade.weights(coverage.plane[rows])
        if enhanced is not None and fade.bound is not None:
            before, after = (
                read_rows(pixels.reshape(height, width, -1)[rows]).colour
                for pixels in (image, enhanced)
            )
            most = bound_rows(fade.bound, Frame(window, width), rows.start, rows.stop)
            result[rows] = limit_added_light(result[rows], after - before, most)
    return result
