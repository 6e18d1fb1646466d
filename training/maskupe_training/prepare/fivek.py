"""MIT-Adobe FiveK (Bychkovsky et al. 2011): inputs and Expert C.

The inputs are published as DNG; everyone first develops them with zeroed settings to TIFF, PNG or
JPEG, which is what is read here. Expert C is published as 16-bit TIFF in ProPhoto RGB
(``tiff16_c/``), which is converted to sRGB; files without a profile, or with another one, are taken
as they are. Names begin with the number, ``a0001`` to ``a5000``.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import tifffile

from maskupe.errors import InputError
from maskupe.srgb import encode_srgb
from maskupe_training.data.images import U8, list_images, read_rgb
from maskupe_training.prepare.writing import (
    check_same_names,
    empty_target,
    finish,
    first_folder,
    write_pair,
)

#: The paper trains on the first 4,500 and validates on the remaining 500.
LAST_OF_TRAIN = 4500
_INPUTS = ("input", "tiff16_input", "InputAsShotZeroed", "InputZeroed", "raw_tiff")
_TARGETS = ("tiff16_c", "expertC", "expert_c", "ExpertC", "c", "target")
_ICC_TAG = 34675
# Linear ROMM (ProPhoto) RGB, white D50, to linear sRGB, white D65 (Bradford adaptation).
_PROPHOTO_TO_SRGB = np.array(
    [[2.0343, -0.7274, -0.3067], [-0.2288, 1.2317, -0.0029], [-0.0086, -0.1533, 1.1619]]
)


def prepare_fivek(source: Path, target: Path, long_edge: int) -> None:
    """Writes 8-bit sRGB copies, ``split.json`` (first 4,500 / last 500) and a manifest.

    Raises:
        InputError: for folders that are missing or empty, names without a number, pictures without
            a partner, pairs of different sizes, or a target that is not empty.
    """
    if not any((source / name).is_dir() for name in _INPUTS) and list(source.rglob("*.dng")):
        raise InputError(
            f"{source} has the inputs only as DNG.",
            "Develop them with zeroed settings to TIFF or PNG, into a folder named input.",
        )
    inputs = _numbered(first_folder(source, _INPUTS, "the developed inputs"))
    targets = _numbered(first_folder(source, _TARGETS, "Expert C's pictures"))
    check_same_names(inputs, targets)
    empty_target(target)
    splits: dict[str, list[str]] = {"train": [], "val": []}
    for name, path in sorted(inputs.items()):
        write_pair(target, name, _read(path), _read(targets[name]), long_edge)
        splits["train" if int(name[1:]) <= LAST_OF_TRAIN else "val"].append(name)
    finish(target, splits, {"data": "MIT-Adobe FiveK, Expert C", "long_edge": long_edge})


def _numbered(folder: Path) -> dict[str, Path]:
    """The pictures of a folder by ``a`` and their number."""
    found = {}
    for path in list_images(folder):
        match = re.match(r"a(\d{4})(?!\d)", path.name)
        if match is None:
            raise InputError(
                f"{path} does not begin with a FiveK number like a0001.", "Remove or rename it."
            )
        found[f"a{match.group(1)}"] = path
    return found


def _read(path: Path) -> U8:
    """A picture as sRGB uint8."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return read_rgb(path)
    try:
        with tifffile.TiffFile(path) as file:
            tag = file.pages.first.tags.get(_ICC_TAG)
            profile = bytes(tag.value) if tag is not None else b""
            # The profile's name is text within it, in one or two bytes per letter.
            if b"prophoto" in profile.replace(b"\0", b"").lower():
                return prophoto_to_srgb(file.asarray())
    except (tifffile.TiffFileError, ValueError, IndexError, OSError) as error:
        raise InputError(
            f"{path} cannot be read as a TIFF file.", "Download the file again."
        ) from error
    return read_rgb(path)


def prophoto_to_srgb(pixels: np.ndarray[tuple[int, ...], np.dtype[np.integer]]) -> U8:
    """ProPhoto (ROMM) RGB, uint8 or uint16 (H, W, 3), as sRGB uint8; other colours are clipped."""
    encoded = pixels[..., :3].astype(np.float64) / np.iinfo(pixels.dtype).max
    # ISO 22028-2: gamma 1.8 with a linear toe below 16/512 of the code range.
    linear = np.where(encoded < 16 / 512, encoded / 16, encoded**1.8)
    srgb = encode_srgb((linear @ _PROPHOTO_TO_SRGB.T).astype(np.float32))
    return np.asarray(np.rint(srgb * 255), np.uint8)
