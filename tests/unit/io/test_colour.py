"""Pixels in linear light are worked on as displayed and stored as they came; colour spaces stay."""

from __future__ import annotations

import functools
import io
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from maskupe.cli import main
from maskupe.errors import InputError
from maskupe.io import check_output, read_photo
from maskupe.preprocess.srgb import decode_srgb, encode_srgb
from tests import evil
from tests import photographs as ph
from tests.untrained import write_weights

REC709 = [0.64, 0.33, 0.30, 0.60, 0.15, 0.06]
P3 = [0.68, 0.32, 0.265, 0.69, 0.15, 0.06]
D65 = [0.3127, 0.3290]


@functools.cache
def profile(gamma: float, space: str = "rgb") -> bytes:
    """A profile with that exponent, made by the colour engine.

    Made once for each exponent, since the engine writes the time of day into its profiles.
    """
    options = {} if space == "gray" else {"primaries": REC709, "whitepoint": D65}
    return imagecodecs.cms_profile(space, gamma=gamma, **options)


def save_tiff(path, pixels, icc):
    tifffile.imwrite(
        path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack", iccprofile=icc
    )
    return path


def as_dtype(values, dtype):
    if dtype == np.float32:
        return values.astype(np.float32)
    top = np.iinfo(dtype).max
    return np.rint(values * top).astype(dtype)


@pytest.mark.parametrize("gamma", [1.0, 1.3, 3.0])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("space", ["rgb", "gray"])
def test_a_profile_s_curve_is_undone_for_the_work_and_stored_again(tmp_path, gamma, dtype, space):
    shown = ph.scene(channels=3 if space == "rgb" else 1, dtype=np.float32).astype(np.float64)
    stored = as_dtype(decode_srgb(shown) ** (1 / gamma), dtype)
    path = save_tiff(tmp_path / "a.tif", stored, profile(gamma, space))
    photo = read_photo(path)
    assert photo.pixels.dtype == np.float32
    np.testing.assert_allclose(photo.pixels, shown, atol=2e-3 if dtype == np.uint16 else 1e-4)
    brighter = photo.pixels.copy()
    brighter[:10] = np.minimum(brighter[:10] * 1.5, 1.0)
    check_output(tmp_path / "b.tif", photo).write(brighter)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        written = file.asarray()
        assert file.pages[0].tags[34675].value == profile(gamma, space)
    assert written.dtype == dtype
    np.testing.assert_array_equal(written[10:], stored[10:])
    expected = as_dtype(decode_srgb(brighter[:10].astype(np.float64)) ** (1 / gamma), dtype)
    np.testing.assert_allclose(written[:10], expected, atol=2 if dtype == np.uint16 else 1e-4)


@pytest.mark.parametrize("gamma", [1.8, 2.2, 2.4])
def test_profiles_for_display_pass_untouched(tmp_path, gamma):
    pixels = ph.scene(dtype=np.uint16)
    photo = read_photo(save_tiff(tmp_path / "a.tif", pixels, profile(gamma)))
    assert photo.kept is None
    np.testing.assert_array_equal(photo.pixels, pixels)


def test_light_beyond_white_and_below_black_survives(tmp_path):
    stored = np.linspace(-0.5, 8.0, 48 * 64 * 3, dtype=np.float32).reshape(48, 64, 3)
    photo = read_photo(save_tiff(tmp_path / "a.tif", stored, profile(1.0)))
    check_output(tmp_path / "b.tif", photo).write(photo.pixels * np.float32(1.0) + np.float32(1e-3))
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        written = file.asarray()
    assert written.min() < -0.4 and written.max() > 7.9
    np.testing.assert_allclose(written, stored, rtol=1e-2, atol=2e-3)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_enhance_gives_linear_files_the_light_that_srgb_files_get(tmp_path, dtype):
    shown = ph.scene(96, 128, dtype=np.float32).astype(np.float64)
    weights = str(write_weights(tmp_path))
    mask = ph.save(tmp_path / "m.png", ph.disc(96, 128))
    save_tiff(tmp_path / "srgb.tif", as_dtype(shown, dtype), ph.profile())
    save_tiff(tmp_path / "linear.tif", as_dtype(decode_srgb(shown), dtype), profile(1.0))
    for name in ("srgb", "linear"):
        command = ["enhance", tmp_path / f"{name}.tif", "--mask", mask, "--model", weights]
        command += ["-o", tmp_path / f"{name}-out.tif", "--strength", "2"]
        assert main([str(part) for part in command]) == 0
    results = [tifffile.imread(tmp_path / f"{name}-out.tif") for name in ("srgb", "linear")]
    scale = 1.0 if dtype == np.float32 else 65535.0
    expected = np.minimum(results[0].astype(np.float64) / scale, 1.0)
    assert np.abs(expected - shown).max() > 0.05  # something was lit
    np.testing.assert_allclose(encode_srgb(results[1] / scale), expected, atol=3e-3)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"gAMA", struct.pack(">I", 100_000)),
        (b"cICP", bytes([1, 8, 0, 1])),
    ],
)
@pytest.mark.parametrize("target", ["b.png", "b.tif", "b.jpg"])
def test_a_png_that_says_linear_in_a_chunk(tmp_path, kind, body, target):
    shown = ph.scene(dtype=np.float32).astype(np.float64)
    stored = as_dtype(decode_srgb(shown), np.uint8)
    content = evil.with_chunks(ph.encoded(stored, "PNG"), evil.chunk(kind, body))
    photo = read_photo(evil.write(tmp_path / "a.png", content))
    np.testing.assert_allclose(photo.pixels, encode_srgb(stored / 255.0), atol=1e-5)
    check_output(tmp_path / target, photo, quality=100).write(photo.pixels)
    with Image.open(tmp_path / target) as written:
        difference = np.abs(np.asarray(written).astype(int) - stored).max()
        assert difference <= (6 if target == "b.jpg" else 0)
    again = read_photo(tmp_path / target)  # the file says of itself that it is linear
    np.testing.assert_allclose(again.pixels, photo.pixels, atol=0.12 if "jpg" in target else 1e-6)


