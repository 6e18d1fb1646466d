"""Where a result can be written and where not, and that a failure leaves the old file."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile

from maskupe.errors import InputError, MaskUPEError
from maskupe.io import check_output, read_photo
from tests import photographs as ph


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
    with pytest.raises(MaskUPEError, match="cannot be read"):
        read_photo(name)
    assert "cannot be written" in refused_output(name, photo)


def test_an_opaque_alpha_may_become_a_jpeg(tmp_path):
    pixels = ph.scene(channels=4)
    pixels[..., 3] = 255
    photo = read_photo(ph.save(tmp_path / "a.png", pixels))
    check_output(tmp_path / "a.jpg", photo).write(photo.pixels)
    assert read_photo(tmp_path / "a.jpg").pixels.shape == (48, 64, 3)


@pytest.mark.parametrize(("suffix", "top"), [(".jpg", 255), (".png", 65535), (".jxl", 65535)])
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
        while not (seen and stop.is_set()):
            seen.append((tmp_path / "a.png").read_bytes()[-12:])

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(10):
        output.write(photo.pixels)
    stop.set()
    watcher.join()
    assert {tail[4:8] for tail in seen} == {b"IEND"}
