"""What is beside the pixels reaches the result, or a sentence says what did not."""

from __future__ import annotations

import hashlib
import io
import itertools
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image, IptcImagePlugin

from maskupe.cli import main
from maskupe.io import check_output, read_photo
from tests import evil
from tests import photographs as ph
from tests.untrained import write_weights

# Headline, by-line, city (IIM 4.1): 1C, record, number, length, value.
IPTC = b"".join(
    b"\x1c\x02" + bytes([number]) + struct.pack(">H", len(value)) + value
    for number, value in ((105, b"A headline"), (80, b"Someone"), (90, b"Kyiv"))
)
THUMBNAIL = evil.resource(0x040C, b"stale preview")
COPYRIGHT_FLAG = evil.resource(0x040A, b"\1")
RESOURCES = THUMBNAIL + COPYRIGHT_FLAG + evil.resource(0x0404, IPTC)


def with_iptc(tmp_path, kind: str):
    """A photo with captions as programs store them in each format."""
    pixels = ph.scene()
    if kind == "jpg":
        content = evil.with_segments(
            ph.encoded(pixels, "JPEG"), evil.segment(0xED, b"Photoshop 3.0\0" + RESOURCES)
        )
    elif kind == "png":
        profile = evil.raw_profile("iptc", evil.resource(0x0404, IPTC))
        content = evil.with_chunks(ph.encoded(pixels, "PNG"), profile)
    else:
        tags = {
            "tif": [(34377, 1, len(RESOURCES), RESOURCES, True)],
            # As libtiff has it: the records alone, padded, and called numbers of 32 bits.
            "tiff": [(33723, 4, (len(IPTC) + 3) // 4, padded_longs(IPTC), True)],
        }[kind]
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, photometric="rgb", extratags=tags)
        content = buffer.getvalue()
    return evil.write(tmp_path / f"in.{kind}", content)


def padded_longs(records: bytes) -> tuple[int, ...]:
    filled = records + bytes(-len(records) % 4)
    return struct.unpack(f"<{len(filled) // 4}I", filled)


def iptc_in(path) -> dict:
    """The captions of a file as another program reads them."""
    with Image.open(path) as written:
        if path.suffix != ".png":
            return IptcImagePlugin.getiptcinfo(written) or {}
        text = written.text["Raw profile type iptc"]
    content = bytes.fromhex("".join(text.split()[2:]))
    at = content.index(IPTC[:3])
    found, end = {}, at
    while content[end : end + 1] == b"\x1c":
        (length,) = struct.unpack_from(">H", content, end + 3)
        found[content[end + 1], content[end + 2]] = content[end + 5 : end + 5 + length]
        end += 5 + length
    return found


@pytest.mark.parametrize(
    ("source", "target"),
    list(itertools.product(["jpg", "png", "tif", "tiff"], ["jpg", "png", "tif"])),
)
def test_captions_pass_between_all_formats(tmp_path, source, target):
    photo = read_photo(with_iptc(tmp_path, source))
    output = check_output(tmp_path / f"out.{target}", photo)
    output.write(photo.pixels)
    found = iptc_in(output.path)
    assert found[2, 105] == b"A headline"
    assert found[2, 80] == b"Someone"
    assert found[2, 90] == b"Kyiv"
    assert output.notes == ()
    content = output.path.read_bytes()
    assert b"stale preview" not in content and b"7374616c652070726576696577" not in content
    if source in ("jpg", "tif"):
        assert read_photo(output.path).metadata.photoshop.startswith(COPYRIGHT_FLAG)


def test_captions_of_several_segments(tmp_path):
    long = b"\x1c\x02\x78\xff\xff"[:3] + struct.pack(">H", 30_000) + b"x" * 30_000
    records = IPTC + long * 3
    resources = evil.resource(0x0404, records)
    pieces = [resources[:65_000], resources[65_000:]]
    segments = [evil.segment(0xED, b"Photoshop 3.0\0" + piece) for piece in pieces]
    content = evil.with_segments(ph.encoded(ph.scene(), "JPEG"), *segments)
    photo = read_photo(evil.write(tmp_path / "a.jpg", content))
    check_output(tmp_path / "b.jpg", photo).write(photo.pixels)
    again = read_photo(tmp_path / "b.jpg")
    assert again.metadata.photoshop == photo.metadata.photoshop == resources


# ------------------------------------------------------------------------------- gain maps, films

GAIN_MAP_XMP = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"> <rdf:Description
xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"
 xmlns:C="http://ns.google.com/photos/1.0/container/"
 xmlns:Item="http://ns.google.com/photos/1.0/container/item/"
 xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 hdrgm:Version="1.0" GCamera:MotionPhoto="1" xmp:Rating="5" dc:source="a gain map">
<C:Directory><rdf:Seq><rdf:li rdf:parseType="Resource">
<C:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li><rdf:li>
<C:Item Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="5000"/></rdf:li></rdf:Seq>
</C:Directory><dc:subject>night</dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"""


def multi_picture_index(count: int) -> bytes:
    version = (0xB000, evil.UNDEFINED, 4, int.from_bytes(b"0100", "little"))
    entries = [version, (0xB001, evil.LONG, 1, count)]
    return b"MPF\0" + evil.exif(entries)


@pytest.mark.parametrize("target", ["out.jpg", "out.png", "out.tif"])
@pytest.mark.parametrize("how", ["packet", "index", "both", "ISO 21496"])
def test_a_phone_s_gain_map_is_told_and_no_longer_promised(tmp_path, target, how):
    segments = []
    if how in ("packet", "both"):
        segments.append(evil.segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + GAIN_MAP_XMP))
    if how in ("index", "both"):
        segments.append(evil.segment(0xE2, multi_picture_index(2)))
    if how == "ISO 21496":
        segments.append(evil.segment(0xE2, b"urn:iso:std:iso:ts:21496:-1\0" + bytes(4)))
    content = evil.with_segments(ph.encoded(ph.scene(), "JPEG"), *segments)
    photo = read_photo(evil.write(tmp_path / "a.jpg", content + ph.encoded(ph.scene(8, 8), "JPEG")))
    output = check_output(tmp_path / target, photo)
    output.write(photo.pixels)
    (note,) = output.notes
    assert "HDR gain map" in note and note.endswith("is not carried over.")
    packet = read_photo(output.path).metadata.xmp
    for promise in (b"Version", b"GainMap", b"Directory", b"MotionPhoto"):
        assert promise not in packet
    if how in ("packet", "both"):
        assert b'xmp:Rating="5"' in packet and b'dc:source="a gain map"' in packet
        assert b"<dc:subject>night</dc:subject></rdf:Description>" in packet
    assert b"MPF" not in output.path.read_bytes()


def test_a_plain_packet_is_not_touched(tmp_path):
    packet = GAIN_MAP_XMP.replace(b"hdrgm:Version", b"xmp:Label").replace(b"GCamera:Mo", b"dc:o")
    start, end = packet.index(b"<C:Directory>"), packet.index(b"<dc:subject>")
    packet = packet[:start] + packet[end:]
    photo = read_photo(ph.save(tmp_path / "a.jpg", ph.scene(), xmp=packet))
    assert photo.metadata.xmp == packet and photo.metadata.lost == ()


def test_content_credentials_do_not_hold_for_the_result(tmp_path):
    body = b"JP\0\1\0\0\0\1\0\0\0\x20jumb" + bytes(30)
    content = evil.with_segments(ph.encoded(ph.scene(), "JPEG"), evil.segment(0xEB, body))
    photo = read_photo(evil.write(tmp_path / "a.jpg", content))
    (note,) = check_output(tmp_path / "b.jpg", photo).notes
    assert "content credentials" in note


# ---------------------------------------------------------------------------------- large blocks


def extended(packet_rest: bytes, rest: bytes) -> list[bytes]:
    """The segments of a packet that goes on in others (XMP part 3, 1.1.3.1)."""
    identifier = hashlib.md5(rest).hexdigest().upper().encode()
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description '
        b'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="'
        + identifier
        + b'" '
        + packet_rest
        + b"/></rdf:RDF></x:xmpmeta>"
    )
    segments = [evil.segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)]
    for start in range(0, len(rest), 60_000):
        head = identifier + struct.pack(">II", len(rest), start)
        piece = rest[start : start + 60_000]
        segments.append(evil.segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + head + piece))
    return segments


@pytest.mark.parametrize("target", ["b.jpg", "b.png", "b.tif"])
def test_extended_xmp(tmp_path, target):
    rest = b"<x:xmpmeta>" + bytes(np.random.default_rng(0).integers(65, 90, 150_000, np.uint8))
    segments = extended(b'xmp:Rating="5"', rest)
    # Their order in the file is free.
    content = evil.with_segments(
        ph.encoded(ph.scene(), "JPEG"), segments[2], *segments[:2], segments[3]
    )
    photo = read_photo(evil.write(tmp_path / "a.jpg", content))
    output = check_output(tmp_path / target, photo)
    output.write(photo.pixels)
    again = read_photo(output.path).metadata
    assert b'xmp:Rating="5"' in again.xmp
    if target == "b.jpg":
        assert again.xmp_extension == photo.metadata.xmp_extension
        assert again.xmp_extension is not None and again.xmp_extension[1] == rest
        assert output.notes == ()
    else:
        assert b"HasExtendedXMP" not in again.xmp
        assert "extended XMP" in output.notes[0]


def test_extended_xmp_with_a_piece_missing_is_told(tmp_path):
    segments = extended(b'xmp:Rating="5"', bytes(150_000))
    content = evil.with_segments(ph.encoded(ph.scene(), "JPEG"), *segments[:2], segments[3])
    photo = read_photo(evil.write(tmp_path / "a.jpg", content))
    output = check_output(tmp_path / "b.jpg", photo)
    output.write(photo.pixels)
    assert output.notes == ("The photo's extended XMP is damaged and left out.",)
    assert b"HasExtendedXMP" not in output.path.read_bytes()


LARGE_NOTE = bytes(np.random.default_rng(0).integers(0, 255, 100_000, np.uint8))


def large_block() -> bytes:
    """EXIF with a note of 100 kB."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0x927C] = LARGE_NOTE
    return exif.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("source", ["a.png", "a.tif", "a.jpg"])
@pytest.mark.parametrize("target", ["b.png", "b.tif", "b.jpg"])
def test_exif_above_64_kib(tmp_path, source, target):
    block = large_block()
    if source == "a.jpg":  # further segments go on where the first ends
        pieces = [block[:65_000], block[65_000:]]
        segments = [evil.segment(0xE1, b"Exif\0\0" + piece) for piece in pieces]
        content = evil.with_segments(ph.encoded(ph.scene(), "JPEG"), *segments)
        evil.write(tmp_path / source, content)
    else:
        ph.save(tmp_path / source, ph.scene(), exif=block)
    photo = read_photo(tmp_path / source)
    output = check_output(tmp_path / target, photo)
    output.write(photo.pixels)
    kept = target != "b.jpg" or source == "a.jpg"
    if kept:
        note = Image.open(output.path).getexif().get_ifd(0x8769)[0x927C]
        assert note == LARGE_NOTE
        assert output.notes == ()
    else:
        assert "no room for the photo's EXIF; write a PNG or TIFF" in output.notes[0]
        assert "exif" not in Image.open(output.path).info


def test_xmp_above_64_kib_is_told_where_jpeg_cannot_hold_it(tmp_path):
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + b" " * 70_000 + b"</x:xmpmeta>"
    tifffile.imwrite(
        tmp_path / "a.tif", ph.scene(), photometric="rgb", extratags=[(700, 1, len(packet), packet)]
    )
    photo = read_photo(tmp_path / "a.tif")
    assert "no room for the photo's XMP" in check_output(tmp_path / "b.jpg", photo).notes[0]
    assert check_output(tmp_path / "b.png", photo).notes == ()


def test_what_is_lost_is_said_on_the_command_line(tmp_path, capsys):
    weights = str(write_weights(tmp_path))
    content = evil.with_segments(
        ph.encoded(ph.scene(), "JPEG"), evil.segment(0xE2, multi_picture_index(3))
    )
    path = evil.write(tmp_path / "a.jpg", content)
    assert main(["enhance", str(path), "-o", str(tmp_path / "b.jpg"), "--model", weights]) == 0
    assert capsys.readouterr().err.startswith("maskupe: The result is the picture alone: the HDR")


# ------------------------------------------------------------------------ TIFF's further channels


@pytest.mark.parametrize("alpha", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_saved_selections_stay_in_a_tiff(tmp_path, alpha, dtype):
    pixels = np.concatenate([ph.scene(dtype=dtype), ph.scene(channels=4, dtype=dtype)], axis=2)
    kinds = ["unspecified", "unassalpha" if alpha else "unspecified", "unspecified", "unspecified"]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=kinds)
    photo = read_photo(tmp_path / "a.tif")
    shown = [0, 1, 2, 4] if alpha else [0, 1, 2]
    np.testing.assert_array_equal(photo.pixels, pixels[..., shown])
    output = check_output(tmp_path / "b.tif", photo)
    output.write(photo.pixels)
    rest = [index for index in range(7) if index not in shown]
    with tifffile.TiffFile(output.path) as file:
        np.testing.assert_array_equal(file.asarray(), pixels[..., shown + rest])
        expected = [2] * alpha + [0] * len(rest)
        assert list(file.pages[0].extrasamples) == expected
    assert output.notes == ()
    (note,) = [n for n in check_output(tmp_path / "b.png", photo).notes if "selections" in n]
    assert f"{len(rest)} further channels" in note


@pytest.mark.parametrize("marked", [True, False])
def test_a_preview_page_is_not_the_picture(tmp_path, marked):
    pixels, preview = ph.scene(480, 640), ph.scene(48, 64)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels, photometric="rgb", metadata=None)
        file.write(preview, photometric="rgb", metadata=None, subfiletype=1 if marked else 0)
    photo = read_photo(tmp_path / "a.tif")
    np.testing.assert_array_equal(photo.pixels, pixels)
    (note,) = check_output(tmp_path / "b.tif", photo).notes
    assert "preview" in note
