"""WebP, AVIF and HEIC: pixels, depth, orientation, colours and what is beside them."""

from __future__ import annotations

import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from maskupe.errors import InputError
from maskupe.io import Metadata, Photo, check_output, exif, read_photo
from maskupe.preprocess.srgb import encode_srgb
from tests import evil
from tests import photographs as ph

LOSSLESS = {"lossless": True, "exact": True}


def through(photo, path, **options):
    output = check_output(path, photo, **options)
    output.write(photo.pixels)
    return output, read_photo(path)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_webp_keeps_every_bit(tmp_path, channels):
    photo = read_photo(ph.save(tmp_path / "a.png", ph.scene(channels=channels)))
    _, again = through(photo, tmp_path / "b.webp")
    expected = photo.pixels if channels > 1 else np.repeat(photo.pixels[..., None], 3, axis=2)
    if channels == 2:
        expected = np.dstack([expected[..., [0, 0, 0]], expected[..., 1]])
    np.testing.assert_array_equal(again.pixels, expected)
    assert again.format == "WebP"


@pytest.mark.parametrize("channels", [3, 4])
def test_avif_at_full_colour_resolution(tmp_path, channels):
    pixels = ph.scene(channels=channels)
    pixels[:, 32:, 0] += 60  # an edge in colour
    photo = read_photo(ph.save(tmp_path / "a.png", pixels))
    _, again = through(photo, tmp_path / "b.avif", quality=100)
    assert again.format == "AVIF"
    assert np.abs(again.pixels.astype(int) - pixels).max() <= 6


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_a_deep_avif_is_read_in_full(tmp_path, bits):
    top = 2**bits - 1
    dtype = np.uint8 if bits == 8 else np.uint16
    pixels = np.linspace(0, top, 32 * 48 * 3).reshape(32, 48, 3).astype(dtype)
    encoded = imagecodecs.avif_encode(pixels, level=100, bitspersample=bits, pixelformat="444")
    photo = read_photo(evil.write(tmp_path / "a.avif", encoded))
    assert photo.pixels.dtype == dtype
    expected = np.rint(pixels.astype(float) * (65535 / top if bits > 8 else 1))
    np.testing.assert_allclose(photo.pixels, expected, atol=1)
    output = check_output(tmp_path / "b.avif", photo)
    assert ("8 bits per channel" in " ".join(output.notes)) == (bits > 8)
    _, again = through(photo, tmp_path / "b.tif")
    np.testing.assert_array_equal(again.pixels, photo.pixels)


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
@pytest.mark.parametrize("target", [".webp", ".avif", ".png", ".jpg", ".tif"])
def test_profile_exif_and_xmp_pass_to_and_fro(tmp_path, suffix, target):
    options = {"icc_profile": ph.profile(), "exif": ph.exif_block(6, (24, 40)), "xmp": ph.XMP}
    options |= LOSSLESS if suffix == ".webp" else {"quality": 100}
    pixels = ph.scene(24, 40)
    ph.save(tmp_path / f"a{suffix}", pixels, **options)
    photo = read_photo(tmp_path / f"a{suffix}")
    assert photo.size == (40, 24)
    turned = np.rot90(pixels, -1).astype(int)
    assert np.abs(photo.pixels - turned).max() <= (0 if suffix == ".webp" else 12)
    _, again = through(photo, tmp_path / f"b{target}")
    assert again.size == (40, 24)
    assert again.metadata.icc == ph.profile()
    assert b'xmp:Rating="5"' in again.metadata.xmp
    assert b'tiff:Orientation="1"' in again.metadata.xmp
    with Image.open(tmp_path / f"b{target}") as written:
        tags = written.getexif()
        assert tags[0x010F] == "Maker" and tags.get(0x0112, 1) == 1
        assert tags.get_ifd(0x8769)[ph.ISO] == 3200


