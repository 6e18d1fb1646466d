"""Writing the result: checked before the work, complete or not at all after it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskupe.errors import InputError
from maskupe.io import jpeg, jxl, modern, png, tiff, xmp
from maskupe.io.atomic import replacing
from maskupe.io.colour import is_srgb
from maskupe.io.photo import Format, Metadata, Photo

_FORMATS: dict[str, Format] = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WebP",
    ".avif": "AVIF",
    ".jxl": "JPEG XL",
}
#: JPEG quality if none is asked for: no loss that is seen at 4:4:4.
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Output:
    """A place for the result that has been checked.

    Attributes:
        path: the file to write; links are followed, so that a link stays one.
        format: by the file's extension.
        photo: what the result comes from, for its metadata.
        quality: of a JPEG, 1…100.
        notes: sentences about what this format cannot hold of the photo.
    """

    path: Path
    format: Format
    photo: Photo
    quality: int = JPEG_QUALITY
    notes: tuple[str, ...] = ()

    def write(self, pixels: npt.NDArray[Any]) -> None:
        """Write the result, replacing the file in one step; on failure nothing has changed.

        Args:
            pixels: of the photo's shape and dtype, encoded as they are.

        Raises:
            MaskUPEError: if the disk is full or the file cannot be replaced.
        """
        with replacing(self.path, like=self.photo.path) as part:
            self._encode(part, self.photo.as_stored(pixels))

    def _encode(self, part: Path, pixels: npt.NDArray[Any]) -> None:
        same_format = self.photo.format == self.format
        metadata = self.photo.metadata
        if self.format != "JPEG" and metadata.xmp_extension is not None:
            metadata = replace(metadata, xmp=xmp.without_extension(metadata.xmp))
        if self.format == "TIFF":
            tiff.write(part, pixels, metadata, extras=same_format)
        elif self.format == "PNG":
            part.write_bytes(png.encode(_as_integers(pixels), metadata, extras=same_format))
        elif self.format == "JPEG XL":
            part.write_bytes(jxl.encode(_as_integers(pixels), metadata))
        elif self.format == "WebP" or self.format == "AVIF":
            eight = _as_eight_bits(pixels)
            part.write_bytes(modern.encode(eight, metadata, self.format, quality=self.quality))
        else:
            eight = _as_eight_bits(_without_alpha(pixels))
            data = jpeg.encode(eight, metadata, quality=self.quality, extras=same_format)
            part.write_bytes(data)


def check_output(path: Path | str, photo: Photo, quality: int = JPEG_QUALITY) -> Output:
    """Return whether the result of this photo can be written there, found out before the work.

    Args:
        path: its ending says the format, .png, .jpg, .tif, .webp, .avif or .jxl; an existing file
            will be replaced.
        photo: what the result comes from; it may be the same file.
        quality: of a JPEG or AVIF, 1…100.

    Raises:
        InputError: if it cannot; says why.
    """
    path = Path(path)
    check_quality(quality)
    target = _writable(path, "output")
    file_format = format_of(path)
    if file_format == "JPEG":
        _check_fits_jpeg(path, photo)
    if file_format == "JPEG XL" and not is_srgb(photo.metadata.profile):
        raise InputError(
            "JPEG XL is written in sRGB only, and the photo has another colour space.",
            "Write a PNG, TIFF, WebP or AVIF, which keep its profile.",
        )
    limit = {"PNG": png.MAX_SIDE, "JPEG XL": jxl.MAX_SIDE, **modern.MAX_SIDES}.get(file_format)
    if limit is not None and max(photo.size) > limit:
        raise InputError(
            f"{file_format} holds at most {limit} pixels a side and this photo has more.",
            "Write a TIFF.",
        )
    return Output(target, file_format, photo, quality, _notes(file_format, photo))


def check_matte(path: Path | str, size: tuple[int, int]) -> Path:
    """Check that a matte can be written to a file, before the work.

    Args:
        path: ends in .png; an existing file will be replaced.
        size: (height, width) of the photo.

    Returns:
        The file that will be written: where links lead to.

    Raises:
        InputError: if it cannot be written; the sentence says why.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(
            f"The matte {path.name or path} is not a PNG file.", "Let its name end in .png."
        )
    if max(size) > png.MAX_SIDE:
        raise InputError(f"A matte, a PNG, holds at most {png.MAX_SIDE} pixels a side.")
    return _writable(path, "matte")


def encode_matte(matte: npt.NDArray[np.float32]) -> bytes:
    """Encode a matte as a gray PNG file of 16 bits, white where the effect is full.

    Args:
        matte: (H, W), float32 in 0…1.
    """
    return png.encode(_as_integers(matte), Metadata(), extras=False)


