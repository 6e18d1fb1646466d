"""What the compiled form and the reference share, and the compiled form."""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from maskupe.denoise import noise as model
from maskupe.denoise.noise import Noise
from maskupe.native import DEPTHS, load
from maskupe.parallel import STRIP_PIXELS, parallel_rows, rows_of

Float = npt.NDArray[np.float32]

BLOCK, STEP = 8, 4
#: The grids of blocks of all three sizes repeat after so many pixels.
PERIOD = 16
# Rows of a strip of corrections: those of a tile of denoise.c.
_TILE_ROWS = 64


class _Cleaning(ctypes.Structure):
    """``Cleaning`` of ``denoise.c``."""

    _fields_: ClassVar = [
        *(
            (name, ctypes.c_void_p)
            for name in ("image", "coverage", "coarse", "near", "correction")
        ),
        *((name, ctypes.c_void_p) for name in ("power", "amount")),
        *((name, ctypes.c_int64) for name in ("stride", "coverage_stride")),
        *((name, ctypes.c_int32) for name in ("width", "height", "channels", "depth")),
        *((name, ctypes.c_int32) for name in ("top", "left", "coarse_rows", "coarse_columns")),
        *((name, ctypes.c_float) for name in ("help", "help_from", "help_most")),
        *((name, ctypes.c_float) for name in ("neutral", "black", "grain")),
        *((name, ctypes.c_float) for name in ("grain_more", "flat", "texture")),
    ]


class Filter(ABC):
    """What both forms share: the arrays, and the constants of a region.

    Blocks lie where they lie in the layer, whatever was cut out of it. So there are up to 15 rows
    and columns before the region's, ``top`` and ``left``, which repeat its first; ``height`` and
    ``width`` include them.
    """

    def __init__(
        self,
        image: npt.NDArray[Any],
        coverage: npt.NDArray[np.uint16],
        amount: Float,
        origin: tuple[int, int],
    ) -> None:
        self.top, self.left = (place % PERIOD for place in origin)
        self.height, self.width = image.shape[0] + self.top, image.shape[1] + self.left
        cells = -(-self.height // 4), -(-self.width // 4)
        if coverage.strides[1] != coverage.itemsize:
            coverage = np.ascontiguousarray(coverage)
        self.cells = cells
        self.image, self.coverage, self.amount = image, coverage, amount
        self.coarse = np.empty((3, *cells), np.float32)
        self.near = np.empty(cells, np.float32)
        self.correction = np.empty((2, *cells), np.float32)
        self.power = np.empty((len(model.SPECTRA), 2, 64), np.float32)
        self.neutral = self.black = 0.0

    def tune(self, noise: Noise) -> None:
        """Set the strength."""
        for level, spectra in enumerate(model.SPECTRA):
            for plane, (spectrum, share) in enumerate(
                zip(spectra, (noise.luma, noise.chroma), strict=True)
            ):
                sums = np.add.outer(np.arange(BLOCK), np.arange(BLOCK))
                deviation = np.interp(sums, model.FREQUENCIES, spectrum) * max(share, 1e-3)
                # Means of 2×2 pixels have half of the deviation.
                least = noise.white[plane] * 0.5**level if noise.white else 0.0
                deviation = np.maximum(deviation, least) * model.THRESHOLD
                self.power[level, plane] = (1.0 / deviation**2).ravel()
        neutral, black = model.NEUTRAL * noise.chroma, model.BLACK * noise.luma
        if self.image.dtype == np.uint8:
            # Noise dithers: without it, nothing of what lies below one code is left.
            lost = max(0.0, 1.0 - noise.luma / model.DITHERED)
            neutral, black = model.NEUTRAL * (1.0 + lost), model.BLACK + lost
        self.neutral, self.black = neutral**2, black**4
        # What is bright nearby must not brighten the dark.
        luma = np.minimum(self.coarse[0], np.float32(model.NEAR_MOST))
        limit = np.float32(1.25) * luma + np.float32(0.25)
        for _ in range(2):
            luma = cv2.blur(
                luma, (model.NEAR_CELLS, model.NEAR_CELLS), borderType=cv2.BORDER_REPLICATE
            )
        np.minimum(luma, limit, out=luma)
        cv2.blur(luma, (3, 3), self.near, borderType=cv2.BORDER_REPLICATE)

    def forget(self) -> None:
        """Free what only the preparation needs."""
        self.coarse = self.coarse[:, :0].copy()

    @abstractmethod
    def coarsen(self, threads: int) -> None:
        """Fill ``coarse``."""

    @abstractmethod
    def correct(self, threads: int) -> None:
        """Fill ``correction``."""

    @abstractmethod
    def __call__(self, first: int, last: int) -> Float | None:
        """See :class:`maskupe.denoise.source.CleanRows`."""


class CompiledFilter(Filter):
    """The compiled form."""

    def __init__(
        self,
        image: npt.NDArray[Any],
        coverage: npt.NDArray[np.uint16],
        amount: Float,
        origin: tuple[int, int],
    ) -> None:
        if image.strides[1:] != (image.itemsize * image.shape[2], image.itemsize):
            image = np.ascontiguousarray(image)
        super().__init__(image, coverage, amount, origin)
        library = load()
        assert library is not None
        self._library = library

    def _job(self) -> _Cleaning:
        return _Cleaning(
            image=self.image.ctypes.data,
            coverage=self.coverage.ctypes.data,
            coarse=self.coarse.ctypes.data,
            near=self.near.ctypes.data,
            correction=self.correction.ctypes.data,
            power=self.power.ctypes.data,
            amount=self.amount.ctypes.data,
            stride=self.image.strides[0],
            coverage_stride=self.coverage.strides[0],
            width=self.width,
            height=self.height,
            channels=self.image.shape[2],
            depth=DEPTHS[self.image.dtype],
            top=self.top,
            left=self.left,
            coarse_rows=self.cells[0],
            coarse_columns=self.cells[1],
            help=model.HELP,
            help_from=model.HELP_FROM / model.THRESHOLD**2,
            help_most=model.HELP_MOST / model.THRESHOLD**2,
            neutral=self.neutral,
            black=self.black,
            grain=model.GRAIN[0],
            grain_more=model.GRAIN[1] - model.GRAIN[0],
            flat=model.TEXTURE[0],
            texture=1.0 / (model.TEXTURE[1] - model.TEXTURE[0]),
        )

    def _scratch(self) -> npt.NDArray[np.uint8]:
        return np.empty(self._library.maskupe_cleaning_scratch(), np.uint8)

    def coarsen(self, threads: int) -> None:
        """Fill ``coarse``."""
        job = self._job()

        def strip(first: int, last: int) -> None:
            scratch = self._scratch()
            address = ctypes.addressof(job)
            self._library.maskupe_clean_coarse(address, first, last, scratch.ctypes.data)

        rows = rows_of(STRIP_PIXELS // 8, self.coarse.shape[2])
        parallel_rows(strip, self.coarse.shape[1], rows, threads, None)

    def correct(self, threads: int) -> None:
        """Fill ``correction``."""
        job = self._job()

        def strip(first: int, last: int) -> None:
            scratch = self._scratch()
            address = ctypes.addressof(job)
            self._library.maskupe_clean_correct(address, first, last, scratch.ctypes.data)

        parallel_rows(strip, self.coarse.shape[1], _TILE_ROWS, threads, None)

    def __call__(self, first: int, last: int) -> Float | None:
        """See :class:`maskupe.denoise.source.CleanRows`."""
        out = np.empty((last - first, self.image.shape[1], 4), np.float32)
        job, scratch = self._job(), self._scratch()
        changed = self._library.maskupe_clean(
            ctypes.addressof(job),
            first + self.top,
            last + self.top,
            out.ctypes.data,
            scratch.ctypes.data,
        )
        return out if changed else None