def test_an_avif_s_colour_codes_become_a_profile_and_hdr_is_told(tmp_path):
    content = bytearray(imagecodecs.avif_encode(ph.scene(), level=90))
    place = content.index(b"colrnclx") + 8
    for primaries, curve, said in ((12, 13, None), (1, 13, None), (9, 16, "PQ"), (9, 18, "HLG")):
        struct.pack_into(">HH", content, place, primaries, curve)
        path = evil.write(tmp_path / "a.avif", bytes(content))
        if said:
            with pytest.raises(InputError, match=rf"HDR picture \({said}\)"):
                read_photo(path)
        else:
            photo = read_photo(path)
            assert bool(photo.metadata.profile) == (primaries == 12)
            _, again = through(photo, tmp_path / "b.png")
            assert bool(again.metadata.icc) == (primaries == 12)


def test_captions_are_told_where_there_is_no_place_for_them(tmp_path):
    resources = evil.resource(0x0404, b"\x1c\x02\x05\0\1a")
    segment = evil.segment(0xED, b"Photoshop 3.0\0" + resources)
    content = evil.with_segments(ph.encoded(ph.scene(), "JPEG"), segment)
    photo = read_photo(evil.write(tmp_path / "a.jpg", content))
    for suffix in ("webp", "avif"):
        (note,) = check_output(tmp_path / f"b.{suffix}", photo).notes
        assert "no place for the photo's captions (IPTC)" in note


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
def test_animations_and_damage_are_refused(tmp_path, suffix):
    frames = [Image.fromarray(ph.scene()), Image.fromarray(255 - ph.scene())]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="is an animation"):
        read_photo(tmp_path / f"a{suffix}")
    frames[0].save(tmp_path / f"b{suffix}", quality=90)
    whole = (tmp_path / f"b{suffix}").read_bytes()
    for share in (0.3, 0.7, 0.95):
        path = evil.write(tmp_path / f"c{suffix}", whole[: int(share * len(whole))])
        with pytest.raises(InputError, match="damaged"):
            read_photo(path)


def test_a_webp_that_claims_too_much_is_refused_by_its_header(tmp_path):
    ph.save(tmp_path / "a.webp", ph.scene(), exif=ph.exif_block())
    content = bytearray((tmp_path / "a.webp").read_bytes())
    assert content[12:16] == b"VP8X"
    content[24:30] = b"\xff" * 6
    with pytest.raises(InputError, match="claims 16777216 × 16777216 pixels"):
        read_photo(evil.write(tmp_path / "b.webp", bytes(content)))


def test_what_is_too_wide_is_refused_before_the_work(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((1, 1_000_001), np.uint8))
    photo = read_photo(tmp_path / "a.tif")
    sides = {"b.png": 1_000_000, "b.webp": 16383, "b.avif": 16384, "b.jpg": 65500}
    for name, side in sides.items():
        with pytest.raises(InputError, match=rf"holds at most {side} pixels a side .* Write a"):
            check_output(tmp_path / name, photo)
    through(photo, tmp_path / "b.tif")


def test_a_png_wider_than_libpng_takes_is_told(tmp_path):
    header = evil.chunk(b"IHDR", struct.pack(">IIBBBBB", 1_000_001, 1, 8, 0, 0, 0, 0))
    pixels = evil.chunk(b"IDAT", zlib.compress(bytes(1_000_002))) + evil.chunk(b"IEND", b"")
    path = evil.write(tmp_path / "a.png", evil.PNG_SIGNATURE + header + pixels)
    with pytest.raises(InputError, match=r"more than 1000000 pixels a side.*Save it as TIFF"):
        read_photo(path)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(48, 64), (31, 45), (300, 20)])
