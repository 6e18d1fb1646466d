"""Photographs survive the way through the files: pixels, depth, alpha and metadata."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from maskupe.io import check_output, read_mask, read_photo
from tests import photographs as ph

CHANNELS = (1, 2, 3, 4)


def through(source: Path, target: Path):
    photo = read_photo(source)
    check_output(target, photo).write(photo.pixels)
    return photo, read_photo(target)


@pytest.mark.parametrize(
    ("suffix", "dtype", "channels"),
    [
        *itertools.product([".png", ".tif"], [np.uint8, np.uint16], CHANNELS),
        *itertools.product([".tiff"], [np.float32], CHANNELS),
    ],
)
def test_lossless_formats_keep_every_bit(tmp_path, suffix, dtype, channels):
    pixels = ph.scene(31, 45, channels, dtype)
    source = tmp_path / "in.tif"
    tifffile.imwrite(
        source,
        pixels,
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
    )
    photo, again = through(source, tmp_path / f"out{suffix}")
    np.testing.assert_array_equal(photo.pixels, pixels)
    np.testing.assert_array_equal(again.pixels, pixels)
    assert again.pixels.dtype == dtype


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_channel_order_agrees_with_opencv(tmp_path, dtype):
    pixels = ph.scene(20, 30, 3, dtype)
    cv2.imwrite(str(tmp_path / "a.png"), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    photo, _ = through(tmp_path / "a.png", tmp_path / "b.png")
    np.testing.assert_array_equal(photo.pixels, pixels)
    written = cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(cv2.cvtColor(written, cv2.COLOR_BGR2RGB), pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_decoded_like_pillow_and_written_at_full_colour_resolution(tmp_path, channels):
    source = ph.save(tmp_path / "a.jpg", ph.scene(40, 56, channels), quality=90)
    photo, again = through(source, tmp_path / "b.jpeg")
    reference = np.asarray(Image.open(source)).astype(int)
    assert np.abs(photo.pixels - reference).max() <= 1
    difference = np.abs(again.pixels.astype(int) - photo.pixels)
    assert difference.mean() < 1.5 and difference.max() <= 12
    with Image.open(tmp_path / "b.jpeg") as written:
        # (id, horizontal, vertical sampling, table) of each component
        assert all(layer[1:3] == (1, 1) for layer in written.layer)


@pytest.mark.parametrize(
    ("source", "target"), list(itertools.product([".png", ".jpg", ".tif"], repeat=2))
)
def test_profile_exif_xmp_and_resolution_pass_between_all_formats(tmp_path, source, target):
    pixels, icc, block = ph.scene(), ph.profile(), ph.exif_block()
    options = {"icc_profile": icc, "exif": block, "dpi": (300, 240)}
    if source == ".png":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", ph.XMP.decode())
        options["pnginfo"] = text
    elif source == ".jpg":
        options["xmp"] = ph.XMP
    else:
        exif = Image.Exif()
        exif.load(block)
        exif[700] = ph.XMP
        options["exif"] = exif
    ph.save(tmp_path / f"in{source}", pixels, **options)

    _, again = through(tmp_path / f"in{source}", tmp_path / f"out{target}")

    with Image.open(tmp_path / f"out{target}") as written:
        assert written.info["icc_profile"] == icc
        exif = written.getexif()
        for tag, value in ph.CAMERA.items():
            assert exif[tag] == value
        details = exif.get_ifd(0x8769)
        assert float(details[ph.EXPOSURE_TIME]) == pytest.approx(0.01)
        assert details[ph.ISO] == 3200
        assert b"does not fit inline" in details[ph.USER_COMMENT]
        assert [float(part) for part in exif.get_ifd(0x8825)[2]] == [48.0, 12.0, 30.0]
        assert [float(part) for part in written.info["dpi"]] == pytest.approx([300, 240], abs=0.02)
    assert b'xmp:Rating="5"' in again.metadata.xmp
    assert b'tiff:Orientation="1"' in again.metadata.xmp
    assert again.metadata.icc == icc


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_baked_once(tmp_path, suffix, orientation):
    pixels = ph.scene(24, 40)
    block = ph.exif_block(orientation, (24, 40))
    source = ph.save(tmp_path / f"in{suffix}", pixels, exif=block, dpi=(300, 150))
    with Image.open(source) as opened:
        shown = np.asarray(ImageOps.exif_transpose(opened))
    photo, _ = through(source, tmp_path / f"out{suffix}")
    assert photo.size == shown.shape[:2]
    assert np.abs(photo.pixels.astype(int) - shown).max() <= 1
    with Image.open(tmp_path / f"out{suffix}") as written:
        exif = written.getexif()
        assert exif.get(0x0112, 1) == 1
        details = exif.get_ifd(0x8769)
        assert (details[ph.PIXEL_HEIGHT], details[ph.PIXEL_WIDTH]) == photo.size
        assert (written.height, written.width) == photo.size
        turned = orientation >= 5
        expected = (150, 300) if turned else (300, 150)
        assert [float(part) for part in written.info["dpi"]] == pytest.approx(expected, abs=0.02)


def test_a_png_keeps_its_colour_chunks_and_texts(tmp_path):
    info = PngInfo()
    info.add_text("Author", "Someone")
    info.add(b"gAMA", (45455).to_bytes(4, "big"))
    ph.save(tmp_path / "a.png", ph.scene(), pnginfo=info)
    through(tmp_path / "a.png", tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as written:
        assert written.info["gamma"] == pytest.approx(0.45455)
        assert written.text["Author"] == "Someone"


def test_a_profile_larger_than_one_jpeg_segment_survives(tmp_path):
    icc = ph.profile() + bytes(np.random.default_rng(0).integers(0, 256, 200_000, np.uint8))
    ph.save(tmp_path / "a.jpg", ph.scene(), icc_profile=icc)
    _, again = through(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert again.metadata.icc == icc


def test_palettes_are_expanded(tmp_path):
    image = Image.fromarray(ph.scene(20, 20)).quantize(16)
    for name in ("a.png", "a.tif"):
        image.save(tmp_path / name)
        np.testing.assert_array_equal(
            read_photo(tmp_path / name).pixels, np.asarray(image.convert("RGB"))
        )


def test_one_bit_and_inverted_gray_tiffs(tmp_path):
    mask = ph.disc(20, 20)
    Image.fromarray(mask > 0).save(tmp_path / "bits.tif")
    np.testing.assert_array_equal(read_photo(tmp_path / "bits.tif").pixels, mask)
    tifffile.imwrite(tmp_path / "white.tif", 255 - mask, photometric="miniswhite")
    np.testing.assert_array_equal(read_photo(tmp_path / "white.tif").pixels, mask)


def test_planar_and_big_endian_tiffs(tmp_path):
    pixels = ph.scene(20, 30, 3, np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.moveaxis(pixels, -1, 0),
        photometric="rgb",
        planarconfig="separate",
        byteorder=">",
    )
    np.testing.assert_array_equal(read_photo(tmp_path / "a.tif").pixels, pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [2, 4])
def test_colours_multiplied_by_transparency_are_read_without_it(tmp_path, dtype, channels):
    pixels = ph.scene(channels=channels, dtype=np.float32)
    pixels[..., -1] = np.linspace(0, 1, pixels.shape[1])
    multiplied = np.concatenate([pixels[..., :-1] * pixels[..., -1:], pixels[..., -1:]], axis=2)
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    stored = multiplied if top == 1 else np.rint(multiplied * top).astype(dtype)
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        photometric="rgb" if channels == 4 else "minisblack",
        planarconfig="contig",
        extrasamples=["assocalpha"],
    )
    photo, again = through(tmp_path / "a.tif", tmp_path / "b.tif")
    # A difference of one level grows by what alpha is divided by.
    shown = pixels[..., -1:] > 0.1
    error = np.abs(photo.pixels[..., :-1] / top - pixels[..., :-1]) * shown
    assert error.max() <= (1e-6 if top == 1 else 0.55 / top / 0.1)
    np.testing.assert_array_equal(photo.pixels[..., -1], stored[..., -1])
    np.testing.assert_array_equal(again.pixels, photo.pixels)
    with tifffile.TiffFile(tmp_path / "b.tif") as written:
        assert written.pages[0].extrasamples[0] == tifffile.EXTRASAMPLE.UNASSALPHA


def test_a_further_channel_without_a_meaning_is_not_made_transparency(tmp_path):
    pixels = ph.scene(channels=4)  # as editors save a selection: beside the colours
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unspecified"])
    photo, _ = through(tmp_path / "a.tif", tmp_path / "b.tif")
    np.testing.assert_array_equal(photo.pixels, pixels)
    with tifffile.TiffFile(tmp_path / "b.tif") as written:
        assert written.pages[0].extrasamples[0] == tifffile.EXTRASAMPLE.UNSPECIFIED
        np.testing.assert_array_equal(written.asarray(), pixels)


def test_a_tiff_with_jpeg_inside_is_read_as_rgb(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, ph.scene(), photometric="ycbcr", compression="jpeg", subsampling=(1, 1))
    np.testing.assert_array_equal(read_photo(path).pixels, np.asarray(Image.open(path)))


def test_an_extension_that_lies_does_not_matter(tmp_path):
    source = tmp_path / "really-a-png.jpg"
    source.write_bytes(ph.encoded(ph.scene(), "PNG"))
    assert read_photo(source).format == "PNG"


# ------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "1", "P", "I;16"])
def test_masks_of_every_kind_select_the_same(tmp_path, mode):
    disc = ph.disc()
    path = tmp_path / "mask.png"
    if mode == "I;16":
        cv2.imwrite(str(path), disc.astype(np.uint16) * 257)
    elif mode in ("RGBA", "LA"):  # white everywhere, the selection is in the transparency
        white = Image.new(mode, (disc.shape[1], disc.shape[0]), "white")
        white.putalpha(Image.fromarray(disc))
        white.save(path)
    else:
        Image.fromarray(disc).convert(mode).save(path)
    mask = read_mask(path, disc.shape)
    scale = 1.0 if mask.dtype == np.float32 else np.iinfo(mask.dtype).max
    np.testing.assert_allclose(mask / scale, disc / 255, atol=1e-6)
    assert mask.max() <= scale


def test_a_coloured_mask_counts_by_luma(tmp_path):
    green = np.zeros((4, 4, 3), np.uint8)
    green[..., 1] = 255
    ph.save(tmp_path / "g.png", green)
    np.testing.assert_allclose(read_mask(tmp_path / "g.png"), 0.587, atol=1e-6)
