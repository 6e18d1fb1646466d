"""Files that cannot be used: one sentence each."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from maskupe.errors import InputError, MaskUPEError, MemoryLimitError
from maskupe.io import read_mask, read_photo
from tests import photographs as ph


def refusal(path: Path) -> str:
    with pytest.raises(MaskUPEError) as caught:
        read_photo(path)
    assert caught.value.exit_status in (1, 2)
    return str(caught.value)


def test_missing_empty_directory_and_foreign_files(tmp_path):
    assert "no file" in refusal(tmp_path / "missing.png")
    assert "directory" in refusal(tmp_path)
    (tmp_path / "empty.png").touch()
    assert "empty" in refusal(tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("hello, this is not a picture")
    assert "not a PNG, JPEG, TIFF, WebP, AVIF or JPEG XL" in refusal(tmp_path / "text.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.gif")
    assert "not a PNG, JPEG, TIFF, WebP, AVIF or JPEG XL" in refusal(tmp_path / "a.gif")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
def test_cut_off_files_are_refused(tmp_path, kind, share):
    whole = ph.encoded(ph.scene(200, 200), kind)
    path = tmp_path / "cut"
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "damaged" in refusal(path)


def test_a_jpeg_is_complete_whatever_lies_behind_and_cut_whatever_lies_before(tmp_path):
    thumbnail = ph.encoded(ph.scene(16, 16), "JPEG")
    whole = ph.encoded(ph.scene(200, 200), "JPEG", exif=ph.exif_block(), comment=thumbnail)
    path = tmp_path / "a.jpg"
    path.write_bytes(whole + bytes(10 * len(whole)))
    assert read_photo(path).size == (200, 200)
    path.write_bytes(whole[:-2])  # of the picture nothing is missing
    assert read_photo(path).size == (200, 200)
    path.write_bytes(whole[:-200] + whole)
    assert "incomplete" in refusal(path)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_never_give_another_error(tmp_path_factory, data):
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "TIFF"]))
    options = {"exif": ph.exif_block(6), "icc_profile": ph.profile()}
    content = bytearray(ph.encoded(ph.scene(16, 16), kind, **options))
    for _ in range(data.draw(st.integers(1, 6))):
        # Headers and directories lie at the ends; hit these more often than the pixels.
        where = data.draw(
            st.one_of(
                st.integers(4, min(200, len(content) - 1)),
                st.integers(len(content) // 2, len(content) - 1),
            )
        )
        content[where] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "a"
    path.write_bytes(content)
    try:
        photo = read_photo(path)
    except MaskUPEError:
        return
    assert photo.pixels.ndim in (2, 3)


def test_cmyk_animations_and_several_pages(tmp_path):
    cmyk = Image.fromarray(ph.scene()).convert("CMYK")
    for name in ("a.jpg", "a.tif"):
        cmyk.save(tmp_path / name)
        assert "CMYK picture. Convert it to RGB" in refusal(tmp_path / name)
    frames = [Image.fromarray(ph.scene()), Image.fromarray(255 - ph.scene())]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    assert "animation" in refusal(tmp_path / "a.png")
    frames[0].save(tmp_path / "pages.tif", save_all=True, append_images=frames[1:])
    assert "2 pages" in refusal(tmp_path / "pages.tif")


def test_raw_lab_double_and_many_channels(tmp_path):
    pixels = ph.scene()
    tifffile.imwrite(tmp_path / "a.dng", pixels, extratags=[(50706, 1, 4, b"\1\4\0\0", True)])
    assert "raw" in refusal(tmp_path / "a.dng")
    tifffile.imwrite(tmp_path / "lab.tif", pixels, photometric="cielab")
    assert "Lab" in refusal(tmp_path / "lab.tif")
    Image.fromarray(pixels).convert("YCbCr").save(tmp_path / "ycc.tif")
    assert "YCBCR" in refusal(tmp_path / "ycc.tif")
    many = np.zeros((8, 8, 60), np.uint8)
    tifffile.imwrite(tmp_path / "many.tif", many, photometric="rgb", planarconfig="contig")
    assert "60 channels" in refusal(tmp_path / "many.tif")
    tifffile.imwrite(tmp_path / "int.tif", np.zeros((8, 8), np.int32))
    assert "int32" in refusal(tmp_path / "int.tif")
    for name, value in (("nan.tif", np.float32("nan")), ("large.tif", np.float64(1e300))):
        tifffile.imwrite(tmp_path / name, np.full((8, 8), value))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert "not numbers" in refusal(tmp_path / name)


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path):
    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    content += chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(content)
    assert "60000 × 60000" in refusal(tmp_path / "bomb.png")


def test_what_does_not_fit_into_memory_names_both_numbers(monkeypatch, tmp_path):
    class Memory:
        available = 10_000

    monkeypatch.setattr("psutil.virtual_memory", Memory)
    ph.save(tmp_path / "a.png", ph.scene(100, 100))
    with pytest.raises(MemoryLimitError, match=r"needs about .* GiB .* are free"):
        read_photo(tmp_path / "a.png")


def test_a_mask_of_another_size_names_both_sizes(tmp_path):
    ph.save(tmp_path / "m.png", ph.disc(10, 20))
    with pytest.raises(InputError, match="20 × 10 and the photo 30 × 40"):
        read_mask(tmp_path / "m.png", (40, 30))