def test_jpeg_xl_keeps_every_bit(tmp_path, channels, size):
    pixels = ph.scene(*size, channels)
    photo = Photo(pixels, "PNG", Metadata(exif=ph.exif_block()[6:], xmp=ph.XMP))
    _, again = through(photo, tmp_path / "b.jxl")
    np.testing.assert_array_equal(again.pixels, pixels)
    assert again.format == "JPEG XL" and again.metadata.profile == b""
    assert b'xmp:Rating="5"' in again.metadata.xmp
    assert exif.parse(again.metadata.exif).main[0x010F].data == b"Maker\0"


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(48, 64), (300, 20)])
def test_jpeg_xl_keeps_sixteen_bits_in_srgb(tmp_path, channels, size):
    """imagecodecs marks them as linear light; they are sRGB's, and another reader sees that."""
    pixels = ph.scene(*size, channels, np.uint16)
    _, again = through(Photo(pixels, "PNG", Metadata(exif=ph.exif_block()[6:])), tmp_path / "b.jxl")
    assert again.pixels.dtype == np.uint16 and again.metadata.profile == b""
    np.testing.assert_array_equal(again.pixels, pixels)
    assert exif.parse(again.metadata.exif).main[0x010F].data == b"Maker\0"
    content = (tmp_path / "b.jxl").read_bytes()
    np.testing.assert_array_equal(imagecodecs.jpegxl_decode(content), pixels)
    plain = imagecodecs.jpegxl_encode(pixels, lossless=True, effort=3, usecontainer=True)
    changed = [a ^ b for a, b in zip(plain, content, strict=False) if a != b]
    assert len(changed) <= 2  # nothing but the curve's number


def test_a_jpeg_xl_made_of_a_jpeg_is_that_jpeg(tmp_path):
    """Its profile could not be read otherwise, nor its captions."""
    wide = imagecodecs.cms_profile(
        "rgb", gamma=2.2, primaries=[0.64, 0.33, 0.21, 0.71, 0.15, 0.06], whitepoint=[0.3127, 0.329]
    )
    options = {"exif": ph.exif_block(6), "icc_profile": wide, "xmp": ph.XMP, "quality": 95}
    original = evil.write(tmp_path / "a.jpg", ph.encoded(ph.scene(32, 48), "JPEG", **options))
    content = imagecodecs.jpegxl_encode_jpeg(original.read_bytes())
    photo, expected = read_photo(evil.write(tmp_path / "a.jxl", content)), read_photo(original)
    assert photo.format == "JPEG XL" and photo.size == (48, 32)
    np.testing.assert_array_equal(photo.pixels, expected.pixels)
    assert photo.metadata.icc == expected.metadata.icc == wide
    assert photo.metadata.exif == expected.metadata.exif
    assert b'xmp:Rating="5"' in photo.metadata.xmp


@pytest.mark.parametrize("count", [200, 300])
def test_a_jpeg_xl_whose_jpeg_claims_much_is_read_without_it(tmp_path, count):
    """3,000 empty comments take 11 kB and would unpack to 200 MB."""
    comment = evil.segment(0xFE, bytes(60_000))
    plain = ph.encoded(ph.scene(32, 48), "JPEG", dpi=(300, 300))
    original = evil.with_segments(plain, *[comment] * count)
    content = imagecodecs.jpegxl_encode_jpeg(original)
    assert len(content) < 10_000
    photo = read_photo(evil.write(tmp_path / "a.jxl", content))
    assert photo.metadata.resolution == ((300, 300) if count == 200 else None)
    expected = read_photo(evil.write(tmp_path / "original.jpg", original))
    np.testing.assert_allclose(photo.pixels, expected.pixels, atol=3)


def test_a_jpeg_xl_with_a_profile_says_what_to_do(tmp_path):
    codestream = imagecodecs.jpegxl_encode(ph.scene(48, 64), lossless=True, usecontainer=False)
    # The size takes nine bits. Then nothing is as usual, and the last bit announces a profile.
    size = int.from_bytes(codestream[2:6], "little") & 0x1FF
    value = size | int("00000100001"[::-1], 2) << 9
    made = b"\xff\x0a" + value.to_bytes(4, "little") + codestream[6:]
    with pytest.raises(InputError, match=r"colour profile.*PNG or TIFF, or as a JPEG XL in sRGB"):
        read_photo(evil.write(tmp_path / "a.jxl", made))


