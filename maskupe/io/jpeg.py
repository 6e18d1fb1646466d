"""JPEG files: metadata from their segments, pixels by libjpeg-turbo, which also says the size.

No decoder hands over all segments as they are; they are few and simple (ITU-T T.81, annex B), so
they are walked here, by libjpeg's own rules. Decoding goes through simplejpeg, since only its
strict mode tells what libjpeg calls a warning: that pixels are missing and were made up.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from maskupe.errors import InputError, MaskUPEError
from maskupe.io import exif, photoshop, xmp
from maskupe.io.limits import check_size
from maskupe.io.orientation import FIRST_TRANSPOSED, upright
from maskupe.io.photo import LOST_BESIDE, Metadata, Photo

SIGNATURE = b"\xff\xd8\xff"
_EXIF_MARK = b"Exif\0\0"
_XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_MORE_MARK = b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP_MARK = b"Photoshop 3.0\0"
_ICC_MARK = b"ICC_PROFILE\0"
_JFIF_MARK = b"JFIF\0"
_MPF_MARK = b"MPF\0"
_GAIN_MAP_MARK = b"urn:iso:std:iso:ts:21496:-1\0"
_APP0, _APP1, _APP2, _APP11, _APP13, _COMMENT = 0xE0, 0xE1, 0xE2, 0xEB, 0xED, 0xFE
_START, _START_OF_SCAN, _END = 0xD8, 0xDA, 0xD9
# Markers without a length: TEM, and restarts.
_BARE = frozenset([0x01, *range(0xD0, 0xD8)])
# Start-of-frame markers: 0xC0…0xCF without the tables DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Huffman, arithmetic and quantisation tables, number of lines, restart interval.
_TABLES = frozenset([0xC4, 0xCC, 0xDB, 0xDC, 0xDD])
# Within the pixels, a 0xFF that is neither data nor a restart begins the next marker.
_NEXT_MARKER = re.compile(rb"\xff+[^\x00\x01\xd0-\xd7\xff]")
#: A segment's length field counts itself, so this many bytes of payload fit.
MAX_PAYLOAD = 65533
_ICC_PIECE = MAX_PAYLOAD - len(_ICC_MARK) - 2
_XMP_PIECE = MAX_PAYLOAD - len(_XMP_MORE_MARK) - 40
#: No JPEG is wider or higher than its 16-bit size fields, less libjpeg's own margin.
MAX_SIDE = 65500
# An extended XMP packet beyond this is damaged or a trap.
_MAX_XMP = 64 * 2**20
_CENTIMETRES_PER_INCH = 2.54
#: Scans of one picture: cameras and optimisers make up to 14. Each takes a pass over all pixels.
MANY_SCANS = 16
_MAX_SCANNED = 1_000_000_000
_NUMBER_OF_IMAGES = 0xB001
_CHANNELS = {"Gray": 1, "CMYK": 4, "YCCK": 4}


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(marker, position behind it, payload) of each segment up to the first scan of pixels."""
    position = 2
    while (position := data.find(b"\xff", position)) >= 0:
        while position < len(data) and data[position] == 0xFF:  # fill bytes
            position += 1
        if position + 3 > len(data):
            return
        marker = data[position]
        position += 1
        if marker == 0 or marker in _BARE:
            continue
        if marker in (_START, _END):
            return
        (length,) = struct.unpack_from(">H", data, position)
        if length < 2:
            return
        yield marker, position, data[position + 2 : position + length]
        if marker == _START_OF_SCAN:
            return
        position += length


def _scans(data: bytes, position: int) -> tuple[int, int]:
    """How many scans follow, and where the picture ends: at its end mark, else with the data.

    Behind the picture there may be as much again, gain maps and films, with scans of their own.

    Args:
        data: the file.
        position: behind the first scan's marker.
    """
    count = 1
    while found := _NEXT_MARKER.search(data, position):
        marker, position = data[found.end() - 1], found.end()
        if marker in (_START, _END):
            return count, found.start()
        count += marker == _START_OF_SCAN
        if position + 2 <= len(data):
            position += max(2, struct.unpack_from(">H", data, position)[0])
    return count, len(data)


