"""WebP, AVIF and HEIC files: the codecs' own libraries through Pillow, and HEIC through an extra.

Pillow reads and writes their EXIF, XMP and profiles but only 8 bits, so deeper AVIF files are
decoded by imagecodecs.
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, Literal

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image

from maskupe import heic_decoder
from maskupe.errors import InputError, MaskUPEError, MemoryLimitError
from maskupe.io import colour, exif, photoshop, xmp
from maskupe.io.limits import check_size
from maskupe.io.orientation import upright
from maskupe.io.photo import LOST_BESIDE, Metadata, Photo

ModernFormat = Literal["WebP", "AVIF", "HEIC"]

#: WebP's size fields have 14 bits; libavif takes no more than 16384² pixels.
MAX_SIDES = {"WebP": 16383, "AVIF": 16384}
_BRANDS: dict[bytes, ModernFormat] = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    **dict.fromkeys([b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"], "HEIC"),
}
# Bytes at a file's beginning that tell what it is: an ISO file names several brands.
HEAD = 64


def detect_format(head: bytes) -> ModernFormat | None:
    """Return which of these formats a file is, by its first ``HEAD`` bytes."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        length = min(int.from_bytes(head[:4], "big"), HEAD)
        brands = [head[8:12], *(head[start : start + 4] for start in range(16, length, 4))]
        return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), None)
    return None


