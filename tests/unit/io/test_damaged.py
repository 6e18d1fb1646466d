"""What is damaged beside the pixels costs nothing else; what is damaged in them is refused."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskupe.errors import InputError
from maskupe.io import check_output, exif, read_photo
from tests import evil
from tests import photographs as ph

ORIENTATION = 0x0112
BAD_ENTRIES = {
    "maker note past the end": (0x927C, evil.UNDEFINED, 50_000, 26),
    "text past the end": (0x010E, 2, 4_000_000_000, 8),
    "unknown type": (0x0110, 99, 4, 0),
    "count of nothing": (0x0131, 2, 0, 0),
    "directory past the end": (0x8769, evil.LONG, 1, 60_000),
    "directory of directories": (0x8825, evil.LONG, 4_000, 70_000),
}


def turned(pixels, orientation):
    """What a viewer shows."""
    image = Image.fromarray(pixels)
    step = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_270,
        8: Image.Transpose.ROTATE_90,
    }[orientation]
    return np.asarray(image.transpose(step))


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("bad", BAD_ENTRIES.values(), ids=BAD_ENTRIES)
def test_one_bad_entry_does_not_cost_the_orientation(tmp_path, orientation, bad, first):
    entries = [(ORIENTATION, evil.SHORT, 1, orientation)]
    entries.insert(0 if first else 1, bad)
    plain = ph.encoded(ph.scene(24, 40), "JPEG")
    path = evil.write(tmp_path / "a.jpg", evil.with_exif(plain, evil.exif(entries)))
    shown = turned(np.asarray(Image.open(io.BytesIO(plain))), orientation)
    photo = read_photo(path)
    np.testing.assert_array_equal(photo.pixels, shown)
    assert exif.orientation(photo.metadata.exif) == 1


def test_a_maker_note_past_the_block_in_the_second_directory(tmp_path):
    # As cameras have it: the note is in the EXIF directory, cut off by the segment's end.
    inner = evil.directory([(0x829A, 5, 1, 300), (0x927C, evil.UNDEFINED, 70_000, 80)])
    main = [(ORIENTATION, evil.SHORT, 1, 6), (0x8769, evil.LONG, 1, 38)]
    block = evil.exif(main, tail=inner)
    plain = ph.encoded(ph.scene(24, 40), "JPEG")
    path = evil.write(tmp_path / "a.jpg", evil.with_exif(plain, block))
    assert read_photo(path).size == (40, 24)


@pytest.mark.parametrize("claimed", [2, 40, 60_000])
def test_a_directory_that_claims_more_entries_than_there_are(tmp_path, claimed):
    block = evil.exif([(ORIENTATION, evil.SHORT, 1, 6)], claimed)[:-4]
    path = evil.write(
        tmp_path / "a.jpg", evil.with_exif(ph.encoded(ph.scene(24, 40), "JPEG"), block)
    )
    assert read_photo(path).size == (40, 24)


@pytest.mark.parametrize("head", [b"", b"Exif\0\0"])
@pytest.mark.parametrize("what", ["exif", "APP1"])
def test_exif_in_a_png_s_text_counts_and_is_carried(tmp_path, what, head):
    pixels = ph.scene(24, 40)
    block = ph.exif_block(6, (24, 40))[6:]
    content = evil.with_chunks(ph.encoded(pixels, "PNG"), evil.raw_profile(what, block, head))
    path = evil.write(tmp_path / "a.png", content)
    photo = read_photo(path)
    np.testing.assert_array_equal(photo.pixels, turned(pixels, 6))
    for target in ("b.png", "b.jpg", "b.tif"):
        check_output(tmp_path / target, photo).write(photo.pixels)
        with Image.open(tmp_path / target) as written:
            tags = written.getexif()
            assert (written.height, written.width) == (40, 24)
            assert tags[0x010F] == "Maker" and tags.get(ORIENTATION, 1) == 1
        assert b"Raw profile type exif" not in (tmp_path / target).read_bytes()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 8}])
@pytest.mark.parametrize("how", ["missing", "zeros", "again", "cut", "cut and closed"])
def test_jpegs_with_damage_in_their_pixels_are_refused(tmp_path, options, how):
    whole = evil.busy_jpeg(**options)
    middle = len(whole) // 2
    damaged = {
        "missing": whole[:middle] + whole[middle + 8192 :],
        "zeros": whole[:middle] + bytes(8192) + whole[middle + 8192 :],
        "again": whole[: middle + 8192] + whole[middle:],
        "cut": whole[:middle],
        "cut and closed": whole[:middle] + b"\xff\xd9",
    }[how]
    path = evil.write(tmp_path / "a.jpg", damaged)
    with pytest.raises(InputError, match=r"a\.jpg is a damaged or incomplete JPEG file"):
        read_photo(path)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 8}])
@pytest.mark.parametrize("how", ["no end", "padded", "film behind", "junk before", "fill bytes"])
def test_jpegs_of_which_nothing_is_missing_are_read(tmp_path, options, how):
    whole = evil.busy_jpeg(**options)
    content = {
        "no end": whole[:-2],
        "padded": whole[:-2] + bytes(50) + whole[-2:],
        "film behind": whole + b"\xff\xd8\xff\xda\0\x08" * 1000,
        "junk before": whole[:20] + b"junk" + whole[20:],
        "fill bytes": whole[:2] + b"\xff\xff\xff" + whole[2:],
    }[how]
    path = evil.write(tmp_path / "a.jpg", content)
    np.testing.assert_array_equal(
        read_photo(path).pixels, np.asarray(Image.open(io.BytesIO(whole)).convert("RGB"))
    )


def patched(path, code, change):
    """Change a tag's values in a TIFF file in place."""
    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags[code]
        values, place, kind = tag.value, tag.valueoffset, tag.dtype
    packed = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *change(list(values)))
    with path.open("r+b") as file:
        file.seek(place)
        file.write(packed)


