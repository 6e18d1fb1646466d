"""Files that cannot be used, places that cannot be written to: one sentence each, no harm done."""

from __future__ import annotations

import os
import struct
import threading
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
from maskupe.files import check_output, exif, limits, read_mask, read_photo
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
    assert "not a PNG, JPEG or TIFF" in refusal(tmp_path / "text.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.webp")
    assert "not a PNG, JPEG or TIFF" in refusal(tmp_path / "a.webp")


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
    path.write_bytes(whole[:-2])
    assert "incomplete" in refusal(path)


@settings(
    max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
)
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
    five = np.zeros((8, 8, 5), np.uint8)
    tifffile.imwrite(tmp_path / "five.tif", five, photometric="rgb", planarconfig="contig")
    assert "5 channels" in refusal(tmp_path / "five.tif")
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

    monkeypatch.setattr(limits.psutil, "virtual_memory", Memory)
    ph.save(tmp_path / "a.png", ph.scene(100, 100))
    with pytest.raises(MemoryLimitError, match=r"needs about .* GiB .* are free"):
        read_photo(tmp_path / "a.png")


def test_a_mask_of_another_size_names_both_sizes(tmp_path):
    ph.save(tmp_path / "m.png", ph.disc(10, 20))
    with pytest.raises(InputError, match="20 × 10 and the photo 30 × 40"):
        read_mask(tmp_path / "m.png", (40, 30))


# ----------------------------------------------------------------------------------- outputs


def refused_output(path: Path, photo) -> str:
    with pytest.raises(InputError) as caught:
        check_output(path, photo)
    return str(caught.value)


def test_outputs_that_cannot_be(tmp_path):
    photo = read_photo(ph.save(tmp_path / "a.png", ph.scene(channels=4)))
    assert "is a directory" in refused_output(tmp_path, photo)
    assert "does not say its format" in refused_output(tmp_path / "out.gif", photo)
    assert "does not say its format" in refused_output(tmp_path / "out", photo)
    assert "no directory" in refused_output(tmp_path / "missing" / "out.png", photo)
    assert "transparency" in refused_output(tmp_path / "out.jpg", photo)
    os.mkfifo(tmp_path / "pipe.png")
    assert "regular file" in refused_output(tmp_path / "pipe.png", photo)
    with pytest.raises(InputError, match="quality 0"):
        check_output(tmp_path / "out.png", photo, quality=0)


@pytest.fixture
def permissions_count(tmp_path) -> None:
    """Skips where they do not: for root, and on Windows."""
    kept = tmp_path / "kept"
    kept.touch(mode=0o400)
    if os.access(kept, os.W_OK):
        pytest.skip("this user may write to everything")


@pytest.mark.usefixtures("permissions_count")
def test_a_directory_without_permission_is_refused(tmp_path):
    photo = read_photo(ph.save(tmp_path / "a.png", ph.scene()))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert "cannot be written" in refused_output(closed / "out.png", photo)


@pytest.mark.usefixtures("permissions_count")
def test_a_read_only_file_is_not_replaced(tmp_path):
    photo = read_photo(ph.save(tmp_path / "a.png", ph.scene()))
    kept = tmp_path / "kept.png"
    kept.touch(mode=0o400)
    assert "read-only" in refused_output(kept, photo)


def test_a_name_that_no_file_can_have(tmp_path):
    photo = read_photo(ph.save(tmp_path / "a.png", ph.scene()))
    name = tmp_path / f"{'x' * 300}.png"
    assert "cannot be read" in refusal(name)
    assert "cannot be written" in refused_output(name, photo)


def test_an_opaque_alpha_may_become_a_jpeg(tmp_path):
    pixels = ph.scene(channels=4)
    pixels[..., 3] = 255
    photo = read_photo(ph.save(tmp_path / "a.png", pixels))
    check_output(tmp_path / "a.jpg", photo).write(photo.pixels)
    assert read_photo(tmp_path / "a.jpg").pixels.shape == (48, 64, 3)


@pytest.mark.parametrize(("suffix", "top"), [(".jpg", 255), (".png", 65535)])
def test_less_depth_is_rounded_and_said(tmp_path, suffix, top):
    pixels = np.linspace(-0.2, 1.3, 64 * 64, dtype=np.float32).reshape(64, 64)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    photo = read_photo(tmp_path / "a.tif")
    output = check_output(tmp_path / f"b{suffix}", photo)
    assert len(output.notes) == 1 and "TIFF" in output.notes[0]
    output.write(photo.pixels)
    again = read_photo(output.path).pixels
    assert np.abs(again - np.clip(pixels, 0, 1) * top).max() <= (3 if top == 255 else 0.51)


def test_sixteen_bits_become_eight_by_rounding(tmp_path):
    flat = np.full((64, 64), 1000, np.uint16)  # 1000 / 257 = 3.89
    tifffile.imwrite(tmp_path / "a.tif", flat)
    photo = read_photo(tmp_path / "a.tif")
    check_output(tmp_path / "a.jpg", photo, quality=100).write(flat)
    assert (read_photo(tmp_path / "a.jpg").pixels == 4).all()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    photo = read_photo(ph.save(tmp_path / "a.png", ph.scene()))
    target = tmp_path / "out.png"
    target.write_bytes(b"precious")
    output = check_output(target, photo)
    before = sorted(tmp_path.iterdir())

    def full_disk(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(MaskUPEError, match="No space left on device"):
        output.write(photo.pixels)

    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        output.write(photo.pixels)
    assert target.read_bytes() == b"precious"
    assert sorted(tmp_path.iterdir()) == before


def test_replacing_keeps_permissions_and_links(tmp_path):
    real = ph.save(tmp_path / "real.png", ph.scene())
    real.chmod(0o640)
    link = tmp_path / "link.png"
    link.symlink_to(real)
    photo = read_photo(link)
    check_output(link, photo).write(255 - photo.pixels)
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    np.testing.assert_array_equal(read_photo(real).pixels, 255 - photo.pixels)


def test_readers_never_see_half_a_file(tmp_path):
    photo = read_photo(ph.save(tmp_path / "a.png", ph.scene(300, 300)))
    output = check_output(tmp_path / "a.png", photo)
    stop = threading.Event()
    seen: list[bytes] = []

    def watch() -> None:
        while not stop.is_set():
            seen.append((tmp_path / "a.png").read_bytes()[-12:])

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(10):
        output.write(photo.pixels)
    stop.set()
    watcher.join()
    assert {tail[4:8] for tail in seen} == {b"IEND"}


# -------------------------------------------------------------------------------------- exif


def test_the_stale_thumbnail_is_unlinked():
    image = Image.fromarray(ph.scene())
    block = ph.exif_block()[6:]
    order = exif.byte_order(block)
    first = struct.unpack_from(order + "I", block, 4)[0]
    _, pointer = exif.read_directory(block, first, order)
    linked = bytearray(block)
    struct.pack_into(order + "I", linked, pointer, len(block))
    linked += struct.pack(order + "H", 0) + bytes(4)
    assert image.size == (64, 48)
    settled = exif.settle(bytes(linked), 1)
    assert struct.unpack_from(order + "I", settled, pointer)[0] == 0


def test_a_damaged_block_passes_through_and_counts_as_upright():
    for block in (b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"nonsense", ph.exif_block()[6:40]):
        assert exif.orientation(block) == 1
        assert exif.settle(block, 6) == block


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
