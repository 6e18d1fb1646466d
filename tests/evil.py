"""Files that lie, are damaged or are odd, made byte by byte for the tests."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SHORT, LONG, UNDEFINED = 3, 4, 7
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

#: (tag, type, count, offset or inline value)
RawEntry = tuple[int, int, int, int]


def directory(entries: Iterable[RawEntry], count: int | None = None) -> bytes:
    """A little-endian TIFF directory, without a next one; ``count`` is what it claims to hold."""
    packed = [
        struct.pack("<HHI", tag, kind, number)
        + (struct.pack("<HH", value, 0) if kind == SHORT else struct.pack("<I", value))
        for tag, kind, number, value in entries
    ]
    claimed = len(packed) if count is None else count
    return struct.pack("<H", claimed) + b"".join(packed) + bytes(4)


def exif(entries: Iterable[RawEntry], count: int | None = None, tail: bytes = b"") -> bytes:
    """An EXIF block of one directory, from its byte-order mark on."""
    return b"II*\0\x08\0\0\0" + directory(entries, count) + tail


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk."""
    crc = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """A PNG file with further chunks behind its header."""
    return png[:33] + b"".join(chunks) + png[33:]


def raw_profile(what: str, payload: bytes, head: bytes = b"") -> bytes:
    """A zTXt chunk as ImageMagick and darktable write EXIF and IPTC."""
    content = head + payload
    digits = content.hex()
    lines = "\n".join(digits[start : start + 72] for start in range(0, len(digits), 72))
    text = f"\n{what}\n{len(content):8d}\n{lines}\n".encode()
    return chunk(b"zTXt", f"Raw profile type {what}".encode() + b"\0\0" + zlib.compress(text))


def segment(marker: int, payload: bytes) -> bytes:
    """A JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """A JPEG file with further segments behind its start mark."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def with_exif(jpeg: bytes, block: bytes) -> bytes:
    """A JPEG file with an EXIF block as it is."""
    return with_segments(jpeg, segment(0xE1, b"Exif\0\0" + block))


def tiff(entries: Iterable[RawEntry], tail: bytes = b"") -> bytes:
    """A TIFF file of one directory, with ``tail`` behind it."""
    return exif(sorted(entries), tail=tail)


def busy_jpeg(height: int = 400, width: int = 600, **options: Any) -> bytes:
    """A JPEG with many bytes in its pixels."""
    from PIL import Image

    rng = np.random.default_rng(3)
    noise: npt.NDArray[np.uint8] = rng.integers(60, 190, (height, width, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def write(path: Path, content: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(content)
    return path


def resource(number: int, payload: bytes) -> bytes:
    """One of Photoshop's image resources."""
    padded = payload + b"\0" * (len(payload) % 2)
    return b"8BIM" + struct.pack(">HHI", number, 0, len(payload)) + padded
