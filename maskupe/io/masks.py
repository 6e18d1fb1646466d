"""Masks: which pixels a picture selects, or a sentence why it cannot be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskupe.errors import InputError
from maskupe.io.photo import Photo
from maskupe.io.reading import read_photo
from maskupe.pixel_layout import LUMA, scale_of

# Less than this share of full range is not selected; a mask without more selects nothing.
_SELECTED = 0.5
# Darker and brighter than these shares is black and white; in between is a picture's own gray.
_BLACK, _WHITE = 0.05, 0.95
# Pictures of classes have a colour for each; more colours than this come of soft edges.
_CLASSES = 256
_LOOKED_AT = 1_000_000


@dataclass(frozen=True)
class Mask:
    """What a picture selects.

    Attributes:
        selection: (H, W), uint8, uint16 or float32 in 0…1; full range is selected.
        notes: sentences about how it was understood, if that is not plain.
    """

    selection: npt.NDArray[Any]
    notes: tuple[str, ...] = ()


def read_mask(path: Path | str, size: tuple[int, int] | None = None) -> npt.NDArray[Any]:
    """Read a mask's selection; see :func:`interpret_mask`."""
    return interpret_mask(path, size).selection


def interpret_mask(path: Path | str, size: tuple[int, int] | None = None) -> Mask:
    """Read a mask: white (1) is selected, black (0) is not, gray in between.

    Colour counts by its luma, transparency as not selected. Two other kinds are understood as well:
    masks of 0 and 1, and pictures whose shape is in their transparency (a cut-out, black on
    transparent).

    Args:
        path: a picture of any kind that :func:`read_photo` takes.
        size: (height, width) of the photo as displayed, if it is to be checked.

    Raises:
        InputError: as :func:`read_photo`; if the mask is of another size, selects nothing, or holds
            a colour for each of several classes.
    """
    mask = read_photo(path)
    name = Path(path).name
    if size is not None and mask.size != size:
        raise InputError(
            f"The mask is {mask.size[1]} × {mask.size[0]} and the photo {size[1]} × {size[0]}.",
            "Save the mask at the photo's size, turned as the photo is displayed.",
        )
    # How much is selected is a number, not light: a profile's curve has no say in it.
    pixels = mask.pixels
    if mask.transfer is not None and mask.kept is not None:
        pixels = np.nan_to_num(mask.kept, nan=0.0, posinf=0.0, neginf=0.0)
    if pixels.dtype == np.float32 and (top := float(pixels.max())) > 1.5:
        raise InputError(
            f"The mask {name} has values up to {top:g}, and floats run from 0 to 1.",
            "Save it with 8 or 16 bits.",
        )
    if mask.has_alpha and (shape := _shape(pixels)) is not None:
        note = f"The mask {name} selects by its transparency: what is opaque is brightened."
        return Mask(shape, (note,))
    _check_classes(name, pixels)
    return _checked(name, _by_luma(mask, pixels))


def _by_luma(mask: Photo, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if pixels.ndim == 2:
        return pixels
    scale = np.float32(1.0 / scale_of(pixels.dtype))
    colour = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1]
    weights = (LUMA if colour.shape[2] == 3 else np.ones(1, np.float32)) * scale
    values: npt.NDArray[np.float32] = colour @ weights
    if mask.has_alpha:
        values *= pixels[..., -1] * scale
    # The luma weights' sum rounds to a hair above one.
    if pixels.dtype != np.float32:
        np.minimum(values, 1.0, out=values)
    return values


def _shape(pixels: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """Return the transparency, if that is where the shape is.

    It is, if something is transparent, something opaque, and what is to be seen is not a mask
    itself, white that selects: it is black throughout, or has colours and grays like a photograph.
    """
    top = scale_of(pixels.dtype)
    alpha = pixels[..., -1]
    visible = alpha >= _SELECTED * top
    if not visible.any() or visible.all():
        return None
    seen = pixels[visible][:, :-1]
    seen = seen[:: 1 + len(seen) // _LOOKED_AT] / np.float32(top)
    black = (seen < _BLACK).all(axis=1)
    between = ~black & ~(seen > _WHITE).all(axis=1)
    if black.all() or between.mean() > 0.5:
        return np.ascontiguousarray(alpha)
    return None


def _check_classes(name: str, pixels: npt.NDArray[Any]) -> None:
    """Raise InputError for a picture that has a colour for each of several classes."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] < 3:
        return
    flat = pixels.reshape(-1, pixels.shape[2])[:, :3]
    flat = flat[:: 1 + len(flat) // _LOOKED_AT].astype(np.int32)
    found = np.unique(flat @ np.array([65536, 256, 1], np.int32))
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1)
    chromatic = int(np.count_nonzero(np.ptp(colours, axis=1) > 16))
    if len(colours) <= _CLASSES and chromatic > 1:
        raise InputError(
            f"The mask {name} has {chromatic} different colours, as pictures of classes have.",
            "Make white what is to be brightened, and black all else.",
        )


def _checked(name: str, values: npt.NDArray[Any]) -> Mask:
    """Return the mask with its values in full range, if it selects anything."""
    full = scale_of(values.dtype)
    top = values.max()
    if top >= _SELECTED * full:
        return Mask(values)
    if full > 1 and top == 1:
        note = f"The mask {name} holds 0 and 1 and was taken for black and white."
        return Mask((values * np.asarray(full, values.dtype)).astype(values.dtype), (note,))
    if top <= 0:
        raise InputError(
            f"The mask {name} selects nothing: it is black throughout.",
            "Make white what is to be brightened.",
        )
    brightest = f"{top} of {full:.0f}" if full > 1 else f"{255 * float(top):.0f} of 255"
    raise InputError(
        f"The mask {name} selects nothing: its brightest value is {brightest}.",
        "Make white what is to be brightened.",
    )