def _density(body: bytes) -> tuple[float, float] | None:
    if not body.startswith(_JFIF_MARK) or len(body) < 12:
        return None
    unit, across, down = struct.unpack_from(">BHH", body, 7)
    if unit not in (1, 2) or not across or not down:
        return None
    scale = 1.0 if unit == 1 else _CENTIMETRES_PER_INCH
    return across * scale, down * scale


def read(name: str, data: bytes) -> Photo:
    """Decode a JPEG file to gray or RGB, uint8.

    Raises:
        InputError: if it is damaged, CMYK, deeper than 8 bits, or too large.
        MemoryLimitError: if it does not fit into memory.
    """
    pixels = decode(name, data)
    packet = identifier = b""
    block, resources = bytearray(), bytearray()
    profile: dict[int, bytes] = {}
    more: dict[int, bytes] = {}
    resolution: tuple[float, float] | None = None
    extras: list[tuple[bytes, bytes]] = []
    others = signed = False
    for marker, _, body in _segments(data):
        if marker == _APP0 and not resolution:
            resolution = _density(body)
        elif marker == _APP1 and body.startswith(_EXIF_MARK):
            # A block that is too large for one segment goes on in the next, without a new start.
            rest = body[len(_EXIF_MARK) :]
            if not block or rest[:4] not in (b"II*\0", b"MM\0*"):
                block += rest
        elif marker == _APP1 and body.startswith(_XMP_MARK) and not packet:
            packet = body[len(_XMP_MARK) :]
        elif marker == _APP1 and body.startswith(_XMP_MORE_MARK):
            piece = body[len(_XMP_MORE_MARK) :]
            identifier = identifier or piece[:32]
            if len(piece) > 40 and piece[:32] == identifier:
                more[struct.unpack_from(">I", piece, 36)[0]] = piece[40:]
        elif marker == _APP2 and body.startswith(_ICC_MARK) and len(body) > len(_ICC_MARK) + 2:
            profile.setdefault(body[len(_ICC_MARK)], body[len(_ICC_MARK) + 2 :])
        elif marker == _APP2 and body.startswith((_MPF_MARK, _GAIN_MAP_MARK)):
            others = others or body.startswith(_GAIN_MAP_MARK) or _images(body[4:]) > 1
        elif marker == _APP13 and body.startswith(_PHOTOSHOP_MARK):
            resources += body[len(_PHOTOSHOP_MARK) :]
        elif marker == _APP11 and b"jumb" in body[:64]:
            signed = True
        elif marker in (_APP13, _COMMENT):
            extras.append((bytes([marker]), body))
    orientation = exif.orientation(bytes(block))
    if resolution and orientation >= FIRST_TRANSPOSED:
        resolution = resolution[::-1]
    packet, promised = xmp.normalise(packet)
    lost: list[str] = []
    extension = _joined(identifier, more) if identifier and identifier in packet else None
    if extension:
        normalised, promised_too = xmp.normalise(extension[1])
        # Its identifier is a sum over its bytes: what is changed can no longer be found by it.
        extension = None if normalised != extension[1] else extension
        promised = promised or promised_too
    elif identifier:
        lost.append("The photo's extended XMP is damaged and left out.")
    if extension is None:
        packet = xmp.without_extension(packet)
    if others or promised:
        lost.append(LOST_BESIDE)
    if signed:
        lost.append("The photo's content credentials (C2PA) do not hold for the result: left out.")
    metadata = Metadata(
        icc=b"".join(profile[number] for number in sorted(profile)),
        exif=exif.normalise_orientation(bytes(block), orientation),
        xmp=packet,
        xmp_extension=extension,
        photoshop=photoshop.normalise(bytes(resources)),
        resolution=resolution,
        extras=tuple(extras),
        lost=tuple(lost),
    )
    return Photo(upright(pixels, orientation), "JPEG", metadata)


def _images(block: bytes) -> int:
    """Return how many pictures a multi-picture index counts (CIPA DC-007), 1 if it is damaged."""
    try:
        parsed = exif.parse(block)
    except exif.ExifDamagedError:
        return 1
    count = parsed.main.get(_NUMBER_OF_IMAGES)
    if count is None or count.size < 4:
        return 1
    return int(struct.unpack_from(parsed.order + "I", count.data)[0])