def read(name: str, data: bytes, file_format: ModernFormat) -> Photo:
    """Decode a file to gray or RGB, with or without alpha, uint8 or uint16.

    Raises:
        InputError: if it is damaged, animated, HDR or too large, or what reads it is not installed.
        MemoryLimitError: if it does not fit into memory.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return (
                _read_heic(name, data) if file_format == "HEIC" else _read(name, data, file_format)
            )
    except (InputError, MemoryLimitError, MemoryError):
        raise
    # As with TIFF: a damaged file can be wrong in any way, and the plug-ins let it through.
    except Exception as error:
        raise InputError(f"{name} is a damaged {file_format} file ({error}).") from error


def _read(name: str, data: bytes, file_format: ModernFormat) -> Photo:
    if file_format == "WebP":  # its library takes memory for the picture when it is opened
        width, height = _webp_size(data)
        check_size(name, width, height, 12)
    with Image.open(io.BytesIO(data), formats=[file_format.upper()]) as image:
        check_size(name, image.width, image.height, 8)
        if getattr(image, "n_frames", 1) > 1:
            raise InputError(f"{name} is an animation.", "Save the frame you want as a still.")
        info: dict[str, Any] = {str(key): value for key, value in image.info.items()}
        bits = _bits(data) if file_format == "AVIF" else 8
        if bits > 8:
            pixels: npt.NDArray[Any] = full_range(imagecodecs.avif_decode(data), bits)
        else:
            gray = image.mode in ("L", "LA")
            shown = image if gray or image.mode in ("RGB", "RGBA") else image.convert("RGBA")
            pixels = np.asarray(shown)
    block = exif.without_mark(info.get("exif") or b"")
    orientation = exif.orientation(block)
    codes = _colour_codes(data) if file_format == "AVIF" else b""
    metadata = _metadata(name, info, block, orientation, codes)
    return Photo(upright(pixels, orientation), file_format, metadata)


def _read_heic(name: str, data: bytes) -> Photo:
    if find_spec("pi_heif") is None:
        raise InputError(
            f"{name} is a HEIC picture.",
            "Install what reads it with: pip install 'maskupe[heic]'; or export it as JPEG.",
        )
    found = heic_decoder.decode(data, lambda width, height: check_size(name, width, height, 8))
    shape = (found.height, found.width, found.channels)[: 2 if found.channels == 1 else 3]
    if found.bits <= 8:
        pixels: npt.NDArray[Any] = np.frombuffer(found.pixels, np.uint8).reshape(shape)
    else:  # its values are moved up to the highest bits
        deep = np.frombuffer(found.pixels, np.uint16).reshape(shape)
        pixels = full_range(deep >> np.uint16(16 - found.bits), found.bits)
    block = exif.without_mark(found.exif)
    # The library turns the picture as its file says; EXIF only says it again.
    codes = bytes([*found.codes, 0, 1]) if found.codes else b""
    info = {"icc_profile": found.icc, "xmp": found.xmp}
    metadata = _metadata(name, info, block, exif.orientation(block), codes)
    if found.has_more:
        metadata = replace(metadata, lost=(LOST_BESIDE,))
    return Photo(np.ascontiguousarray(pixels), "HEIC", metadata)


def _metadata(
    name: str, info: dict[str, Any], block: bytes, orientation: int, codes: bytes
) -> Metadata:
    packet, promised = xmp.normalise(info.get("xmp") or b"")
    return Metadata(
        icc=info.get("icc_profile") or b"",
        colour=colour.profile_of_codes(name, codes) if codes else b"",
        exif=exif.normalise_orientation(block, orientation),
        xmp=packet,
        lost=(LOST_BESIDE,) if promised else (),
    )


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return width and height of the canvas (WebP container specification); 0 if there is none."""
    chunk, body = data[12:16], data[20:30]
    if len(body) == 10:
        if chunk == b"VP8X":
            across, down = (int.from_bytes(body[start : start + 3], "little") for start in (4, 7))
            return across + 1, down + 1
        if chunk == b"VP8L":
            bits = int.from_bytes(body[1:5], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        if chunk == b"VP8 ":
            across, down = struct.unpack_from("<HH", body, 6)
            return across & 0x3FFF, down & 0x3FFF
    return 0, 0


def _bits(data: bytes) -> int:
    """Bits of an AVIF's channels, from the first codec configuration (AV1-ISOBMFF, 2.3.3)."""
    place = data.find(b"av1C")
    flags = data[place + 6] if 0 <= place < len(data) - 6 else 0
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10


def _colour_codes(data: bytes) -> bytes:
    """Return what an AVIF says of its colours without a profile, as PNG's cICP chunk says it."""
    place = data.find(b"colrnclx")
    if place < 0 or place + 14 > len(data):
        return b""
    primaries, transfer = struct.unpack_from(">HH", data, place + 8)
    return bytes([primaries & 0xFF, transfer & 0xFF, 0, 1])


def full_range(values: npt.NDArray[Any], bits: int) -> npt.NDArray[np.uint16]:
    """Return integers of so many bits as the 16-bit ones nearest to them, full range in both."""
    top = 2**bits - 1
    return np.asarray((values.astype(np.uint32) * 65535 + top // 2) // top, np.uint16)


def encode(
    pixels: npt.NDArray[np.uint8], metadata: Metadata, file_format: ModernFormat, *, quality: int
) -> bytes:
    """Return a WebP file without any loss, or an AVIF file with full colour resolution (4:4:4).

    Args:
        pixels: (H, W) or (H, W, 2|3|4), uint8.
        metadata: what to write beside them.
        file_format: ``WebP`` or ``AVIF``.
        quality: of an AVIF, 1…100.
    """
    image = Image.fromarray(pixels)
    options: dict[str, Any] = {"icc_profile": metadata.profile or None}
    if metadata.exif:
        options["exif"] = b"Exif\0\0" + metadata.exif
    if metadata.xmp:
        options["xmp"] = metadata.xmp
    if file_format == "WebP":
        options |= {"lossless": True, "exact": True, "quality": 50}
    else:
        options |= {"quality": quality, "subsampling": "4:4:4", "speed": 6}
    buffer = io.BytesIO()
    try:
        image.save(buffer, file_format.upper(), **options)
    except (OSError, ValueError, KeyError) as error:
        raise MaskUPEError(
            f"The result could not be encoded as {file_format} ({error}).", "Write a PNG or TIFF."
        ) from error
    return buffer.getvalue()


def not_held(metadata: Metadata) -> list[str]:
    """Return name what of the metadata these formats have no place for."""
    return ["captions (IPTC)"] if photoshop.iptc_of(metadata.photoshop) else []
