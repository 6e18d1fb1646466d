"""EXIF blocks: reading the orientation, normalising it, and moving a block between file formats.

An EXIF block is a small TIFF structure: directories ("IFDs") of 12-byte entries. A block that
stays in its format is only patched in place, since makers' notes hold offsets that break when
anything moves; only the way from and to TIFF files rebuilds it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from maskupe.io.orientation import FIRST_TRANSPOSED

Order = Literal["<", ">"]

ORIENTATION = 0x0112
EXIF_DIRECTORY = 0x8769
GPS_DIRECTORY = 0x8825
_INTEROPERABILITY = 0xA005
_PIXEL_WIDTH, _PIXEL_HEIGHT = 0xA002, 0xA003
_LONG = 4
# The types that hold whole numbers, by what struct calls them.
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}
# No camera's notes are larger; a rebuilt block holds no more.
_MAX_BUILT = 16 * 2**20
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
    """The block is no TIFF structure at all."""


@dataclass(frozen=True)
class Entry:
    """One entry of a directory: what it says of its value, and where that lies in ``block``.

    The value is copied when it is asked for: in a block that lies, twenty thousand entries may
    share the same bytes.
    """

    tag: int
    type: int
    count: int
    block: bytes
    position: int
    size: int

    @property
    def data(self) -> bytes:
        """The value's bytes."""
        return bytes(self.block[self.position : self.position + self.size])

    def copied(self) -> Entry:
        """Return the entry with a copy of its value instead of the whole block."""
        return Entry(self.tag, self.type, self.count, self.data, 0, self.size)

    @classmethod
    def pointer(cls, tag: int, offset: int, order: Order) -> Entry:
        """Return an entry that holds the offset of a directory."""
        return cls(tag, _LONG, 1, struct.pack(order + "I", offset), 0, 4)


@dataclass(frozen=True)
class Exif:
    """A parsed block: byte order and the readable entries of its three directories by tag."""

    order: Order
    main: dict[int, Entry]
    exif: dict[int, Entry]
    gps: dict[int, Entry]


def without_mark(block: bytes) -> bytes:
    """Return the block from its byte-order mark on; some writers leave a JPEG's mark before it."""
    return block.removeprefix(b"Exif\0\0")


def byte_order(block: bytes) -> Order:
    """Return the block's byte order, from its first four bytes."""
    if block[:4] == b"II*\0":
        return "<"
    if block[:4] == b"MM\0*":
        return ">"
    raise ExifDamagedError("no byte-order mark")