def _joined(identifier: bytes, pieces: dict[int, bytes]) -> tuple[bytes, bytes] | None:
    """Return the extended XMP packet of pieces by their offsets; None if one is missing."""
    packet = bytearray()
    for offset in sorted(pieces):
        if offset != len(packet) or offset > _MAX_XMP:
            return None
        packet += pieces[offset]
    return identifier, bytes(packet)


def check(data: bytes, *, shape: tuple[int, int]) -> str:
    """Say what is wrong with a JPEG inside another file; empty if nothing is.

    Args:
        data: from start to end mark, with its tables.
        shape: (height, width) that it must not be larger than.
    """
    try:
        height, width, _ = _header(data)
        if height > shape[0] or width > shape[1]:
            return f"it holds a JPEG of {width} × {height} pixels for {shape[1]} × {shape[0]}"
        # An end mark that is there already makes this one never be seen.
        _decode_strictly(data + bytes([0xFF, _END]), "GRAY")
    except ValueError as error:
        return str(error)
    return ""


def decode(name: str, data: bytes) -> npt.NDArray[np.uint8]:
    """Decode a JPEG's pixels as stored, (H, W) or (H, W, 3), and all of them or none.

    Raises:
        InputError: as :func:`read`.
        MemoryLimitError: as :func:`read`.
    """
    data, frame, scan = _bare(data)
    if not scan:
        raise InputError(f"{name} is a damaged JPEG file: it has no picture.")
    if len(frame) >= 6 and frame[0] != 8:
        raise InputError(f"{name} is a JPEG of {frame[0]} bits.", "Save it as PNG or TIFF.")
    try:
        height, width, channels = _header(data)
    except ValueError as error:
        if "subsampling" in str(error):
            raise InputError(
                f"{name} is a JPEG whose colours are sampled in a way that is not read.",
                "Export it again from another program, as JPEG or PNG.",
            ) from error
        raise InputError(f"{name} is a damaged JPEG file ({_remark(error)}).") from error
    if channels == 4:
        raise InputError(
            f"{name} is a CMYK picture.",
            "Convert it to RGB first: GIMP does so when it opens it; export it there.",
        )
    count, end = _scans(data, scan)
    # All coefficients of a picture in several scans are held, two bytes each.
    held = math.ceil(channels * 2 / 3) if count > 1 else 0
    check_size(name, width, height, channels + held)
    if count > MANY_SCANS and count * width * height > _MAX_SCANNED:
        raise InputError(f"{name} is a damaged JPEG file: it has {count} passes over its pixels.")
    if data[end : end + 2] != bytes([0xFF, _END]):
        # All pixels may be there nevertheless: then only the mark behind them was lost.
        data = data[:end] + bytes([0xFF, _END])
    try:
        return _decode_strictly(data, "GRAY" if channels == 1 else "RGB", end)
    except ValueError as error:
        raise InputError(
            f"{name} is a damaged or incomplete JPEG file ({_remark(error)})."
        ) from error


def _bare(data: bytes) -> tuple[bytes, bytes, int]:
    """Return the file with nothing before its pixels but what decoding them takes.

    So what we see and what libjpeg sees is the same, and what else there is, junk between segments
    say, neither stops it nor passes for damage.

    Returns:
        The shorter file, the body of its frame header, and the position behind its first scan's
        marker; 0 if there is no scan.
    """
    pieces, frame = [data[:2]], b""
    for marker, position, body in _segments(data):
        if marker == _START_OF_SCAN:
            head = b"".join(pieces)
            return head + data[position - 2 :], frame, len(head) + 2
        if marker == _APP0 and body.startswith(_JFIF_MARK):
            pieces.append(_segment(_APP0, _jfif(None)))
        elif marker in _TABLES or marker in _FRAMES or body.startswith(b"Adobe"):
            pieces.append(_segment(marker, body))
            frame = body if marker in _FRAMES else frame
    return data, frame, 0


def _header(data: bytes) -> tuple[int, int, int]:
    """Return height, width and channels as libjpeg sees them; ValueError if it sees no picture."""
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except KeyError:  # it looks up the colour space that it did not find
        raise ValueError("it has no picture header") from None
    return height, width, _CHANNELS.get(space, 3)


def _decode_strictly(data: bytes, space: str, end: int | None = None) -> npt.NDArray[np.uint8]:
    """Decode all pixels; ValueError if libjpeg warns that some are not what was stored.

    Args:
        data: the file.
        space: ``GRAY`` or ``RGB``.
        end: where the picture's end mark is, if zeros before it may be left out.
    """
    try:
        pixels = simplejpeg.decode_jpeg(data, space, fastdct=False, fastupsample=False)
    except ValueError as error:
        message = str(error)
        if "extraneous bytes before marker 0xd9" in message and end is not None:
            # Some cameras fill up with zeros behind the pixels; what else is there was one.
            trimmed = data[:end].rstrip(b"\0")
            trimmed += b"\0" if trimmed.endswith(b"\xff") else b""
            if len(trimmed) < end:
                return _decode_strictly(trimmed + bytes([0xFF, _END]), space)
        raise
    return np.asarray(pixels[..., 0] if space == "GRAY" else pixels)


def _remark(error: ValueError) -> str:
    return str(error).removeprefix("Corrupt JPEG data: ").rstrip(".")


def encode(
    pixels: npt.NDArray[np.uint8], metadata: Metadata, *, quality: int, extras: bool
) -> bytes:
    """Return a JPEG file with full colour resolution (4:4:4).

    Args:
        pixels: (H, W) or (H, W, 3), uint8.
        metadata: what to write beside them; :func:`too_large` says what is left out.
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
    left_out = too_large(metadata, extras=extras)
    pieces = [_segment(_APP0, _jfif(metadata.resolution))]
    if metadata.exif and "EXIF" not in left_out:
        size = MAX_PAYLOAD - len(_EXIF_MARK)
        for start in range(0, len(metadata.exif), size):
            pieces.append(_segment(_APP1, _EXIF_MARK + metadata.exif[start : start + size]))
    if metadata.xmp and "XMP" not in left_out:
        pieces.append(_segment(_APP1, _XMP_MARK + metadata.xmp))
        identifier, packet = metadata.xmp_extension or (b"", b"")
        for start in range(0, len(packet), _XMP_PIECE):
            head = _XMP_MORE_MARK + identifier + struct.pack(">II", len(packet), start)
            pieces.append(_segment(_APP1, head + packet[start : start + _XMP_PIECE]))
    profile = metadata.profile
    count = math.ceil(len(profile) / _ICC_PIECE)
    for index in range(count if "colour profile" not in left_out else 0):
        piece = profile[index * _ICC_PIECE : (index + 1) * _ICC_PIECE]
        pieces.append(_segment(_APP2, _ICC_MARK + bytes([index + 1, count]) + piece))
    size = MAX_PAYLOAD - len(_PHOTOSHOP_MARK)
    for start in range(0, len(metadata.photoshop), size):
        piece = metadata.photoshop[start : start + size]
        pieces.append(_segment(_APP13, _PHOTOSHOP_MARK + piece))
    if extras:
        pieces += [_segment(marker[0], piece) for marker, piece in metadata.extras]
    return b"".join([encoded[:2], *pieces, encoded[body:]])


def too_large(metadata: Metadata, *, extras: bool) -> list[str]:
    """Return name what of the metadata a JPEG's segments cannot hold.

    Args:
        metadata: what is to be written.
        extras: whether it came from a JPEG; then EXIF goes on in further segments as it did there.
    """
    names = []
    if len(metadata.exif) + len(_EXIF_MARK) > MAX_PAYLOAD and not extras:
        names.append("EXIF")
    if len(metadata.xmp) + len(_XMP_MARK) > MAX_PAYLOAD:
        names.append("XMP")
    if len(metadata.profile) > 255 * _ICC_PIECE:
        names.append("colour profile")
    return names


def _jfif(resolution: tuple[float, float] | None) -> bytes:
    unit, across, down = 0, 1, 1
    if resolution and all(1 <= round(value) <= 65535 for value in resolution):
        unit, across, down = 1, round(resolution[0]), round(resolution[1])
    return _JFIF_MARK + struct.pack(">BBBHHBB", 1, 1, unit, across, down, 0, 0)


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload
