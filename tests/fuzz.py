"""Damaged photograph files by the thousand, against limits of time and memory: `make fuzz`.

Each mutant is read, and written again where it can be, by a child process that may take no more
than 2 GiB and 5 s for it. Whatever is no picture must be refused in a sentence: a traceback, a
crash, more memory or more time is a failure, and its file is kept. The same seed gives the same
files.

    python -m tests.fuzz [--mutants 6000] [--kinds PNG JPEG …] [--seed 0]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import select
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SECONDS = 5.0
MEMORY = 2 * 2**30
MUTANTS = 6000
# Each HEIC is decoded by a process of its own, which takes a quarter of a second to start.
SHARE = {"HEIC": 20}
SUFFIXES = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "TIFF": ".tif",
    "WebP": ".webp",
    "AVIF": ".avif",
    "JPEG XL": ".jxl",
    "HEIC": ".heic",
}


# ---------------------------------------------------------------------------------------- child


def serve() -> None:
    """Try the files whose paths come in, one a line; answer each with a line of JSON."""
    import resource
    import warnings

    from maskupe.errors import MaskUPEError
    from maskupe.io import check_output, read_photo

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        start, said = time.process_time(), ""
        try:
            photo = read_photo(path)
            outcome = "read"
            # HEIC is read only.
            suffix = ".tif" if photo.format == "HEIC" else SUFFIXES[photo.format]
            target = path.with_name(f"out{suffix}")
            check_output(target, photo).write(photo.pixels)
        except MaskUPEError as error:
            outcome, said = "refused", str(error)
        except BaseException as error:
            outcome, said = "failed", f"{type(error).__name__}: {error}"
        seconds, peak = time.process_time() - start, peak_memory()
        answer = {"outcome": outcome, "said": said, "seconds": seconds, "peak": peak}
        print(json.dumps(answer), flush=True)


def peak_memory() -> int:
    """The most memory that this process had, in bytes; unlike getrusage's not its parent's."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024


class Child:
    """A process that tries files; started anew after it was lost."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def try_file(self, path: Path, seconds: float = SECONDS) -> dict[str, Any]:
        """Return what came of a file: ``outcome``, ``said``, ``seconds`` and ``peak`` (bytes)."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz", "--serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=Path(__file__).parent.parent,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        # The first answer takes the imports as well. Inside, the time of the processor is measured,
        # which other programs do not lengthen.
        ready, _, _ = select.select([process.stdout], [], [], 20 * seconds + 20)
        line = process.stdout.readline() if ready else ""
        if line:
            found: dict[str, Any] = json.loads(line)
            if found["seconds"] > seconds:
                found["outcome"] = "slow"
            return found
        self.close()
        status = process.returncode
        outcome, said = ("crash", f"exit status {status}") if ready else ("slow", "no answer")
        return {"outcome": outcome, "said": said, "seconds": seconds, "peak": 0}

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


# -------------------------------------------------------------------------------------- mutants


def can_be_read(kind: str) -> bool:
    """Whether what reads a format is installed, which for HEIC is an extra."""
    return kind != "HEIC" or find_spec("pi_heif") is not None


def seeds(kind: str) -> list[bytes]:
    """Whole files of a format with all that it may hold."""
    return _SEEDS[kind]()


def _jpegs() -> list[bytes]:
    from tests import evil
    from tests import photographs as ph

    options: dict[str, Any] = {"exif": ph.exif_block(6), "icc_profile": ph.profile(), "xmp": ph.XMP}
    plain = ph.encoded(ph.scene(32, 48), "JPEG", **options)
    packed = evil.segment(0xED, b"Photoshop 3.0\0" + evil.resource(0x0404, b"\x1c\x02\x05\0\1a"))
    return [
        evil.with_segments(plain, packed),
        ph.encoded(ph.scene(32, 48), "JPEG", progressive=True),
        ph.encoded(ph.scene(32, 48, 1), "JPEG", restart_marker_blocks=2),
    ]