def _entries(block: bytes, offset: int, order: Order) -> Iterator[Entry]:
    """Yield the entries of the directory at ``offset`` whose values lie inside the block.

    One that does not is left out and costs none of the others: cameras and editors leave makers'
    notes and whole directories cut short, and the orientation is still true.
    """
    if offset + 2 > len(block):
        raise ExifDamagedError("a directory lies outside the block")
    (count,) = struct.unpack_from(order + "H", block, offset)
    count = min(count, (len(block) - offset - 2) // 12)
    for start in range(offset + 2, offset + 2 + 12 * count, 12):
        tag, value_type, number = struct.unpack_from(order + "HHI", block, start)
        size = _TYPE_SIZES.get(value_type, 0) * number
        position = start + 8
        if size > 4:
            (position,) = struct.unpack_from(order + "I", block, start + 8)
        if size and position + size <= len(block):
            yield Entry(tag, value_type, number, block, position, size)


def read_directory(block: bytes, offset: int, order: Order) -> dict[int, Entry]:
    """Return the readable entries of the directory at ``offset`` by tag, the first of each.

    Raises:
        ExifDamagedError: if there can be no directory.
    """
    entries: dict[int, Entry] = {}
    for entry in _entries(block, offset, order):
        entries.setdefault(entry.tag, entry)
    return entries


def _integer(entry: Entry | None, order: Order) -> int | None:
    """Return the first value of an entry of whole numbers."""
    code = _INTEGERS.get(entry.type) if entry is not None else None
    if entry is None or code is None:
        return None
    value: int = struct.unpack_from(order + code, entry.block, entry.position)[0]
    return value


def _first_directory(block: bytes, order: Order) -> int:
    if len(block) < 8:
        raise ExifDamagedError("too short")
    offset: int = struct.unpack_from(order + "I", block, 4)[0]
    return offset


def parse(block: bytes) -> Exif:
    """Return all three directories of a block, without what is damaged.

    Raises:
        ExifDamagedError: if it has no first directory.
    """
    order = byte_order(block)
    main = read_directory(block, _first_directory(block, order), order)
    parts: list[dict[int, Entry]] = []
    for tag in (EXIF_DIRECTORY, GPS_DIRECTORY):
        offset = _integer(main.get(tag), order)
        try:
            parts.append(read_directory(block, offset, order) if offset else {})
        except ExifDamagedError:
            parts.append({})
    return Exif(order, main, parts[0], parts[1])


def orientation(block: bytes) -> int:
    """Return the orientation 1…8 that the block names; 1 if it names none."""
    try:
        parsed = parse(block)
    except ExifDamagedError:
        return 1
    value = _integer(parsed.main.get(ORIENTATION), parsed.order)
    return value if value is not None and 1 <= value <= 8 else 1


def normalise_orientation(block: bytes, was: int) -> bytes:
    """Return the block for pixels that are upright now: orientation 1, sizes swapped if need be.

    Its thumbnail is unlinked, since it shows the picture as it was before. A block that is none
    comes back as it is.

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
    first = _first_directory(block, order)
    for entry in _entries(block, first, order):
        if entry.tag == ORIENTATION and entry.type in _INTEGERS:
            struct.pack_into(order + _INTEGERS[entry.type], patched, entry.position, 1)
    if was >= FIRST_TRANSPOSED:
        width, height = parsed.exif.get(_PIXEL_WIDTH), parsed.exif.get(_PIXEL_HEIGHT)
        if width and height and width.size == height.size <= 4:
            patched[width.position : width.position + width.size] = height.data
            patched[height.position : height.position + height.size] = width.data
    pointer = next_pointer(block, first, order)
    if pointer + 4 <= len(patched):
        struct.pack_into(order + "I", patched, pointer, 0)
    return bytes(patched)


def next_pointer(block: bytes, offset: int, order: Order) -> int:
    """Return where the directory at ``offset`` names the next one; it may lie outside the block."""
    (count,) = struct.unpack_from(order + "H", block, offset)
    return offset + 2 + 12 * int(count)


def directory_bytes(entries: Iterable[Entry], order: Order, base: int) -> bytes:
    """Return a directory with its values behind it, to be placed at the file offset ``base``."""
    entries = sorted(entries, key=lambda entry: entry.tag)
    head = bytearray(struct.pack(order + "H", len(entries)))
    values = bytearray()
    values_base = base + 2 + 12 * len(entries) + 4
    for entry in entries:
        head += struct.pack(order + "HHI", entry.tag, entry.type, entry.count)
        if entry.size <= 4:
            head += entry.data.ljust(4, b"\0")
            continue
        head += struct.pack(order + "I", values_base + len(values))
        values += entry.data + b"\0" * (entry.size % 2)
    return bytes(head + struct.pack(order + "I", 0) + values)


def portable(parsed: Exif) -> Exif:
    """Return what may move to another file: no pointers, and no more bytes than were there.

    Values of a well-formed block do not overlap; one that claims more than it has is cut down to
    the entries that come first.
    """
    left = min(_MAX_BUILT, max((len(e.block) for e in parsed.main.values()), default=0))
    parts: list[dict[int, Entry]] = []
    for part, allowed in (
        (parsed.main, lambda tag: tag in PORTABLE_TAGS),
        (parsed.exif, lambda tag: tag != _INTEROPERABILITY),
        (parsed.gps, lambda tag: True),
    ):
        kept: dict[int, Entry] = {}
        for tag, entry in part.items():
            if allowed(tag) and entry.size <= left:
                kept[tag] = entry
                left -= entry.size
        parts.append(kept)
    return Exif(parsed.order, *parts)


def build(parsed: Exif) -> bytes:
    """Return a block of its own from parsed directories: how a TIFF file's EXIF leaves the file."""
    parsed = portable(parsed)
    order = parsed.order
    main = list(parsed.main.values())
    parts = [
        (tag, part.values())
        for tag, part in ((EXIF_DIRECTORY, parsed.exif), (GPS_DIRECTORY, parsed.gps))
        if part
    ]
    if not (main or parts):
        return b""
    # The main directory's length does not depend on what its pointers hold: measure, then fill.
    placeholders = [Entry.pointer(tag, 0, order) for tag, _ in parts]
    offset = 8 + len(directory_bytes(main + placeholders, order, 8))
    tail = b""
    for tag, part in parts:
        main.append(Entry.pointer(tag, offset + len(tail), order))
        tail += directory_bytes(part, order, offset + len(tail))
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "I", 8) + directory_bytes(main, order, 8) + tail
