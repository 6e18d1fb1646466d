"""Small files that ask for much: each is refused or read in little memory and time.

They are read by a child process under a limit, as in `make fuzz`.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile

from maskupe import memory
from maskupe.errors import MemoryLimitError
from maskupe.io import limits, read_photo
from tests import evil, fuzz
from tests import photographs as ph

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits a process as Linux can")

#: Of the process with all its libraries, which alone take about 60 MB.
LITTLE = 200 * 2**20


@pytest.fixture(scope="module")
def child():
    made = fuzz.Child()
    yield made
    made.close()


def outcome(child: fuzz.Child, path: Path, content: bytes | None = None) -> tuple[str, str]:
    """(``read`` or ``refused``, the sentence) of a file that must take little."""
    if content is not None:
        path.write_bytes(content)
    found = child.try_file(path, seconds=2.0)
    assert found["outcome"] in ("read", "refused"), found
    assert found["peak"] < LITTLE, found
    return found["outcome"], found["said"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_twenty_thousand_entries_that_share_their_bytes(tmp_path, child, kind):
    # 240 kB of directory, each entry claiming all of them: 5 GB if each gets a copy.
    count = 20_000 if kind == "PNG" else 5_000
    size = 12 * count
    entries = [(0x9000 + i, evil.UNDEFINED, size, 8) for i in range(count)]
    inner = evil.directory(entries)
    main = [(0x0112, evil.SHORT, 1, 6), (0x8769, evil.LONG, 1, 38)]
    block = evil.exif(main, tail=inner)
    plain = ph.encoded(ph.scene(24, 40), kind)
    if kind == "PNG":
        content = evil.with_chunks(plain, evil.chunk(b"eXIf", block))
    else:
        content = evil.with_exif(plain, block[:65_000])
    path = evil.write(tmp_path / f"a.{kind.lower()}", content)
    assert outcome(child, path) == ("read", "")
    assert read_photo(path).size == (40, 24)


def test_a_tiff_s_entries_that_share_their_bytes(tmp_path, child):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, ph.scene(24, 40), photometric="rgb")
    content = bytearray(path.read_bytes())
    if len(content) % 2:
        content += b"\0"
    # The directory anew at the end, with so many more entries.
    (first,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, first)
    old = content[first + 2 : first + 2 + 12 * count]
    more = b"".join(
        struct.pack("<HHII", 0x9000 + i, evil.UNDEFINED, 300_000, 8) for i in range(25_000)
    )
    struct.pack_into("<I", content, 4, len(content))
    content += struct.pack("<H", count + 25_000) + old + more + bytes(4)
    outcome(child, path, bytes(content))


@pytest.mark.parametrize("stuffing", [b"\xff\x01", b"\xff\xd3", b"\xff\x00", b"\xff\xff\xff\x01"])
def test_two_views_of_one_jpeg(tmp_path, child, stuffing):
    # What follows looks like a segment to one who takes the marker before it for one with a
    # length; libjpeg knows that it has none.
    whole = ph.encoded(np.full((16, 16), 90, np.uint8), "JPEG")
    frame = whole.index(b"\xff\xc0")
    small = whole[frame : frame + 13]
    large = bytearray(small)
    struct.pack_into(">HH", large, 5, 25_000, 25_000)
    hidden = stuffing + bytes(large) + whole[frame + 13 :]
    said = outcome(child, tmp_path / "a.jpg", whole[:frame] + hidden)
    assert said[0] == "refused" and "25000 × 25000" in said[1]
    both = whole[:frame] + stuffing + struct.pack(">H", 2 + len(small)) + small + hidden
    assert outcome(child, tmp_path / "b.jpg", both)[0] == "refused"


def test_a_jpeg_of_endless_passes(tmp_path, child):
    whole = bytearray(ph.encoded(np.full((16, 16, 3), 90, np.uint8), "JPEG", progressive=True))
    frame = whole.index(b"\xff\xc2")
    struct.pack_into(">HH", whole, frame + 5, 6_000, 6_000)
    scan = whole.rindex(b"\xff\xda")
    passes = bytes(whole[scan:-2]) * 5_000
    said = outcome(child, tmp_path / "a.jpg", bytes(whole[:scan]) + passes + b"\xff\xd9")
    assert said[0] == "refused" and "passes over its pixels" in said[1]


def test_a_png_that_claims_two_sizes(tmp_path, child):
    header = struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)
    large = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 6, 0, 0, 0)
    pixels = evil.chunk(b"IDAT", zlib.compress(bytes(16 * 17))) + evil.chunk(b"IEND", b"")
    for first, second in ((header, large), (large, header)):
        content = evil.PNG_SIGNATURE + evil.chunk(b"IHDR", first) + evil.chunk(b"IHDR", second)
        said = outcome(child, tmp_path / "a.png", content + pixels)
        assert said[0] == "refused" and "does not begin with its one header" in said[1]
    content = evil.PNG_SIGNATURE + evil.chunk(b"tEXt", b"a\0b") + evil.chunk(b"IHDR", header)
    assert outcome(child, tmp_path / "a.png", content + pixels)[0] == "refused"


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        (b"iCCP", b"p\0\0"),
        (b"zTXt", b"Raw profile type exif\0\0"),
        (b"zTXt", b"Comment\0\0"),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"),
    ],
)
def test_a_hundred_chunks_that_unpack_to_much(tmp_path, kind, head):
    body = head + zlib.compress(bytes(31 * 2**20), 1)
    content = evil.with_chunks(ph.encoded(ph.scene(), "PNG"), *[evil.chunk(kind, body)] * 100)
    path = tmp_path / "a.png"
    path.write_bytes(content)
    child = fuzz.Child()  # of its own, since a peak stays
    found = child.try_file(path, seconds=3.0)
    child.close()
    assert found["outcome"] == "read"
    assert found["peak"] < LITTLE + 4 * 32 * 2**20


def test_three_hundred_thousand_directories(tmp_path, child):
    content = bytearray(b"II*\0\x08\0\0\0")
    entry = struct.pack("<HHII", 256, evil.SHORT, 1, 16)
    for number in range(300_000):
        content += struct.pack("<H", 1) + entry + struct.pack("<I", 8 + 18 * (number + 1))
    content[-4:] = bytes(4)
    said = outcome(child, tmp_path / "a.tif", bytes(content))
    assert said[0] == "refused" and "more than 64 pages" in said[1]


def test_directories_in_a_circle(tmp_path, child):
    entry = struct.pack("<HHII", 256, evil.SHORT, 1, 16)
    content = b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + entry + struct.pack("<I", 8)
    assert outcome(child, tmp_path / "a.tif", content)[0] == "refused"


def lying_tiff(tile: int, compression: int, data: bytes) -> bytes:
    """A picture of 16 × 16 in one tile of another size."""
    entries = [
        (256, evil.SHORT, 1, 16),
        (257, evil.SHORT, 1, 16),
        (258, evil.SHORT, 1, 8),
        (259, evil.SHORT, 1, compression),
        (262, evil.SHORT, 1, 1),
        (277, evil.SHORT, 1, 1),
        (322, evil.LONG, 1, tile),
        (323, evil.LONG, 1, tile),
        (324, evil.LONG, 1, 8 + 2 + 12 * 10 + 4),
        (325, evil.LONG, 1, len(data)),
    ]
    return evil.tiff(entries, data)


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])
def test_tiles_that_are_larger_than_the_picture(tmp_path, child, compression):
    data = zlib.compress(bytes(256))
    said = outcome(child, tmp_path / "a.tif", lying_tiff(65_536, compression, data))
    assert said[0] == "refused" and "tiles of 65536 × 65536" in said[1]
    # One that is larger than the picture by a little is what programs write.
    whole = tmp_path / "b.tif"
    whole.write_bytes(lying_tiff(64, 8, zlib.compress(bytes([7]) * 64 * 64)))
    np.testing.assert_array_equal(read_photo(whole).pixels, np.full((16, 16), 7))


def test_a_jpeg_in_a_tile_that_is_larger_than_the_tile(tmp_path, child):
    jpeg = bytearray(ph.encoded(np.full((16, 16), 90, np.uint8), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    struct.pack_into(">HH", jpeg, frame + 5, 65_000, 65_000)
    said = outcome(child, tmp_path / "a.tif", lying_tiff(16, 7, bytes(jpeg)))
    assert said[0] == "refused" and "65000 × 65000" in said[1]


def test_compressions_whose_decoders_take_any_size_are_told(tmp_path, child):
    tifffile.imwrite(tmp_path / "a.tif", ph.scene(), compression="jpeg2000", photometric="rgb")
    said = outcome(child, tmp_path / "a.tif")
    assert said[0] == "refused" and "Save it with ZIP (Deflate) or LZW" in said[1]


# --------------------------------------------------------------------------------- free memory


def test_a_container_s_limit_counts(tmp_path, monkeypatch):
    inner = tmp_path / "groups" / "pod" / "job"
    inner.mkdir(parents=True)
    (tmp_path / "cgroup").write_text("0::/pod/job\n")
    (inner / "memory.max").write_text("max\n")
    pod = inner.parent
    (pod / "memory.max").write_text(f"{400 * 2**20}\n")
    (pod / "memory.current").write_text(f"{150 * 2**20}\n")
    (pod / "memory.stat").write_text(f"anon 1\ninactive_file {50 * 2**20}\n")
    monkeypatch.setattr(memory, "_CONTROL_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "_OUR_GROUP", tmp_path / "cgroup")
    assert memory.free_bytes() == 300 * 2**20
    limits.check_size("a.png", 4000, 2000, 3)  # 24 MB: 132 of them at work, and the program's
    with pytest.raises(MemoryLimitError, match=r"a\.png \(6000 × 4000\) needs about 0\.5 GiB"):
        limits.check_size("a.png", 6000, 4000, 3)


@pytest.fixture
def container(tmp_path):
    """A real control group of 400 MiB; the folder whose file cgroup.procs takes members."""
    name = f"maskupe-test-{os.getpid()}"
    groups = Path("/sys/fs/cgroup")
    memberships = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().split()]
    ours = [path for _, controllers, path in memberships if "memory" in controllers.split(",")]
    places = [(groups / name, "memory.max")]
    places += [(groups / "memory" / f"./{path}" / name, "memory.limit_in_bytes") for path in ours]
    for folder, limit in places:
        if not (folder.parent / "cgroup.procs").exists():
            continue
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / limit).write_text(str(400 * 2**20))
        except OSError:
            folder.rmdir()
            continue
        yield folder
        deadline = time.monotonic() + 20
        while True:  # its last member may just be ending
            try:
                return folder.rmdir()
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
    pytest.skip("no control group can be made here")


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
def test_in_a_real_container_what_does_not_fit_is_a_sentence(tmp_path, container):
    """The system would end the command, with status 137 and no word."""

    def enhance(name, pixels):
        ph.save(tmp_path / name, pixels)
        command = ["enhance", tmp_path / name, "-o", tmp_path / f"out-{name}"]
        return subprocess.run(
            [sys.executable, "-m", "maskupe.cli", *command, "--edges", "off", "--device", "cpu"],
            capture_output=True,
            text=True,
            preexec_fn=lambda: (container / "cgroup.procs").write_text(str(os.getpid())),
        )

    large = enhance("large.png", np.zeros((7_000, 12_000), np.uint8))
    assert large.returncode == 1
    assert "large.png (12000 × 7000) needs about 1.0 GiB" in large.stderr
    small = enhance("small.png", ph.scene())
    assert small.returncode == 0, small.stderr
    assert (tmp_path / "out-small.png").exists()


def test_a_shell_s_limit_counts(tmp_path):
    """Under `ulimit -v` a photo that does not fit is a sentence of the command."""
    ph.save(tmp_path / "a.png", np.zeros((7_000, 12_000), np.uint8))
    program = (
        "import resource, psutil; import maskupe.io as f; used = psutil.Process().memory_info()."
        "vms; resource.setrlimit(resource.RLIMIT_AS, (used + 600 * 2**20,) * 2); "
        f"f.read_photo({str(tmp_path / 'a.png')!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "MemoryLimitError: a.png (12000 × 7000) needs about 1.0 GiB" in done.stderr


@pytest.mark.parametrize("kind", list(fuzz.SUFFIXES))
def test_a_few_mutants_of_each_format(tmp_path, kind):
    if not fuzz.can_be_read(kind):
        pytest.skip("needs pi-heif, an extra")
    figures = fuzz.fuzz(kind, 20 if kind in fuzz.SHARE else 150, 0, tmp_path)
    assert figures.failures == []
    assert figures.outcomes["read"] and figures.outcomes["refused"]
