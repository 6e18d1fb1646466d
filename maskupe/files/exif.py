"""EXIF blocks: reading the orientation, settling it, and moving a block between file formats.

An EXIF block is a small TIFF structure: directories ("IFDs") of 12-byte entries. A block that
stays in its format is only patched in place, since makers' notes hold offsets that break when
anything moves; only the way from and to TIFF files rebuilds it.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Literal

from maskupe.files.orientation import FIRST_TRANSPOSED

Order = Literal["<", ">"]

ORIENTATION = 0x0112
EXIF_DIRECTORY = 0x8769
GPS_DIRECTORY = 0x8825
_INTEROPERABILITY = 0xA005
_PIXEL_WIDTH, _PIXEL_HEIGHT = 0xA002, 0xA003
_SHORT, _LONG = 3, 4
# Bytes per value of the TIFF types 1…13 (TIFF 6.0, section 2, and IFD = 13).
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
# Tags that describe a person, a camera or a moment, not how pixels are stored: what a rebuilt
# block takes from the main directory. Resolution travels apart.
PORTABLE_TAGS = frozenset(
    # Description, make, model, software, date, artist, host, rating (two), copyright …
    [0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749, 0x8298]
).union(
    # … and Windows' title, comment, author, keywords and subject.
    [0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F]
)


class ExifDamagedError(ValueError):
    """The block is not a well-formed TIFF structure."""


@dataclass(frozen=True)
class Entry:
    """One entry of a directory: its value's bytes, and where they lie in the block."""

    tag: int
    type: int
    count: int
    data: bytes
    position: int


@dataclass(frozen=True)
class Exif:
    """A parsed block: byte order and the entries of its three directories by tag."""

    order: Order
    main: dict[int, Entry]
    exif: dict[int, Entry]
    gps: dict[int, Entry]


def byte_order(block: bytes) -> Order:
    """The block's byte order, from its first four bytes."""
    if block[:4] == b"II*\0":
        return "<"
    if block[:4] == b"MM\0*":
        return ">"
    raise ExifDamagedError("no byte-order mark")


def read_directory(block: bytes, offset: int, order: Order) -> tuple[dict[int, Entry], int]:
    """Entries of the directory at ``offset``, and the position of its next-directory pointer."""
    try:
        (count,) = struct.unpack_from(order + "H", block, offset)
        entries: dict[int, Entry] = {}
        for start in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(order + "HHI", block, start)
            size = _TYPE_SIZES.get(kind, 0) * number
            if size == 0:
                continue
            position = start + 8
            if size > 4:
                (position,) = struct.unpack_from(order + "I", block, start + 8)
            if position + size > len(block):
                raise ExifDamagedError("a value lies outside the block")
            data = bytes(block[position : position + size])
            entries.setdefault(tag, Entry(tag, kind, number, data, position))
    except struct.error as error:
        raise ExifDamagedError("a directory lies outside the block") from error
    return entries, offset + 2 + 12 * count


def _integer(entry: Entry | None, order: Order) -> int | None:
    if entry is None or entry.count != 1 or entry.type not in (_SHORT, _LONG, 13):
        return None
    value: int = struct.unpack(order + ("H" if entry.type == _SHORT else "I"), entry.data)[0]
    return value


def parse(block: bytes) -> Exif:
    """All three directories of a block.

    Raises:
        ExifDamagedError: if it is not well formed.
    """
    order = byte_order(block)
    if len(block) < 8:
        raise ExifDamagedError("too short")
    main, _ = read_directory(block, struct.unpack_from(order + "I", block, 4)[0], order)
    parts: list[dict[int, Entry]] = []
    for tag in (EXIF_DIRECTORY, GPS_DIRECTORY):
        offset = _integer(main.get(tag), order)
        parts.append(read_directory(block, offset, order)[0] if offset else {})
    return Exif(order, main, parts[0], parts[1])


def orientation(block: bytes) -> int:
    """The orientation 1…8 that the block names; 1 if it names none or is damaged."""
    try:
        parsed = parse(block)
    except ExifDamagedError:
        return 1
    value = _integer(parsed.main.get(ORIENTATION), parsed.order)
    return value if value is not None and 1 <= value <= 8 else 1


def settle(block: bytes, was: int) -> bytes:
    """The block for pixels that are upright now: orientation 1, sizes swapped if need be.

    Its thumbnail is unlinked, since it shows the picture as it was before. A damaged block comes
    back as it is.

    Args:
        block: an EXIF block, or nothing.
        was: the orientation 1…8 that the pixels had.
    """
    try:
        parsed = parse(block)
    except ExifDamagedError:
        return block
    order = parsed.order
    patched = bytearray(block)
    entry = parsed.main.get(ORIENTATION)
    if entry is not None and entry.type in (_SHORT, _LONG) and entry.count == 1:
        struct.pack_into(order + ("H" if entry.type == _SHORT else "I"), patched, entry.position, 1)
    if was >= FIRST_TRANSPOSED:
        width, height = parsed.exif.get(_PIXEL_WIDTH), parsed.exif.get(_PIXEL_HEIGHT)
        if width and height and len(width.data) == len(height.data) <= 4:
            patched[width.position : width.position + len(height.data)] = height.data
            patched[height.position : height.position + len(width.data)] = width.data
    (first,) = struct.unpack_from(order + "I", block, 4)
    _, pointer = read_directory(block, first, order)
    if pointer + 4 <= len(patched):
        struct.pack_into(order + "I", patched, pointer, 0)
    return bytes(patched)


def settle_xmp(packet: bytes) -> bytes:
    """The XMP packet with ``tiff:Orientation`` 1, as attribute or element, at the same length."""
    return re.sub(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)[1-8]", rb"\g<1>1", packet)


def directory_bytes(entries: list[Entry], order: Order, base: int) -> bytes:
    """A directory with its values behind it, to be placed at the file offset ``base``."""
    entries = sorted(entries, key=lambda entry: entry.tag)
    head = bytearray(struct.pack(order + "H", len(entries)))
    values = bytearray()
    values_base = base + 2 + 12 * len(entries) + 4
    for entry in entries:
        head += struct.pack(order + "HHI", entry.tag, entry.type, entry.count)
        if len(entry.data) <= 4:
            head += entry.data.ljust(4, b"\0")
            continue
        head += struct.pack(order + "I", values_base + len(values))
        values += entry.data + b"\0" * (len(entry.data) % 2)
    return bytes(head + struct.pack(order + "I", 0) + values)


def build(parsed: Exif) -> bytes:
    """A block of its own from parsed directories: how a TIFF file's EXIF leaves the file."""
    order = parsed.order
    exif = [entry for tag, entry in parsed.exif.items() if tag != _INTEROPERABILITY]
    gps = list(parsed.gps.values())
    main = [entry for tag, entry in parsed.main.items() if tag in PORTABLE_TAGS]
    if not (exif or gps or main):
        return b""
    # The main directory's length does not depend on what its pointers hold: measure, then fill.
    placeholders = [
        Entry(tag, _LONG, 1, b"\0\0\0\0", 0)
        for tag, part in ((EXIF_DIRECTORY, exif), (GPS_DIRECTORY, gps))
        if part
    ]
    offset = 8 + len(directory_bytes(main + placeholders, order, 8))
    tail = b""
    for tag, part in ((EXIF_DIRECTORY, exif), (GPS_DIRECTORY, gps)):
        if part:
            main.append(Entry(tag, _LONG, 1, struct.pack(order + "I", offset + len(tail)), 0))
            tail += directory_bytes(part, order, offset + len(tail))
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "I", 8) + directory_bytes(main, order, 8) + tail
