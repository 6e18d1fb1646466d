"""Masks as people have them: used, or told precisely why not."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskupe.cli import main
from maskupe.errors import InputError
from maskupe.io import interpret_mask, read_mask
from tests import photographs as ph
from tests.unit.io.test_colour import profile, save_tiff
from tests.untrained import write_weights

DISC = ph.disc()


def share(mask):
    scale = 1.0 if mask.dtype == np.float32 else np.iinfo(mask.dtype).max
    return mask / scale


def save(path, pixels, mode=None, **options):
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".avif", ".jpg"])
def test_masks_of_every_format_select(tmp_path, suffix):
    options = {"lossless": True} if suffix == ".webp" else {"quality": 100}
    path = save(tmp_path / f"m{suffix}", DISC, **({} if suffix in (".png", ".tif") else options))
    np.testing.assert_allclose(share(read_mask(path, DISC.shape)), DISC / 255, atol=0.2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_masks_of_0_and_1_are_taken_for_black_and_white(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "m.tif", (DISC > 0).astype(dtype))
    mask = interpret_mask(tmp_path / "m.tif", DISC.shape)
    np.testing.assert_array_equal(share(mask.selection), DISC / 255)
    assert mask.notes == ("The mask m.tif holds 0 and 1 and was taken for black and white.",)


@pytest.mark.parametrize(("top", "said"), [(2, "2 of 255"), (20, "20 of 255"), (127, "127 of 255")])
def test_masks_of_small_numbers_name_their_brightest(tmp_path, top, said):
    path = save(tmp_path / "m.png", (DISC > 0).astype(np.uint8) * np.uint8(top))
    with pytest.raises(InputError, match=rf"m\.png selects nothing: its brightest value is {said}"):
        read_mask(path)


def test_black_masks_say_so(tmp_path):
    path = save(tmp_path / "m.png", DISC * 0)
    with pytest.raises(InputError, match=r"it is black throughout\. Make white"):
        read_mask(path)


def test_class_palettes_are_told(tmp_path):
    labels = np.zeros(DISC.shape, np.uint8)
    labels[:10], labels[20:30], labels[40:] = 1, 2, 15
    image = Image.fromarray(labels)
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, *[200] * 36, 192, 128, 128])
    image.save(tmp_path / "m.png")
    with pytest.raises(InputError, match="has 3 different colours, as pictures of classes have"):
        read_mask(tmp_path / "m.png")


@pytest.mark.parametrize("edge", [1.0, 0.75])
def test_a_cut_out_selects_by_its_shape(tmp_path, edge):
    cut = np.dstack([ph.scene(), (DISC * edge).astype(np.uint8)])
    path = save(tmp_path / "m.png", cut)
    mask = interpret_mask(path, DISC.shape)
    np.testing.assert_array_equal(mask.selection, (DISC * edge).astype(np.uint8))
    assert "selects by its transparency" in mask.notes[0]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_black_on_transparent_selects_by_its_shape(tmp_path, mode):
    image = Image.new(mode, DISC.shape[::-1], "black")
    image.putalpha(Image.fromarray(DISC))
    image.save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), DISC)


def test_a_mask_with_a_hole_in_it_stays_a_mask(tmp_path):
    image = np.dstack([DISC, np.where(np.arange(64) < 8, 0, 255)[None].repeat(48, 0)]).astype("u1")
    Image.fromarray(image, "LA").save(tmp_path / "m.png")
    mask = interpret_mask(tmp_path / "m.png")
    np.testing.assert_allclose(mask.selection, DISC / 255.0 * (image[..., 1] / 255.0), atol=1e-6)
    assert mask.notes == ()


def test_a_number_is_not_light(tmp_path):
    ramp = np.linspace(0, 1, 48 * 64, dtype=np.float32).reshape(48, 64)
    path = save_tiff(tmp_path / "m.tif", ramp, profile(1.0, "gray"))
    np.testing.assert_array_equal(read_mask(path), ramp)


def test_floats_of_another_range_are_told(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", DISC.astype(np.float32))
    with pytest.raises(InputError, match="values up to 255, and floats run from 0 to 1"):
        read_mask(tmp_path / "m.tif")


def test_the_command_line_speaks_of_masks(tmp_path, capsys):
    weights = str(write_weights(tmp_path))
    photo = str(ph.save(tmp_path / "a.png", ph.scene()))
    command = ["enhance", photo, "-o", str(tmp_path / "b.png"), "--model", weights, "--mask"]
    assert main([*command, str(save(tmp_path / "black.png", DISC * 0))]) == 2
    said = capsys.readouterr().err
    assert "black.png selects nothing" in said and "layer" not in said and "Select" not in said
    assert main([*command, str(save(tmp_path / "ones.png", DISC // 255))]) == 0
    assert "ones.png holds 0 and 1" in capsys.readouterr().err
