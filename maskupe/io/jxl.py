"""JPEG XL files: pixels by libjxl through imagecodecs, the header and the boxes by hand.

imagecodecs gives out pixels alone. Size, depth and colour space stand in the first bits of the
codestream (ISO/IEC 18181-1, annexes C to E), EXIF and XMP in boxes around it (18181-2). A profile,
which is compressed in the codestream, cannot be read: such files are refused, not shown in other
colours. Those that were made of a JPEG can: they are turned into that JPEG again, with all that it
had.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from maskupe.errors import InputError, MaskUPEError
from maskupe.io import colour, exif, jpeg, modern, xmp
from maskupe.io.limits import check_size
from maskupe.io.photo import LOST_BESIDE, Metadata, Photo

SIGNATURES = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
#: Of libjxl's level 5, which every reader takes.
MAX_SIDE = 262_144
# EXIF and XMP beyond this are damaged or a trap.
_MAX_UNPACKED = 16 * 2**20
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_ALPHA, _SPOT, _FILTER = 0, 2, 5
_GRAY, _XYB = 1, 2
_CUSTOM, _DCI_WHITE, _P3, _D65_P3 = 2, 11, 11, 12
_SRGB_CURVE = 13
# A JPEG's markers: the end of the picture, a scan, APP0 to APP15, a comment, bytes between markers.
_END, _SCAN, _SEGMENTS = 0xD9, 0xDA, frozenset([*range(0xE0, 0xF0), 0xFE, 0xFF])
# 16 MiB in all.
_MAX_SEGMENTS = 256


@dataclass(frozen=True)
class _Header:
    """What a codestream says.

    Attributes:
        codes: the colour space as in PNG's cICP chunk, None for an ICC profile.
        curve_at: the bit behind the signature at which the number of the curve begins, 0 where
            there is none.
    """

    width: int
    height: int
    bits: int = 8
    floats: bool = False
    animated: bool = False
    codes: bytes | None = bytes([1, _SRGB_CURVE, 0, 1])
    curve_at: int = 0


class _Bits:
    """Numbers of a codestream, from the lowest bit of its first byte on."""

    def __init__(self, data: bytes) -> None:
        self._data = int.from_bytes(data, "little")
        self._left = 8 * len(data)
        self.position = 0

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("its header is cut short")
        value = self._data & ((1 << count) - 1)
        self._data >>= count
        self._left -= count
        self.position += count
        return value

    def flag(self) -> bool:
        return bool(self.take(1))

    def choice(self, *forms: tuple[int, int]) -> int:
        """Return a number in one of four forms, (bits, what is added)."""
        bits, added = forms[self.take(2)]
        return self.take(bits) + added

    def enum(self) -> int:
        return self.choice((0, 0), (0, 1), (4, 2), (6, 18))


def _header(codestream: bytes) -> _Header:
    """Parse the size and the picture's metadata; ValueError if there are none."""
    bits = _Bits(codestream[2:4096])
    height, width = _size(bits)
    if bits.flag():  # all as usual
        return _Header(width, height)
    animated = False
    if bits.flag():  # extra fields
        bits.take(3)  # orientation, which libjxl applies
        if bits.flag():
            _size(bits)
        if bits.flag():
            raise ValueError("it has a preview frame")
        if animated := bits.flag():
            return _Header(width, height, animated=True)
    floats, depth = _depth(bits)
    bits.take(1)
    for _ in range(bits.choice((0, 0), (0, 1), (4, 2), (12, 1))):
        _skip_channel(bits)
    bits.take(1)  # whether pixels are stored as XYB
    codes, curve_at = _codes(bits)
    return _Header(width, height, depth, floats, animated, codes, curve_at)


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.flag()

    def side() -> int:
        return 8 * (bits.take(5) + 1) if small else bits.choice((9, 1), (13, 1), (18, 1), (30, 1))

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return height, side()
    over, under = _RATIOS[ratio]
    return height, height * over // under


