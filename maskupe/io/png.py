"""PNG files: chunks by hand, pixels by libpng.

The chunks are walked here, because the header has to be judged before anything is decoded and
because no decoder hands over all of them; the format's own specification is RFC 2083 and its
extensions (eXIf, cICP).
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from maskupe.errors import InputError
from maskupe.io import colour, exif, photoshop, xmp
from maskupe.io.limits import check_size
from maskupe.io.orientation import FIRST_TRANSPOSED, upright
from maskupe.io.photo import LOST_BESIDE, Metadata, Photo

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_XMP_KEY = b"XML:com.adobe.xmp"
_METRES_PER_INCH = 0.0254
# libpng's own limit.
MAX_SIDE = 1_000_000
_RAW_PROFILE = b"Raw profile type "
# Chunks that mean the same for the result; those that describe samples (tRNS, PLTE) do not.
_COLOUR = (b"cICP", b"gAMA", b"cHRM", b"sRGB")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# What libpng needs for the pixels. It gets nothing else: what it would unpack, and by which limits,
# depends on how it was built.
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
# Compressed profiles and packets beyond this are damaged or a trap; so are all of a file together.
_MAX_UNPACKED = 32 * 2**20
# Of pixels there are 8 KiB in a chunk or more.
_MAX_CHUNKS = 1_000_000
# Pieces of text, and what they take together: of more than that, the first are kept.
_MAX_TEXTS, _MAX_TEXT_BYTES = 1000, 16 * 2**20


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (chunk_type, where its payload begins and ends) of each chunk up to the end mark."""
    position = len(SIGNATURE)
    while position + 8 <= len(data):
        length, chunk_type = struct.unpack_from(">I4s", data, position)
        yield chunk_type, position + 8, position + 8 + length
        if chunk_type == b"IEND":
            return
        position += 12 + length


class _Unpacker:
    """Inflates compressed chunks of one file, up to a limit for all of them together."""

    def __init__(self) -> None:
        self._left = _MAX_UNPACKED

    def __call__(self, data: bytes) -> bytes:
        """Return the inflated bytes; empty if they are damaged or more than is left."""
        if self._left <= 0:
            return b""
        inflate = zlib.decompressobj()
        try:
            unpacked = inflate.decompress(data, self._left)
        except zlib.error:
            self._left //= 2  # it may have come far before it failed
            return b""
        self._left -= len(unpacked)
        return unpacked if inflate.eof else b""


def _text_of(chunk_type: bytes, body: bytes, unpack: _Unpacker) -> bytes:
    """Return the text of a tEXt, zTXt or iTXt chunk, behind its keyword."""
    _, _, rest = body.partition(b"\0")
    if chunk_type == b"tEXt":
        return rest
    if chunk_type == b"zTXt":
        return unpack(rest[1:])
    compressed = rest[:1] == b"\1"
    _language, _, rest = rest[2:].partition(b"\0")
    _translated, _, text = rest.partition(b"\0")
    return unpack(text) if compressed else text


def _raw_profile(text: bytes) -> bytes:
    """Return what ImageMagick and its kin write as text: a name, a length, hexadecimal digits."""
    parts = text.split(None, 2)
    if len(parts) < 3:
        return b""
    try:
        return bytes.fromhex(b"".join(parts[2].split()).decode("ascii"))
    except ValueError:
        return b""


def read(name: str, data: bytes) -> Photo:
    """Decode a PNG file: palettes are expanded, 1 to 4 bits become 8, 16 bits stay.

    Raises:
        InputError: if it is damaged, animated or too large.
        MemoryLimitError: if it does not fit into memory.
    """
    chunks = list(itertools.islice(_chunks(data), _MAX_CHUNKS))
    _check_header(name, data, chunks)
    metadata, orientation = _metadata(name, data, chunks)
    pieces = [
        data[start - 8 : end + 4] for chunk_type, start, end in chunks if chunk_type in _PIXELS
    ]
    try:
        pixels: npt.NDArray[Any] = imagecodecs.png_decode(b"".join([SIGNATURE, *pieces]))
    except (imagecodecs.PngError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} is a damaged PNG file ({error}).") from error
    return Photo(upright(pixels, orientation), "PNG", metadata)


def _check_header(name: str, data: bytes, chunks: list[tuple[bytes, int, int]]) -> None:
    """Judge the size by the one header that there must be, where libpng takes it from."""
    headers = [index for index, (chunk_type, _, _) in enumerate(chunks) if chunk_type == b"IHDR"]
    if headers != [0] or chunks[0][2] - chunks[0][1] != 13 or chunks[0][2] > len(data):
        raise InputError(f"{name} is a damaged PNG file: it does not begin with its one header.")
    if any(chunk_type == b"acTL" for chunk_type, _, _ in chunks):
        raise InputError(f"{name} is an animation.", "Save the frame you want as a still PNG.")
    width, height, depth, colour_type = struct.unpack_from(">IIBB", data, chunks[0][1])
    channels = {0: 2, 2: 4, 3: 4, 4: 2, 6: 4}.get(colour_type, 4)
    check_size(name, width, height, channels * (2 if depth == 16 else 1))
    if max(width, height) > MAX_SIDE:
        raise InputError(
            f"{name} has more than {MAX_SIDE} pixels a side, which cannot be read from a PNG.",
            "Save it as TIFF.",
        )