STRIP_OFFSETS, STRIP_COUNTS = 273, 279


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
@pytest.mark.parametrize(
    ("code", "change"),
    [
        (STRIP_COUNTS, lambda values: [v if i % 2 else 0 for i, v in enumerate(values)]),
        (STRIP_OFFSETS, lambda values: [v if i % 2 else 0 for i, v in enumerate(values)]),
        (STRIP_COUNTS, lambda values: [*values[:-1], 0]),
        (STRIP_COUNTS, lambda values: [*values[:-1], values[-1] // 2]),
    ],
    ids=["counts", "offsets", "last", "half of the last"],
)
def test_tiffs_whose_strips_are_missing_are_refused(tmp_path, compression, code, change):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, ph.scene(64, 64), compression=compression, rowsperstrip=8)
    assert read_photo(path).size == (64, 64)
    patched(path, code, change)
    with pytest.raises(InputError, match=r"a\.tif is a damaged TIFF file"):
        read_photo(path)


def test_uncompressed_tiffs_that_end_early_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, ph.scene(64, 64))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InputError, match="damaged TIFF file"):
        read_photo(path)


@pytest.mark.parametrize("tile", [None, (32, 32)])
def test_jpegs_in_tiffs_that_are_cut_short_are_refused(tmp_path, tile):
    path = tmp_path / "a.tif"
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    options = {"rowsperstrip": 32} if tile is None else {"tile": tile}
    tifffile.imwrite(path, noise, photometric="ycbcr", compression="jpeg", **options)
    whole = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert np.abs(read_photo(path).pixels - whole).max() <= 2
    code = 325 if tile else STRIP_COUNTS
    patched(path, code, lambda values: [values[0] // 2, *values[1:]])
    with pytest.raises(InputError, match="damaged TIFF file"):
        read_photo(path)


# --------------------------------------------------------------------- pixels that are no numbers


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_pixel_that_is_no_number_stays_so_and_costs_nothing(tmp_path, value):
    pixels = ph.scene(dtype=np.float32)
    pixels[3, 5, 1] = value
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    photo = read_photo(tmp_path / "a.tif")
    assert np.isfinite(photo.pixels).all()
    output = check_output(tmp_path / "b.tif", photo)
    assert output.notes == ("1 pixel of the photo is no number (NaN or infinite) and left so.",)
    brighter = photo.pixels + np.float32(0.25)
    output.write(brighter)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        written = file.asarray()
    expected = brighter.copy()
    expected[3, 5, 1] = value
    np.testing.assert_array_equal(written, expected)
    png = check_output(tmp_path / "b.png", photo)
    png.write(brighter)
    assert read_photo(png.path).pixels[3, 5, 1] == {np.inf: 65535}.get(value, 0)