def _pngs() -> list[bytes]:
    import struct

    import imagecodecs

    from tests import evil
    from tests import photographs as ph

    raw = evil.raw_profile("exif", ph.exif_block(3)[6:])
    gamma = evil.chunk(b"gAMA", struct.pack(">I", 100_000))
    options: dict[str, Any] = {"exif": ph.exif_block(6), "icc_profile": ph.profile()}
    return [
        ph.encoded(ph.scene(32, 48), "PNG", **options),
        evil.with_chunks(ph.encoded(ph.scene(32, 48, 4), "PNG"), raw, gamma),
        imagecodecs.png_encode(ph.scene(32, 48, 3, "uint16")),
    ]


def _tiffs() -> list[bytes]:
    import numpy as np
    import tifffile

    from tests import photographs as ph

    def made(pixels: Any, **options: Any) -> bytes:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, **options)
        return buffer.getvalue()

    rgb = {"photometric": "rgb", "rowsperstrip": 8}
    return [
        ph.encoded(ph.scene(32, 48), "TIFF", exif=ph.exif_block(6), icc_profile=ph.profile()),
        made(ph.scene(32, 48, dtype=np.uint16), compression="zlib", predictor=True, **rgb),
        made(ph.scene(32, 48, dtype=np.float32), compression="lzw", **rgb),
        made(ph.scene(32, 48), photometric="ycbcr", compression="jpeg", tile=(16, 16)),
        made(ph.scene(32, 48, 4), photometric="rgb", tile=(16, 16), extrasamples=["assocalpha"]),
        made(ph.scene(32, 48, 1), compression="packbits", bigtiff=True),
    ]


def _webps() -> list[bytes]:
    from tests import photographs as ph

    options: dict[str, Any] = {"exif": ph.exif_block(6), "icc_profile": ph.profile(), "xmp": ph.XMP}
    return [
        ph.encoded(ph.scene(32, 48, 4), "WEBP", lossless=True, **options),
        ph.encoded(ph.scene(32, 48), "WEBP", quality=80),
    ]


def _avifs() -> list[bytes]:
    import imagecodecs

    from tests import photographs as ph

    options: dict[str, Any] = {"exif": ph.exif_block(6), "icc_profile": ph.profile(), "xmp": ph.XMP}
    return [
        ph.encoded(ph.scene(32, 48, 4), "AVIF", quality=80, **options),
        imagecodecs.avif_encode(ph.scene(32, 48, 3, "uint16") >> 6, bitspersample=10),
    ]


def _jxls() -> list[bytes]:
    import imagecodecs

    from tests import photographs as ph

    return [
        imagecodecs.jpegxl_encode(ph.scene(32, 48, 4), lossless=True, usecontainer=True),
        imagecodecs.jpegxl_encode(ph.scene(32, 48), distance=1.0),
        imagecodecs.jpegxl_encode(ph.scene(32, 48, 3, "uint16"), lossless=True),
        imagecodecs.jpegxl_encode_jpeg(_jpegs()[0]),
    ]


def _heics() -> list[bytes]:
    from tests import photographs as ph

    return [ph.heic(), ph.heic(deep=True)]


_SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "PNG": _pngs,
    "JPEG": _jpegs,
    "TIFF": _tiffs,
    "WebP": _webps,
    "AVIF": _avifs,
    "JPEG XL": _jxls,
    "HEIC": _heics,
}
_NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 2**31 - 1, 2**32 - 1]