@pytest.mark.parametrize("target", ["b.tif", "b.jpg"])
@pytest.mark.parametrize("how", ["cHRM", "cICP"])
def test_a_colour_space_known_by_a_png_s_chunks_becomes_a_profile(tmp_path, target, how):
    if how == "cICP":
        chunks = [evil.chunk(b"cICP", bytes([12, 13, 0, 1]))]
    else:
        numbers = [round(100_000 * value) for value in D65 + P3]
        chunks = [evil.chunk(b"cHRM", struct.pack(">8I", *numbers))]
        chunks.append(evil.chunk(b"gAMA", struct.pack(">I", 45455)))
    pixels = ph.scene()
    content = evil.with_chunks(ph.encoded(pixels, "PNG"), *chunks)
    photo = read_photo(evil.write(tmp_path / "a.png", content))
    np.testing.assert_array_equal(photo.pixels, pixels)
    check_output(tmp_path / target, photo).write(photo.pixels)
    with Image.open(tmp_path / target) as written:
        found = ImageCms.ImageCmsProfile(io.BytesIO(written.info["icc_profile"]))
    # As in Apple's own Display P3 profile (X, Y and Z under D50).
    primaries = (found.profile.red_primary, found.profile.green_primary, found.profile.blue_primary)
    apple = [(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)]
    np.testing.assert_allclose([primary[0] for primary in primaries], apple, atol=5e-4)
    assert photo.kept is None
    # To PNG the chunks go as they are, and nothing else.
    check_output(tmp_path / "c.png", photo).write(photo.pixels)
    with Image.open(tmp_path / "c.png") as written:
        assert "icc_profile" not in written.info
    assert chunks[0] in (tmp_path / "c.png").read_bytes()


def test_srgb_chunks_need_no_profile(tmp_path):
    chunks = [evil.chunk(b"sRGB", b"\0"), evil.chunk(b"gAMA", struct.pack(">I", 45455))]
    content = evil.with_chunks(ph.encoded(ph.scene(), "PNG"), *chunks)
    photo = read_photo(evil.write(tmp_path / "a.png", content))
    check_output(tmp_path / "b.tif", photo).write(photo.pixels)
    with Image.open(tmp_path / "b.tif") as written:
        assert "icc_profile" not in written.info


@pytest.mark.parametrize(("curve", "said"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_by_its_name(tmp_path, curve, said):
    chunk = evil.chunk(b"cICP", bytes([9, curve, 0, 1]))
    path = evil.write(tmp_path / "a.png", evil.with_chunks(ph.encoded(ph.scene(), "PNG"), chunk))
    with pytest.raises(InputError, match=rf"HDR picture \({said}\). Convert it to sRGB"):
        read_photo(path)


# Named, as a profile says when it was made: all processes of a run must have the same names.
@pytest.mark.parametrize(
    "content",
    [b"nonsense", b"\0" * 200, profile(1.0)[:90]],
    ids=["nonsense", "zeros", "cut short"],
)
def test_a_damaged_profile_is_carried_and_not_understood(tmp_path, content):
    pixels = ph.scene(dtype=np.uint16)
    photo = read_photo(save_tiff(tmp_path / "a.tif", pixels, content))
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert photo.metadata.icc == content


def test_transparency_has_no_curve(tmp_path):
    stored = ph.scene(channels=4, dtype=np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        photometric="rgb",
        extrasamples=["unassalpha"],
        iccprofile=profile(1.0),
    )
    photo = read_photo(tmp_path / "a.tif")
    np.testing.assert_allclose(photo.pixels[..., 3], stored[..., 3] / 65535, atol=1e-6)
    check_output(tmp_path / "b.tif", photo).write(photo.pixels)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), stored)
