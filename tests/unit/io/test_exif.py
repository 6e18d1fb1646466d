"""EXIF blocks: parsed, settled and built anew; damaged ones pass through."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from maskupe.io import exif
from tests import photographs as ph


def test_the_stale_thumbnail_is_unlinked():
    image = Image.fromarray(ph.scene())
    block = ph.exif_block()[6:]
    order = exif.byte_order(block)
    first = struct.unpack_from(order + "I", block, 4)[0]
    pointer = exif.next_pointer(block, first, order)
    linked = bytearray(block)
    struct.pack_into(order + "I", linked, pointer, len(block))
    linked += struct.pack(order + "H", 0) + bytes(4)
    assert image.size == (64, 48)
    settled = exif.normalise_orientation(bytes(linked), 1)
    assert struct.unpack_from(order + "I", settled, pointer)[0] == 0


def test_a_damaged_block_passes_through_and_counts_as_upright():
    for block in (b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"nonsense", ph.exif_block()[6:40]):
        assert exif.orientation(block) == 1
        assert exif.normalise_orientation(block, 6) == block


@given(st.binary(max_size=300))
def test_parsing_raises_only_its_own_error(body):
    for mark in (b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"):
        try:
            exif.parse(mark + body)
        except exif.ExifDamagedError:
            continue


def test_rebuilding_keeps_every_value():
    parsed = exif.parse(ph.exif_block(6)[6:])
    again = exif.parse(exif.build(parsed))
    for before, after in ((parsed.exif, again.exif), (parsed.gps, again.gps)):
        assert {t: (e.type, e.count, e.data) for t, e in before.items()} == {
            t: (e.type, e.count, e.data) for t, e in after.items()
        }
    assert exif.ORIENTATION not in again.main and 0x010F in again.main
