"""Decoding a HEIC picture in a process of its own, which a damaged one may crash.

libheif and its Python bindings end the process at some damaged files. :func:`decode` starts
``python -m maskupe.heic_decoder``, which takes a file on stdin, and brings back what it found. This
is no part of :mod:`maskupe.io`, whose import would take longer than decoding.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from maskupe import child_process

#: Seconds after which decoding is given up; 100 megapixels take a few.
LONGEST = 120.0
_LONGEST_LINE = 64 << 20


@dataclass(frozen=True)
class Decoded:
    """A picture as it is displayed.

    Attributes:
        width: in pixels.
        height: in pixels.
        channels: 1, or 3 or 4 for RGB without or with transparency.
        bits: of a value; more than 8 are moved up to the highest of 16.
        pixels: rows of values without gaps, one byte each, or two in the machine's order.
        exif: the block, empty if there is none.
        xmp: the packet, empty if there is none.
        icc: the profile, empty if there is none.
        codes: primaries and transfer curve as in PNG's cICP chunk, ``None`` if there are none.
        has_more: whether there are further pictures: a gain map, a depth map.
    """

    width: int
    height: int
    channels: int
    bits: int
    pixels: bytearray
    exif: bytes
    xmp: bytes
    icc: bytes
    codes: tuple[int, int] | None
    has_more: bool


def decode(data: bytes, check: Callable[[int, int], None]) -> Decoded:
    """Decode a HEIC file.

    Args:
        data: the whole file.
        check: called with width and height before anything is decoded; what it raises comes out.

    Raises:
        ValueError: if it is damaged.
    """
    with child_process.start(__name__) as process:
        alarm = threading.Timer(LONGEST, process.kill)
        alarm.start()
        try:
            assert process.stdin is not None and process.stdout is not None
            _send(process.stdin, len(data).to_bytes(8, "little"), data)
            about = _line(process.stdout)
            check(int(about["width"]), int(about["height"]))
            _send(process.stdin, b"\n")
            about |= _line(process.stdout)
            return _received(process.stdout, about)
        except (OSError, KeyError, TypeError) as error:
            raise ValueError("its decoder cannot read it") from error
        finally:
            alarm.cancel()
            process.kill()


def _received(pipe: IO[bytes], about: dict[str, Any]) -> Decoded:
    width, height, channels = (int(about[name]) for name in ("width", "height", "channels"))
    pixels = bytearray(width * height * channels * (1 if about["bits"] <= 8 else 2))
    view = memoryview(pixels)
    while view:
        count = pipe.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise ValueError("its decoder cannot read it")
        view = view[count:]
    exif, xmp, icc = (base64.b64decode(about[name]) for name in ("exif", "xmp", "icc"))
    codes = about["codes"]
    return Decoded(
        width,
        height,
        channels,
        int(about["bits"]),
        pixels,
        exif,
        xmp,
        icc,
        None if codes is None else (int(codes[0]), int(codes[1])),
        bool(about["has_more"]),
    )


def _send(pipe: IO[bytes], *pieces: bytes) -> None:
    for piece in pieces:
        pipe.write(piece)
    pipe.flush()


def _line(pipe: IO[bytes]) -> dict[str, Any]:
    """Read a line of JSON; ValueError if it tells of an error, or if there is none."""
    line = pipe.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise ValueError("its decoder cannot read it")
    found: dict[str, Any] = json.loads(line)
    if "error" in found:
        raise ValueError(found["error"])
    return found


def main() -> None:
    """Decode the file that comes on stdin: its size first, then the rest when that is asked for."""
    import io

    import pi_heif

    size = int.from_bytes(sys.stdin.buffer.read(8), "little")
    data = sys.stdin.buffer.read(size)
    try:
        file = pi_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
        width, height = file.size
        _tell({"width": width, "height": height})
        if not sys.stdin.buffer.readline():
            return
        pixels = memoryview(file.data)
        # Decoding may find another size than the header's.
        if file.size != (width, height):
            raise ValueError("its size is not that of its header")
        info = file.info
        bits = int(info["bit_depth"])
        channels = {"L": 1, "RGB": 3, "RGBA": 4, "RGBa": 4}[file.mode.partition(";")[0]]
        row = width * channels * (1 if bits <= 8 else 2)
        nclx = info.get("nclx_profile")
        about = {
            "channels": channels,
            "bits": bits,
            "codes": nclx and [nclx["color_primaries"], nclx["transfer_characteristics"]],
            "has_more": bool(info.get("aux") or info.get("depth_images")),
        }
        for name, key in (("exif", "exif"), ("xmp", "xmp"), ("icc", "icc_profile")):
            about[name] = base64.b64encode(info.get(key) or b"").decode()
    # A damaged file can be wrong in any way.
    except Exception as error:
        _tell({"error": str(error)})
        return
    _tell(about)
    for start in range(0, height * file.stride, file.stride):
        sys.stdout.buffer.write(pixels[start : start + row])
    sys.stdout.buffer.flush()


def _tell(about: dict[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(about).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