def _metadata(name: str, data: bytes, chunks: list[tuple[bytes, int, int]]) -> tuple[Metadata, int]:
    """Return what is beside the pixels, and the orientation that they are stored in.

    Of what may be there only once the first counts, as for libpng.
    """
    unpack = _Unpacker()
    found: dict[bytes, bytes] = {}
    raw: dict[bytes, bytes] = {}
    chromatic: dict[bytes, bytes] = {}
    texts: list[tuple[bytes, bytes]] = []
    left = _MAX_TEXT_BYTES
    for chunk_type, start, end in chunks:
        if chunk_type in (b"iCCP", b"eXIf", b"pHYs"):
            found.setdefault(chunk_type, data[start:end])
        elif chunk_type in _COLOUR:
            chromatic.setdefault(chunk_type, data[start:end])
        elif chunk_type in _TEXTS:
            body = data[start:end]
            key = body.partition(b"\0")[0]
            if key == _XMP_KEY and chunk_type == b"iTXt":
                if _XMP_KEY not in found:
                    found[_XMP_KEY] = _text_of(chunk_type, body, unpack)
            elif key.startswith(_RAW_PROFILE):
                what = key.removeprefix(_RAW_PROFILE).lower()
                if what not in raw and len(raw) < 16:
                    raw[what] = _raw_profile(_text_of(chunk_type, body, unpack))
            elif len(texts) < _MAX_TEXTS and len(body) <= left:
                texts.append((chunk_type, body))
                left -= len(body)
    # "APP1" holds what a JPEG's segment does, which may be either.
    app1 = raw.get(b"app1", b"")
    packet = found.get(_XMP_KEY) or raw.get(b"xmp") or (app1 if b"<x:xmpmeta" in app1 else b"")
    packet = packet.partition(b"http://ns.adobe.com/xap/1.0/\0")[2] or packet
    packet, promised = xmp.normalise(packet)
    block = exif.without_mark(found.get(b"eXIf") or raw.get(b"exif") or app1)
    orientation = exif.orientation(block)
    icc = unpack(found.get(b"iCCP", b"").partition(b"\0")[2][1:]) or raw.get(
        b"icc", raw.get(b"icm", b"")
    )
    resources, iptc = raw.get(b"8bim", b""), raw.get(b"iptc", b"")
    if iptc.startswith(b"8BIM"):  # ImageMagick puts the resource there, others the records
        resources, iptc = resources + iptc, b""
    resolution = _resolution(found.get(b"pHYs", b""))
    if resolution and orientation >= FIRST_TRANSPOSED:
        resolution = resolution[::-1]
    metadata = Metadata(
        icc=icc,
        colour=_profile(name, chromatic),
        exif=exif.normalise_orientation(block, orientation),
        xmp=packet,
        photoshop=photoshop.normalise(resources, iptc),
        resolution=resolution,
        extras=(*chromatic.items(), *texts),
        lost=(LOST_BESIDE,) if promised else (),
    )
    return metadata, orientation


def _resolution(body: bytes) -> tuple[float, float] | None:
    if len(body) != 9:
        return None
    across, down, unit = struct.unpack(">IIB", body)
    if unit != 1 or not across or not down:
        return None
    return across * _METRES_PER_INCH, down * _METRES_PER_INCH


def _profile(name: str, chunks: dict[bytes, bytes]) -> bytes:
    """A profile for what the colour chunks say, in the order in which they outrank each other.

    PNG 3, 4.3: cICP, then (iCCP,) sRGB, then gAMA and cHRM.
    """
    codes = chunks.get(b"cICP", b"")
    if len(codes) == 4:
        return colour.profile_of_codes(name, codes)
    if b"sRGB" in chunks:
        return b""
    gamma, points = chunks.get(b"gAMA", b""), chunks.get(b"cHRM", b"")
    exponent = primaries = white = None
    if len(gamma) == 4 and (value := int.from_bytes(gamma, "big")):
        exponent = 100_000 / value
    if len(points) == 32:
        numbers = [value / 100_000 for value in struct.unpack(">8I", points)]
        white, primaries = numbers[:2], numbers[2:]
    return colour.profile_of_chromaticities(primaries, white, exponent)


def encode(pixels: npt.NDArray[Any], metadata: Metadata, *, extras: bool) -> bytes:
    """Return a PNG file with those pixels (uint8 or uint16) and metadata.

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
        before += [piece for piece in metadata.extras if piece[0] in _COLOUR]
    profile = metadata.icc if extras else metadata.profile
    if profile:
        before.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)))
    if metadata.resolution:
        across, down = (round(value / _METRES_PER_INCH) for value in metadata.resolution)
        before.append((b"pHYs", struct.pack(">IIB", across, down, 1)))
    if metadata.exif:
        before.append((b"eXIf", metadata.exif))
    if metadata.xmp:
        before.append((b"iTXt", _XMP_KEY + b"\0\0\0\0\0" + metadata.xmp))
    if metadata.photoshop:
        before.append(
            (b"zTXt", _RAW_PROFILE + b"iptc\0\0" + zlib.compress(_digits(metadata.photoshop)))
        )
    if extras:
        before += [piece for piece in metadata.extras if piece[0] in _TEXTS]
    after_header = len(SIGNATURE) + 12 + 13
    pieces = [encoded[:after_header], *(_chunk(*piece) for piece in before)]
    return b"".join([*pieces, encoded[after_header:]])


def _chunk(chunk_type: bytes, body: bytes) -> bytes:
    return (
        struct.pack(">I", len(body))
        + chunk_type
        + body
        + struct.pack(">I", zlib.crc32(chunk_type + body))
    )


def _digits(resources: bytes) -> bytes:
    """Image resources as ImageMagick and ExifTool read them: the inverse of ``_raw_profile``."""
    digits = resources.hex()
    lines = [digits[start : start + 72] for start in range(0, len(digits), 72)]
    return f"\niptc\n{len(resources):8d}\n".encode() + "\n".join(lines).encode() + b"\n"