def format_of(path: Path) -> Format:
    """Return the format that an output's name asks for.

    Raises:
        InputError: if it asks for none that can be written.
    """
    file_format = _FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise InputError(
            f"The output {path.name or path} does not say its format.",
            f"Let it end in one of {', '.join(_FORMATS)}.",
        )
    return file_format


def check_quality(quality: int) -> None:
    """Raise InputError unless it is a JPEG's quality, 1…100."""
    if not 1 <= quality <= 100:
        raise InputError(f"The JPEG quality {quality} is not between 1 and 100.")


def _writable(path: Path, what: str) -> Path:
    """Return the file that will be written: where links lead to, if it can be written there."""
    try:
        return _target(path, what)
    except OSError as error:
        raise InputError(
            f"The {what} {path} cannot be written: {error.strerror or error}."
        ) from error


def _target(path: Path, what: str) -> Path:
    if path.is_dir():
        raise InputError(f"The {what} {path} is a directory.", "Name a file in it.")
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise InputError(f"The {what} {path} is a link that leads in a circle.", "Name a file.")
    if target.exists() and not target.is_file():
        raise InputError(f"The {what} {path} is not a regular file.")
    if not target.parent.is_dir():
        raise InputError(f"There is no directory {target.parent}.", "Make it first.")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise InputError(f"The directory {target.parent} cannot be written to.")
    # The file would be replaced, for which the directory's permission is enough; but whoever
    # made it read-only wants to keep it.
    if target.exists() and not os.access(target, os.W_OK):
        raise InputError(f"The {what} {path} is there and read-only.", "Name another file.")
    return target


def _check_fits_jpeg(path: Path, photo: Photo) -> None:
    if max(photo.size) > jpeg.MAX_SIDE:
        raise InputError(
            f"JPEG holds at most {jpeg.MAX_SIDE} pixels a side and this photo has more.",
            "Write a PNG or TIFF.",
        )
    if photo.has_alpha and not _is_opaque(photo.pixels):
        raise InputError(
            f"JPEG cannot hold the photo's transparency ({path.name}).", "Write a PNG or TIFF."
        )


def _is_opaque(pixels: npt.NDArray[Any]) -> bool:
    full = 1.0 if pixels.dtype == np.float32 else np.iinfo(pixels.dtype).max
    return bool((pixels[..., -1] >= full).all())


def _notes(file_format: Format, photo: Photo) -> tuple[str, ...]:
    """Return sentences about what the result will not hold of the photo."""
    notes = list(photo.metadata.lost)
    metadata = photo.metadata
    same_format = file_format == photo.format
    if file_format in ("JPEG", "WebP", "AVIF") and photo.depth != np.uint8:
        what = "JPEG holds" if file_format == "JPEG" else f"{file_format} is written with"
        notes.append(f"{what} 8 bits per channel; write a PNG or TIFF to keep the photo's depth.")
    if file_format in ("PNG", "JPEG XL") and photo.depth == np.float32:
        what = "PNG holds" if file_format == "PNG" else "JPEG XL is written with"
        notes.append(f"{what} 16 bits per channel; write a TIFF to keep the photo's floats.")
    if file_format == "JPEG" and (left_out := jpeg.too_large(metadata, extras=same_format)):
        lost = " and ".join(left_out)
        notes.append(f"JPEG has no room for the photo's {lost}; write a PNG or TIFF to keep it.")
    if file_format in ("WebP", "AVIF", "JPEG XL") and (left_out := modern.not_held(metadata)):
        lost = " and ".join(left_out)
        notes.append(f"{file_format} has no place for the photo's {lost}; write a PNG or TIFF.")
    if file_format != "JPEG" and metadata.xmp_extension is not None:
        notes.append(
            f"{file_format} cannot hold the photo's extended XMP; write a JPEG to keep it."
        )
    if file_format != "TIFF" and metadata.planes is not None:
        count = metadata.planes.shape[2]
        what = "further channel" if count == 1 else f"{count} further channels"
        notes.append(
            f"{file_format} cannot hold the photo's {what} (saved selections); "
            "write a TIFF to keep them."
        )
    return tuple(notes)


def _without_alpha(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if pixels.ndim == 2:
        return pixels
    return pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]


def _as_integers(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if pixels.dtype != np.float32:
        return pixels
    return np.asarray(np.rint(_clipped(pixels) * np.float32(65535.0)), np.uint16)


def _as_eight_bits(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    if pixels.dtype == np.uint16:  # v / 257 rounded, exactly
        return np.asarray((pixels.astype(np.uint32) * 255 + 32767) // 65535, np.uint8)
    return np.asarray(np.rint(_clipped(pixels) * np.float32(255.0)), np.uint8)


def _clipped(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return floats in 0…1, black where they are no number."""
    return np.clip(np.nan_to_num(pixels, nan=0.0), 0.0, 1.0)