def mutate(random_: random.Random, content: bytes) -> bytes:
    """Return the file with up to four things wrong: bits, numbers, pieces lost or doubled.

    One in ten stays whole, so that it is seen that whole files are read.
    """
    made = bytearray(content)
    for _ in range(random_.choice([0, 1, 1, 1, 2, 2, 3, 3, 4, 4])):
        size = len(made)
        # Headers and directories lie at the ends; hit these more often than the pixels.
        edge = min(size - 1, 400)
        place = random_.choice(
            [
                random_.randint(2, edge),
                random_.randint(size - edge, size - 1),
                random_.randrange(size),
            ]
        )
        how = random_.randrange(6)
        if how == 0:
            made[place] ^= 1 << random_.randrange(8)
        elif how == 1:
            made[place] = random_.randrange(256)
        elif how == 2:
            width = random_.choice([2, 4])
            order = random_.choice(["little", "big"])
            number = random_.choice(_NUMBERS) % 256**width
            made[place : place + width] = number.to_bytes(width, order)  # type: ignore[arg-type]
        elif how == 3:
            del made[place : place + random_.randint(1, 64)]
        elif how == 4:
            piece = made[place : place + random_.randint(1, 64)]
            where = random_.randrange(len(made))
            made[where:where] = piece
        else:
            del made[max(16, place) :]
        if len(made) < 20:
            return content[:20]
    # A PNG's check sums keep most mutants from being looked at: three quarters get new ones.
    is_png = content.startswith(b"\x89PNG")
    return summed(made) if is_png and random_.random() < 0.75 else bytes(made)


def summed(png: bytearray) -> bytes:
    """Return a PNG whose chunks, as far as they can be followed, have the right check sums."""
    position = 8
    while position + 12 <= len(png):
        length = int.from_bytes(png[position : position + 4], "big")
        end = position + 8 + length
        if end + 4 > len(png):
            break
        png[end : end + 4] = zlib.crc32(png[position + 4 : end]).to_bytes(4, "big")
        position = end + 4
    return bytes(png)


@dataclass
class Figures:
    """What came of a format's mutants."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    peak: int = 0
    failures: list[str] = field(default_factory=list)


def fuzz(kind: str, count: int, seed: int, folder: Path) -> Figures:
    """Try mutants of a format.

    Args:
        kind: a format of ``SUFFIXES``.
        count: how many.
        seed: which.
        folder: where files are written; those that failed stay.
    """
    figures = Figures()
    child = Child()
    originals = seeds(kind)
    try:
        for number in range(count):
            random_ = random.Random(f"{kind} {seed} {number}")
            content = mutate(random_, random_.choice(originals))
            path = folder / f"mutant{SUFFIXES[kind]}"
            path.write_bytes(content)
            found = child.try_file(path)
            figures.outcomes[found["outcome"]] += 1
            figures.slowest = max(figures.slowest, found["seconds"])
            figures.peak = max(figures.peak, found["peak"])
            if found["outcome"] not in ("read", "refused"):
                kept = path.rename(folder / f"failed-{seed}-{number}{path.suffix}")
                figures.failures.append(f"{kept}: {found['outcome']}, {found['said']}")
    finally:
        child.close()
    return figures


def lines(found: dict[str, Figures]) -> Iterator[str]:
    """The figures as a table for the documents."""
    yield "| format | mutants | read | refused | failed | slowest | peak memory |"
    yield "|---|---|---|---|---|---|---|"
    for kind, figures in found.items():
        total = figures.outcomes.total()
        read, refused = figures.outcomes["read"], figures.outcomes["refused"]
        yield (
            f"| {kind} | {total} | {read} | {refused} | {total - read - refused} "
            f"| {figures.slowest:.2f} s | {figures.peak / 2**20:.0f} MiB |"
        )


def main() -> int:
    """Run the command; the exit status is 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--mutants", type=int, default=MUTANTS, help="of each format; of HEIC a twentieth"
    )
    parser.add_argument("--kinds", nargs="+", choices=list(_SEEDS), default=list(_SEEDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return 0
    folder = Path(tempfile.mkdtemp(prefix="maskupe-fuzz-"))
    found = {}
    for kind in options.kinds:
        if can_be_read(kind):
            count = options.mutants // SHARE.get(kind, 1)
            found[kind] = fuzz(kind, count, options.seed, folder)
        else:
            print("HEIC is left out: nothing that reads it is installed (maskupe[heic]).")
    print("\n".join(lines(found)))
    failures = [failure for figures in found.values() for failure in figures.failures]
    print("\n".join(failures), file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
