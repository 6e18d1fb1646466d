"""Reading pictures: always RGB, with errors that name the file, and a cache of small copies."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from maskupe.errors import InputError
from maskupe.memory import total_bytes
from maskupe.pixel_layout import LUMA

U8: TypeAlias = npt.NDArray[np.uint8]
F32: TypeAlias = npt.NDArray[np.float32]
Bool: TypeAlias = npt.NDArray[np.bool_]

#: What a folder of pictures may hold; other files in it are ignored.
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp")

# A cache on the disk leaves this much of it free, for checkpoints and for others.
_SPARED = 4 << 30


def read_rgb(path: Path) -> U8:
    """Return a picture as uint8 (H, W, 3), RGB.

    16-bit files are rounded to 8 bits, alpha is dropped.

    Raises:
        InputError: if the file is missing or no picture.
    """
    raw = _read(path, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if raw.dtype == np.uint16:
        raw = np.rint(raw.astype(np.float32) * (255.0 / 65535.0)).astype(np.uint8)
    elif raw.dtype != np.uint8:
        raise InputError(
            f"{path} holds {raw.dtype} pixels.", "Convert it to 8 or 16 bits per channel."
        )
    return np.ascontiguousarray(raw[..., ::-1])


def read_gray(path: Path) -> U8:
    """Return a mask file as uint8 (H, W)."""
    return np.asarray(_read(path, cv2.IMREAD_GRAYSCALE), np.uint8)


def _read(path: Path, flags: int) -> npt.NDArray[Any]:
    if not path.is_file():
        raise InputError(f"There is no file {path}.", "Check the path and the data folder.")
    raw = cv2.imread(str(path), flags)
    if raw is None:
        raise InputError(
            f"{path} cannot be read as a picture.", "Replace the damaged file or remove it."
        )
    return np.asarray(raw)


def write_rgb(path: Path, image: U8, quality: int = 95) -> None:
    """Write uint8 (H, W, 3) RGB; the suffix decides the format, ``quality`` is a JPEG's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = np.ascontiguousarray(image[..., ::-1])
    jpeg = path.suffix.lower() in (".jpg", ".jpeg")
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if jpeg else []
    if not cv2.imwrite(str(path), bgr, options):
        raise InputError(f"{path} could not be written.", "Check the folder and the free space.")


def list_images(folder: Path) -> list[Path]:
    """Return the pictures of a folder, sorted by name.

    Raises:
        InputError: if the folder is missing or has no picture.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.", "Check the path and the data folder.")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not found:
        raise InputError(
            f"The folder {folder} has no pictures.", f"Put {', '.join(SUFFIXES)} files into it."
        )
    return found


def fit_long_edge(image: U8, edge: int) -> U8:
    """Return the picture scaled down, by area average, to a long edge of ``edge`` pixels.

    Never up.
    """
    height, width = image.shape[:2]
    scale = edge / max(height, width)
    if scale >= 1.0:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def luma(image: npt.NDArray[Any]) -> F32:
    """Rec. 601 luma 0.299 R + 0.587 G + 0.114 B as float32 (H, W), in the image's own units."""
    return np.asarray(cv2.transform(image.astype(np.float32), LUMA[None]), np.float32).reshape(
        image.shape[:2]
    )


class ImageCache:
    """Decoded pictures, scaled down once, kept in memory up to a limit; the oldest go first.

    Args:
        long_edge: pixels of the long edge, at most.
        limit_bytes: how much to keep in memory.
        folder: where several processes share what they have decoded, so that each picture is
            decoded once, however many processes there are; ``None`` for one process.
    """

    def __init__(
        self, long_edge: int, limit_bytes: int = 1 << 30, folder: Path | None = None
    ) -> None:
        self.long_edge = long_edge
        self._folder = folder
        self._limit = limit_bytes
        self._used = 0
        self._images: OrderedDict[Path, U8] = OrderedDict()

    def get(self, path: Path) -> U8:
        """Return the picture as uint8 RGB with at most ``long_edge`` pixels on its long edge."""
        image = self._images.get(path)
        if image is not None:
            self._images.move_to_end(path)
            return image
        image = self._shared(path)
        image.setflags(write=False)
        self._images[path] = image
        self._used += image.nbytes
        while self._used > self._limit and len(self._images) > 1:
            self._used -= self._images.popitem(last=False)[1].nbytes
        return image

    def _shared(self, path: Path) -> U8:
        """Return the picture scaled down, from the folder if another process was here before."""
        stored = self._place(path)
        if stored is not None:
            with suppress(OSError, ValueError):
                return np.asarray(np.load(stored, allow_pickle=False), np.uint8)
        image = fit_long_edge(read_rgb(path), self.long_edge)
        if stored is not None:
            # Without it a training is slower, not worse.
            with suppress(OSError):
                stored.parent.mkdir(parents=True, exist_ok=True)
                if shutil.disk_usage(stored.parent).free > _SPARED:
                    _store(stored, image)
        return image

    def _place(self, path: Path) -> Path | None:
        if self._folder is None or not path.is_file():
            return None
        about = path.stat()
        key = f"{path.resolve()} {about.st_mtime_ns} {about.st_size} {self.long_edge}"
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"


def _store(path: Path, image: U8) -> None:
    """Write an array aside and renames it, so that no other process meets a part of it."""
    aside = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with aside.open("wb") as stream:
            np.save(stream, image)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def memory_for(processes: int) -> int:
    """Return bytes that the cache of each of so many processes may have, on one machine.

    1 GiB, and a quarter of the machine's memory for all of them together.
    """
    return min(1 << 30, total_bytes() // 4 // processes)
