"""JPEG files: segments by hand, pixels by OpenCV's libjpeg-turbo.

OpenCV would mix the metadata of one APP1 segment with the next and forgets the density; the
segments are few and simple (ITU-T T.81, annex B), so they are walked here.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskupe.errors import InputError, MaskUPEError
from maskupe.files import exif
from maskupe.files.limits import check_size
from maskupe.files.orientation import FIRST_TRANSPOSED, upright
from maskupe.files.photo import Metadata, Photo

SIGNATURE = b"\xff\xd8\xff"
_EXIF_MARK = b"Exif\0\0"
_XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"
_ICC_MARK = b"ICC_PROFILE\0"
_JFIF_MARK = b"JFIF\0"
_APP0, _APP1, _APP2, _APP13, _COMMENT = 0xE0, 0xE1, 0xE2, 0xED, 0xFE
_START_OF_SCAN, _END = 0xDA, 0xD9
# Start-of-frame markers: 0xC0…0xCF without the tables DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: A segment's length field counts itself, so this many bytes of payload fit.
MAX_PAYLOAD = 65533
_ICC_PIECE = MAX_PAYLOAD - len(_ICC_MARK) - 2
#: No JPEG is wider or higher than its 16-bit size fields, less libjpeg's own margin.
MAX_SIDE = 65500
_CENTIMETRES_PER_INCH = 2.54


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(marker, its position, payload) of each segment up to the first scan of pixels."""
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        yield marker, position, data[position + 4 : position + 2 + length]
        if marker in (_START_OF_SCAN, _END):
            return
        position += 2 + length


def _density(body: bytes) -> tuple[float, float] | None:
    if not body.startswith(_JFIF_MARK) or len(body) < 12:
        return None
    unit, across, down = struct.unpack_from(">BHH", body, 7)
    if unit not in (1, 2) or not across or not down:
        return None
    scale = 1.0 if unit == 1 else _CENTIMETRES_PER_INCH
    return across * scale, down * scale


def read(name: str, data: bytes) -> Photo:
    """Decodes a JPEG file to gray or RGB, uint8.

    Raises:
        InputError: if it is damaged, CMYK, deeper than 8 bits, or too large.
        MemoryLimitError: if it does not fit into memory.
    """
    block = xmp = b""
    profile: dict[int, bytes] = {}
    resolution: tuple[float, float] | None = None
    extras: list[tuple[bytes, bytes]] = []
    channels, scan = 0, len(data)
    for marker, position, body in _segments(data):
        if marker == _START_OF_SCAN:
            scan = position
        elif marker in _FRAMES and len(body) >= 6:
            depth, height, width, channels = struct.unpack_from(">BHHB", body)
            if depth != 8:
                raise InputError(f"{name} is a JPEG of {depth} bits.", "Save it as PNG or TIFF.")
            check_size(name, width, height, channels)
        elif marker == _APP0 and not resolution:
            resolution = _density(body)
        elif marker == _APP1 and body.startswith(_EXIF_MARK) and not block:
            block = body[len(_EXIF_MARK) :]
        elif marker == _APP1 and body.startswith(_XMP_MARK) and not xmp:
            xmp = body[len(_XMP_MARK) :]
        elif marker == _APP2 and body.startswith(_ICC_MARK) and len(body) > len(_ICC_MARK) + 2:
            profile[body[len(_ICC_MARK)]] = body[len(_ICC_MARK) + 2 :]
        elif marker in (_APP13, _COMMENT):
            extras.append((bytes([marker]), body))
    if channels == 4:
        raise InputError(f"{name} is a CMYK picture.", "Convert it to RGB first.")
    if channels not in (1, 3):
        raise InputError(f"{name} is a damaged JPEG file: it has no picture header.")
    orientation = exif.orientation(block)
    if resolution and orientation >= FIRST_TRANSPOSED:
        resolution = resolution[::-1]
    metadata = Metadata(
        b"".join(profile[number] for number in sorted(profile)),
        exif.settle(block, orientation),
        exif.settle_xmp(xmp),
        resolution,
        tuple(extras),
    )
    return Photo(upright(_decode(name, data, scan, channels), orientation), "JPEG", metadata)


def _decode(name: str, data: bytes, scan: int, channels: int) -> npt.NDArray[Any]:
    """The pixels, from the file and the position of its first scan."""
    wanted = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR
    flags = wanted | cv2.IMREAD_IGNORE_ORIENTATION
    # libjpeg fills what is missing of a cut-off file with gray and calls it a warning. Within the
    # pixels no marker but the end looks like one; a thumbnail's end lies before them, and behind
    # them there may be as much again: telephones append films.
    complete = data.find(bytes([0xFF, _END]), scan) >= 0
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if complete else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise InputError(f"{name} is a damaged or incomplete JPEG file.")
    if channels == 3:
        cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
    return np.asarray(pixels)


def encode(
    pixels: npt.NDArray[np.uint8], metadata: Metadata, *, quality: int, extras: bool
) -> bytes:
    """A JPEG file with full colour resolution (4:4:4).

    Args:
        pixels: (H, W) or (H, W, 3), uint8.
        metadata: what to write beside them; an XMP packet that no segment can hold is left out.
        quality: 1…100.
        extras: whether ``metadata.extras`` are JPEG segments.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    stored = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, buffer = cv2.imencode(".jpg", stored, options)
    if not done:
        raise MaskUPEError("The result could not be encoded as JPEG.", "Write a PNG or TIFF.")
    encoded = buffer.tobytes()
    body = 2
    if encoded[2:4] == bytes([0xFF, _APP0]):  # OpenCV's own, without a density
        body += 2 + int(struct.unpack_from(">H", encoded, 4)[0])
    pieces = [_segment(_APP0, _jfif(metadata.resolution))]
    if metadata.exif and len(metadata.exif) + len(_EXIF_MARK) <= MAX_PAYLOAD:
        pieces.append(_segment(_APP1, _EXIF_MARK + metadata.exif))
    if metadata.xmp and len(metadata.xmp) + len(_XMP_MARK) <= MAX_PAYLOAD:
        pieces.append(_segment(_APP1, _XMP_MARK + metadata.xmp))
    count = math.ceil(len(metadata.icc) / _ICC_PIECE)
    for index in range(count if count < 256 else 0):
        piece = metadata.icc[index * _ICC_PIECE : (index + 1) * _ICC_PIECE]
        pieces.append(_segment(_APP2, _ICC_MARK + bytes([index + 1, count]) + piece))
    if extras:
        pieces += [_segment(kind[0], piece) for kind, piece in metadata.extras]
    return b"".join([encoded[:2], *pieces, encoded[body:]])


def _jfif(resolution: tuple[float, float] | None) -> bytes:
    unit, across, down = 0, 1, 1
    if resolution and all(1 <= round(value) <= 65535 for value in resolution):
        unit, across, down = 1, round(resolution[0]), round(resolution[1])
    return _JFIF_MARK + struct.pack(">BBBHHBB", 1, 1, unit, across, down, 0, 0)


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload
