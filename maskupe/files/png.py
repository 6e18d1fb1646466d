"""PNG files: chunks by hand, pixels by libpng.

The chunks are walked here, because the header has to be judged before anything is decoded and
because no decoder hands over all of them; the format's own specification is RFC 2083 and its
extensions (eXIf, cICP).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from maskupe.errors import InputError
from maskupe.files import exif
from maskupe.files.limits import check_size
from maskupe.files.orientation import FIRST_TRANSPOSED, upright
from maskupe.files.photo import Metadata, Photo

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_XMP_KEY = b"XML:com.adobe.xmp"
_METRES_PER_INCH = 0.0254
# Chunks that mean the same for the result; those that describe samples (tRNS, PLTE) do not.
_KEPT_BEFORE_PIXELS = (b"cICP", b"gAMA", b"cHRM", b"sRGB")
_KEPT_ANYWHERE = (b"tEXt", b"zTXt", b"iTXt")
# Compressed profiles and packets beyond this are damaged or a trap.
_MAX_UNPACKED = 64 * 2**20


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(SIGNATURE)
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        yield kind, data[position + 8 : position + 8 + length]
        if kind == b"IEND":
            return
        position += 12 + length


def _unpack(data: bytes) -> bytes:
    """Inflates a compressed chunk; empty if it is damaged or absurdly large."""
    inflate = zlib.decompressobj()
    try:
        unpacked = inflate.decompress(data, _MAX_UNPACKED)
    except zlib.error:
        return b""
    return unpacked if inflate.eof else b""


def _xmp_of(text: bytes) -> bytes | None:
    """The XMP packet of an iTXt chunk, ``None`` if the chunk holds something else."""
    key, _, rest = text.partition(b"\0")
    if key != _XMP_KEY or len(rest) < 2:
        return None
    compressed = rest[0] == 1
    _language, _, rest = rest[2:].partition(b"\0")
    _translated, _, packet = rest.partition(b"\0")
    return _unpack(packet) if compressed else packet


def read(name: str, data: bytes) -> Photo:
    """Decodes a PNG file: palettes are expanded, 1 to 4 bits become 8, 16 bits stay.

    Raises:
        InputError: if it is damaged, animated or too large.
        MemoryLimitError: if it does not fit into memory.
    """
    icc = block = xmp = b""
    resolution: tuple[float, float] | None = None
    extras: list[tuple[bytes, bytes]] = []
    header_seen = False
    for kind, body in _chunks(data):
        if kind == b"IHDR" and len(body) == 13:
            width, height, depth, colour = struct.unpack_from(">IIBB", body)
            channels = {0: 2, 2: 4, 3: 4, 4: 2, 6: 4}.get(colour, 4)
            check_size(name, width, height, channels * (2 if depth == 16 else 1))
            header_seen = True
        elif kind == b"acTL":
            raise InputError(f"{name} is an animation.", "Save the frame you want as a still PNG.")
        elif kind == b"iCCP":
            icc = _unpack(body.partition(b"\0")[2][1:])
        elif kind == b"eXIf":
            block = body
        elif kind == b"pHYs" and len(body) == 9:
            across, down, unit = struct.unpack(">IIB", body)
            if unit == 1 and across and down:
                resolution = (across * _METRES_PER_INCH, down * _METRES_PER_INCH)
        elif kind == b"iTXt" and (packet := _xmp_of(body)) is not None:
            xmp = packet
        elif kind in _KEPT_BEFORE_PIXELS or kind in _KEPT_ANYWHERE:
            extras.append((kind, body))
    if not header_seen:
        raise InputError(f"{name} is a damaged PNG file: it has no header.")
    try:
        pixels: npt.NDArray[Any] = imagecodecs.png_decode(data)
    except (imagecodecs.PngError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} is a damaged PNG file ({error}).") from error
    orientation = exif.orientation(block)
    if resolution and orientation >= FIRST_TRANSPOSED:
        resolution = resolution[::-1]
    metadata = Metadata(
        icc, exif.settle(block, orientation), exif.settle_xmp(xmp), resolution, tuple(extras)
    )
    return Photo(upright(pixels, orientation), "PNG", metadata)


def encode(pixels: npt.NDArray[Any], metadata: Metadata, *, extras: bool) -> bytes:
    """A PNG file with those pixels (uint8 or uint16) and metadata.

    Args:
        pixels: (H, W) or (H, W, 2|3|4), uint8 or uint16.
        metadata: what to write beside them.
        extras: whether ``metadata.extras`` are PNG chunks, that is, came from a PNG file.
    """
    # Run lengths over differences: photographs hardly get smaller with more effort, only slower.
    encoded = bytes(
        imagecodecs.png_encode(np.ascontiguousarray(pixels), level=3, strategy=3, filter=16)
    )
    before: list[tuple[bytes, bytes]] = []
    if extras:
        before += [piece for piece in metadata.extras if piece[0] in _KEPT_BEFORE_PIXELS]
    if metadata.icc:
        before.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.resolution:
        across, down = (round(value / _METRES_PER_INCH) for value in metadata.resolution)
        before.append((b"pHYs", struct.pack(">IIB", across, down, 1)))
    if metadata.exif:
        before.append((b"eXIf", metadata.exif))
    if metadata.xmp:
        before.append((b"iTXt", _XMP_KEY + b"\0\0\0\0\0" + metadata.xmp))
    if extras:
        before += [piece for piece in metadata.extras if piece[0] in _KEPT_ANYWHERE]
    after_header = len(SIGNATURE) + 12 + 13
    pieces = [encoded[:after_header], *(_chunk(*piece) for piece in before)]
    return b"".join([*pieces, encoded[after_header:]])


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