@pytest.mark.parametrize("container", [True, False])
@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (10, np.uint16), (12, np.uint16)])
def test_a_jpeg_xl_s_depth_is_read_in_full(tmp_path, bits, dtype, container):
    top = 2**bits - 1
    pixels = np.linspace(0, top, 32 * 48 * 3).reshape(32, 48, 3).astype(dtype)
    options = {"lossless": True, "bitspersample": bits, "usecontainer": container}
    path = evil.write(tmp_path / "a.jxl", imagecodecs.jpegxl_encode(pixels, **options))
    photo = read_photo(path)
    if bits == 8:
        np.testing.assert_array_equal(photo.pixels, pixels)
    else:  # what is deeper is in linear light, as the encoder says in the file
        expected = encode_srgb(pixels / np.float64(top))
        np.testing.assert_allclose(photo.pixels, expected, atol=5e-4)
        _, again = through(photo, tmp_path / "b.tif")
        stored = np.rint(pixels.astype(float) * (65535 / top))
        np.testing.assert_allclose(again.kept, stored, atol=1)
    assert bool(photo.metadata.profile) == (bits > 8)


def test_jpeg_xl_is_written_in_srgb_only(tmp_path):
    photo = read_photo(ph.save(tmp_path / "a.png", ph.scene(), icc_profile=ph.profile()))
    through(photo, tmp_path / "b.jxl")
    wide = imagecodecs.cms_profile(
        "rgb", gamma=2.2, primaries=[0.64, 0.33, 0.21, 0.71, 0.15, 0.06], whitepoint=[0.3127, 0.329]
    )
    photo = read_photo(ph.save(tmp_path / "c.png", ph.scene(), icc_profile=wide))
    with pytest.raises(InputError, match="in sRGB only, and the photo has another colour space"):
        check_output(tmp_path / "d.jxl", photo)


def test_damaged_jpeg_xls_are_refused(tmp_path):
    whole = imagecodecs.jpegxl_encode(ph.scene(), lossless=True, usecontainer=True)
    for content in (whole[:60], whole[:300], whole[:-30], b"\xff\x0a", b"\xff\x0a" + b"\xff" * 99):
        with pytest.raises(InputError):
            read_photo(evil.write(tmp_path / "a.jxl", content))


def test_heic_is_read_once_turned(tmp_path):
    pytest.importorskip("pi_heif")
    photo = read_photo(evil.write(tmp_path / "a.heic", ph.heic()))
    assert photo.size == (48, 32) and photo.format == "HEIC"
    np.testing.assert_allclose(photo.pixels[2:22, 2:30], 40, atol=3)  # stored to the left
    bright = np.broadcast_to([200, 120, 60], (18, 12, 3))
    np.testing.assert_allclose(photo.pixels[28:46, 18:30], bright, atol=8)
    through(photo, tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as written:
        assert written.size == (32, 48)
        assert written.getexif()[0x010F] == "Maker" and written.getexif().get(0x0112, 1) == 1


def test_a_deep_heic_is_read_in_full(tmp_path):
    pytest.importorskip("pi_heif")
    photo = read_photo(evil.write(tmp_path / "a.heic", ph.heic(deep=True)))
    assert photo.pixels.dtype == np.uint16
    np.testing.assert_allclose(photo.pixels[4:12, 4:20], 10000, atol=400)
    np.testing.assert_allclose(photo.pixels[4:12, 28:44], 50000, atol=400)


def test_heic_without_its_extra_names_it(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(
        InputError, match=r"Install what reads it with: pip install 'maskupe\[heic\]'"
    ):
        read_photo(evil.write(tmp_path / "a.heic", ph.heic()))


def test_a_damaged_heic_is_refused(tmp_path):
    pytest.importorskip("pi_heif")
    whole = ph.heic()
    for content in (whole[:200], whole[: len(whole) - 60], whole[:30] + bytes(600), b""):
        if not content:  # a type of metadata that is no text crashes the decoder
            content = whole.replace(b"\x00Exif\x00", b"\x00\xe2xif\x00", 1)
            assert content != whole
        with pytest.raises(InputError, match="damaged HEIC file"):
            read_photo(evil.write(tmp_path / "a.heic", content))