def _depth(bits: _Bits) -> tuple[bool, int]:
    if bits.flag():
        depth = bits.choice((0, 32), (0, 16), (0, 24), (6, 1))
        bits.take(4)
        return True, depth
    return False, bits.choice((0, 8), (0, 10), (0, 12), (6, 1))


def _skip_channel(bits: _Bits) -> None:
    if bits.flag():
        return
    channel = bits.enum()
    _depth(bits)
    bits.choice((0, 0), (0, 3), (0, 4), (3, 1))
    bits.take(8 * bits.choice((0, 0), (4, 0), (5, 16), (10, 48)))
    if channel == _ALPHA:
        bits.take(1)
    elif channel == _SPOT:
        bits.take(64)
    elif channel == _FILTER:
        bits.choice((0, 1), (2, 0), (4, 3), (8, 19))


def _codes(bits: _Bits) -> tuple[bytes | None, int]:
    """Return the colour space and where the number of its curve begins.

    No colour space for a profile, and for one that has no codes; no place for the usual curve.
    """
    if bits.flag():
        return bytes([1, _SRGB_CURVE, 0, 1]), 0
    profile, space = bits.flag(), bits.enum()
    if profile or space == _XYB:
        return None, 0
    white = bits.enum()
    primaries = 1 if space == _GRAY else None
    if white == _CUSTOM:
        return None, 0
    if primaries is None:
        primaries = bits.enum()
    if primaries == _CUSTOM or bits.flag():
        return None, 0
    if primaries == _P3 and white != _DCI_WHITE:
        primaries = _D65_P3
    curve_at = bits.position
    return bytes([primaries, bits.enum(), 0, 1]), curve_at


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (box_type, content) of each box of a container."""
    position = 0
    while position + 8 <= len(data):
        length, box_type = struct.unpack_from(">I4s", data, position)
        start = position + 8
        if length == 1 and start + 8 <= len(data):
            (length,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = position + length if length else len(data)
        if end < start:
            return
        yield box_type, data[start:end]
        position = end


def read(name: str, data: bytes) -> Photo:
    """Decode a JPEG XL file to gray or RGB, with or without alpha: uint8, uint16 or float32.

    Raises:
        InputError: if it is damaged, animated, HDR, too large, or has a profile.
        MemoryLimitError: if it does not fit into memory.
    """
    codestream = data
    found: dict[bytes, bytes] = {}
    if data.startswith(SIGNATURES[1]):
        codestream = b""
        for box_type, content in _boxes(data):
            if box_type in (b"jxlc", b"jxlp") and not codestream:
                codestream = content[4:] if box_type == b"jxlp" else content
            elif box_type == b"brob" and content[:4] in (b"Exif", b"xml "):
                found.setdefault(content[:4], _inflated(content[4:]))
            elif box_type in (b"Exif", b"xml ", b"jhgm", b"jbrd"):
                found.setdefault(box_type, content)
    try:
        header = _header(codestream)
    except ValueError as error:
        raise InputError(f"{name} is a damaged JPEG XL file ({error}).") from error
    if header.animated:
        raise InputError(f"{name} is an animation.", "Save the frame you want as a still.")
    check_size(name, header.width, header.height, 16 if header.floats else 8)
    if _can_be_rebuilt(found.get(b"jbrd", b"")):
        made_of = _jpeg_again(name, data)
        if made_of is not None:
            return made_of
    if header.codes is None:
        raise InputError(
            f"{name} is a JPEG XL with a colour profile, which cannot be read.",
            "Save it as a PNG or TIFF, or as a JPEG XL in sRGB; or convert it: "
            "djxl photo.jxl photo.png",
        )
    described = colour.profile_of_codes(name, header.codes)
    try:
        pixels: npt.NDArray[Any] = imagecodecs.jpegxl_decode(data)
    except (imagecodecs.JpegxlError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} is a damaged JPEG XL file ({error}).") from error
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] > 4):
        raise InputError(
            f"{name} is an animation or has further channels.", "Save a plain picture."
        )
    if pixels.dtype == np.uint16 and header.bits < 16:
        pixels = modern.full_range(pixels, header.bits)
    elif pixels.dtype not in (np.uint8, np.uint16):
        pixels = pixels.astype(np.float32, copy=False)
    block = exif.without_mark(found.get(b"Exif", b"")[4:])
    packet, promised = xmp.normalise(found.get(b"xml ", b""))
    metadata = Metadata(
        colour=described,
        exif=exif.normalise_orientation(block, exif.orientation(block)),
        xmp=packet,
        lost=(LOST_BESIDE,) if promised or b"jhgm" in found else (),
    )
    return Photo(np.ascontiguousarray(pixels), "JPEG XL", metadata)


def _can_be_rebuilt(about: bytes) -> bool:
    """Return whether there is a JPEG in a file, and one of sensible size.

    Args:
        about: its box "jbrd", which begins with the JPEG's markers (ISO/IEC 18181-2, annex A). Each
            segment may claim 64 KiB that take no room in the box, and each scan takes the time of a
            whole picture.
    """
    bits = _Bits(about[:4096])
    segments = scans = 0
    try:
        bits.take(1)
        while (marker := 0xC0 + bits.take(6)) != _END:
            scans += marker == _SCAN
            segments += marker in _SEGMENTS
    except ValueError:
        return False
    return scans <= jpeg.MANY_SCANS and segments <= _MAX_SEGMENTS


def _jpeg_again(name: str, data: bytes) -> Photo | None:
    """Return the photo of the JPEG that a file was made of, ``None`` if it cannot be had."""
    try:
        original = bytes(imagecodecs.jpegxl_decode_jpeg(data, numthreads=1))
    except (imagecodecs.JpegxlError, ValueError, RuntimeError):
        return None
    photo = jpeg.read(name, original)
    # What only a JPEG could hold has no place in the result.
    return replace(photo, format="JPEG XL", metadata=replace(photo.metadata, extras=()))


def _inflated(content: bytes) -> bytes:
    try:
        return bytes(imagecodecs.brotli_decode(content, out=_MAX_UNPACKED))
    except (imagecodecs.BrotliError, ValueError, RuntimeError):
        return b""


def encode(pixels: npt.NDArray[Any], metadata: Metadata) -> bytes:
    """Return a JPEG XL file without any loss, of pixels in sRGB.

    Args:
        pixels: (H, W) or (H, W, 2|3|4), uint8 or uint16.
        metadata: EXIF and XMP of it are written beside them.
    """
    try:
        encoded = bytes(
            imagecodecs.jpegxl_encode(
                np.ascontiguousarray(pixels), lossless=True, effort=3, usecontainer=True
            )
        )
    except (imagecodecs.JpegxlError, ValueError, RuntimeError) as error:
        raise MaskUPEError(
            f"The result could not be encoded as JPEG XL ({error}).", "Write a PNG or TIFF."
        ) from error
    pieces = [_as_srgb(encoded)]
    for box_type, content in ((b"Exif", metadata.exif), (b"xml ", metadata.xmp)):
        if content:
            start = bytes(4) if box_type == b"Exif" else b""
            pieces.append(
                struct.pack(">I", 8 + len(start) + len(content)) + box_type + start + content
            )
    return b"".join(pieces)


def _as_srgb(file: bytes) -> bytes:
    """Return a file whose pixels, stored as they are, are marked as sRGB's.

    imagecodecs marks those of more than 8 bits as linear light. The number of the one curve takes
    as many bits as that of the other, and lossless pixels do not depend on it.
    """
    codestream = next(
        content for box_type, content in _boxes(file) if box_type in (b"jxlc", b"jxlp")
    )
    start = file.index(codestream[:64]) + codestream.index(SIGNATURES[0])
    header = _header(file[start : start + 4096])
    if header.codes is None or header.codes[1] == _SRGB_CURVE:
        return file
    # A selector of two bits, 2 for the numbers from 2 on, and four bits.
    marked = int.from_bytes(file[start : start + 4096], "little")
    place = header.curve_at + 16 + 2
    marked &= ~(0b1111 << place)
    marked |= (_SRGB_CURVE - 2) << place
    size = min(4096, len(file) - start)
    return file[:start] + marked.to_bytes(size, "little") + file[start + size :]
