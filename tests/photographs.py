"""Photograph files for the tests, written by other libraries than the ones under test."""

from __future__ import annotations

import base64
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

CAMERA = {0x010F: "Maker", 0x0110: "Camera 1", 0x0132: "2026:11:22 10:00:00", 0x8298: "(c) Someone"}
EXPOSURE_TIME, ISO, USER_COMMENT = 0x829A, 0x8827, 0x9286
PIXEL_WIDTH, PIXEL_HEIGHT = 0xA002, 0xA003
XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:Description tiff:Orientation="6" xmp:Rating="5"/></x:xmpmeta><?xpacket end="w"?>'
)


def scene(height: int = 48, width: int = 64, channels: int = 3, dtype: Any = np.uint8) -> Any:
    """A smooth dark picture with some noise: (H, W) for one channel, else (H, W, channels)."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[0:height, 0:width]
    planes = [
        0.08 + 0.3 * (rows + (c + 1) * columns) / (height + (c + 1) * width)
        for c in range(channels)
    ]
    values = np.stack(planes, axis=-1) + rng.normal(0, 0.01, (height, width, channels))
    values = np.clip(values, 0, 1)
    if channels in (2, 4):
        values[..., -1] = np.where(columns < width // 3, 0.25, 1.0)
    if channels == 1:
        values = values[..., 0]
    if dtype == np.float32:
        return values.astype(np.float32)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


def disc(height: int = 48, width: int = 64) -> npt.NDArray[np.uint8]:
    """A hard mask, (H, W) uint8 of 0 and 255."""
    rows, columns = np.mgrid[0:height, 0:width]
    radius = min(height, width) / 4
    inside = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 <= radius**2
    return inside.astype(np.uint8) * np.uint8(255)


def profile() -> bytes:
    """A real ICC profile (the one that the colour engine makes for sRGB), always the same."""
    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    made[24:36] = bytes(12)  # the moment of its making
    return bytes(made)


def exif_block(orientation: int = 1, size: tuple[int, int] = (48, 64)) -> bytes:
    """An EXIF block as a camera writes it, behind the "Exif" mark; size is (height, width)."""
    exif = Image.Exif()
    exif.update(CAMERA)
    exif[0x0112] = orientation
    details = exif.get_ifd(0x8769)
    details[EXPOSURE_TIME] = 0.01
    details[ISO] = 3200
    details[USER_COMMENT] = b"ASCII\0\0\0" + b"a long comment that does not fit inline"
    details[PIXEL_WIDTH], details[PIXEL_HEIGHT] = size[1], size[0]
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2] = "N", (48.0, 12.0, 30.0)
    block = exif.tobytes()
    return block if block.startswith(b"Exif\0\0") else b"Exif\0\0" + block


def save(path: Path, pixels: npt.NDArray[Any], **options: Any) -> Path:
    """Writes 8-bit pixels with Pillow; options go to its ``save``."""
    Image.fromarray(pixels).save(path, **options)
    return path


def encoded(pixels: npt.NDArray[Any], kind: str, **options: Any) -> bytes:
    """8-bit pixels as a file's bytes, written by Pillow."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


# 48 × 32 pixels, the left half dark, the upper right bright, stored to be turned by 90°; and the
# same in 10 bits. Made by pillow-heif, whose encoder is under the GPL and so no part of
# our tests.
_TURNED = (
    "eNpjYGCQSSupLMhIzUxmAILczDRDEDs3MzGNgYHxRG5qSSIDBChmpOQUQdkMBZnJJQxowCQzJx9siIsDAxMDI4jF+A"
    "ZCA8FZoBgQMO2Ei5gBsUVmZl4amAeSFQVyUsHKgGoyypINGZAEGUFKXCsywcr5CjJLchmgKhnZMwuKCoDsZ5kFyflA"
    "ugyo15mRGSQ0AaxI7gPDn78/fjAw8DMnAHVIODDyMP7/D1LADFLBDEJyu5gcEoGSWk6MjGgyCxQaWae9erJs5w6ODA"
    "MFoBAziGBQTAIqZ3NhPFh8oBNoiXByfk5RXnJOBVCUl4GtASgkkllckAr1rgMUayTnJIJcZgBxPIMCiP7///8HUCAA"
    "6QfQwBAoyKzIBGlk5uDgAFKcmUX5JUD3MEhmFuTCIoWRgZGtkYmZtaUNyJHKLEpNg0rwJacUJ4OjARRA3LkpiaD4Oq"
    "nBuJ7N4sP0Gz8z9x9WXvA98/pdn/7/3//eO327c8U+W5OnXt7BgV4nnINEbxafkzebt/rJJaeg2KuteX05rDcmrPda"
    "t2oTi///Wy18s6/dDf3x4/YS/Uu7DumHbVPLOJHp/tqeRbk73tMg8atUw4+VzJOvBnua5LZlKPpaTtbmymV4yZQukJ"
    "zUH5J2Q/SQf2bL6s1rZXfrC9d7ZB58maNdX1z7gy8p+jxf7oml//e9dRP8fK79Xu26OyssBP4tv7LD3IlF/n3fsuu/"
    "77xlCdkWl6F5AOgZNkhi8PVl0ALyOBiYGPnBAccGxGqMQqC4A8UPJDx8E7NTixgAbGzDFw=="
)
_DEEP = (
    "eNpjYGCQSSupLMhIzaxgAILczDRDEDs3MzGNgYGxJje1JJEBAhQzUnKKoGyGgszkEgY0oJSZk58MYrg4MDACIRAwLo"
    "DQQNAMxMqZmXlpYB5IVBTISWWC8jLKkg1BTL6CzJJcuJI/mQVFBUD6TmZBcj6QLgUqc2Zk4QAy5+4AKZL7wPDn769f"
    "DAz8zAlAHeIOjDyM//+DFDCDVTADlexickgEymk5MTKiSixQaGS5mbfOK3t2Q1szE0jMCEQwCSQBlbO5MB4sPtAJtE"
    "M4OT+nKC85pwIoysvA1gAUEsksLkiFeswBijWScxJBbjWAul0BRP////8DkGYC0g9ANBALFGRWZII0MnNxcQEpicyC"
    "XFgYA4ONtZGJmbUFyO7OTUkEhXG9BuN6Novo5KfL/vNJ3JgnLpT/9aByrE/86gvCuxVe7Fv+5j77/Pw7Tw0CJ5w2n7"
    "s4J2H2fp0Lr35lbxSSqfXRmOuWvnH93iWa//hUvl6Zdn+9qUzRH89gl/rsy/r6r2JnFRlErEk6uOv977xDTLZR3+e/"
    "+urM7qm5O0FwRtq0WkFzkXu63ksAdgOMzw=="
)


def heic(*, deep: bool = False) -> bytes:
    """A HEIC file, of 8 or 10 bits."""
    return zlib.decompress(base64.b64decode(_DEEP if deep else _TURNED))
