"""Remove noise from dark pixels before they are brightened.

Several stops of light make noise and JPEG blocks several stops brighter. So the renderer is given a
second image: the region without noise where the gain at a pixel's tone will show it, and the region
itself elsewhere.

In display-encoded codes of 255 the noise of a dark photograph is nearly the same at all tones, so
one spectrum describes it (:data:`SPECTRA`, calibrated by ``maskupe-train evaluate-shadows
--calibrate``). The image is taken apart into Y, Cr and Cb at full, half and quarter size, the coarse
sizes for chroma only. From coarse to fine, what was changed at the size below is added, and
overlapping blocks of 8×8 are transformed by a DCT, shrunk and added under a window of squared sines:

    c ← c · max(0, 1 - 1 / e),    e = ½ (c / kσ)² + ½ mean over the 3×3 neighbours in frequency,

where e of Cr and Cb is shared, and grows with e of Y: chroma has edges where luma has them. The mean
of a block is kept; a coarser size takes care of it.

Where the light falls below the noise there is no hue: with m, the luma of the neighbourhood, chroma
is multiplied by m² / (m² + n²), and the effect by m⁴ / (m⁴ + b⁴), so that black stays black.

The compiled form and the numpy form give the same result but for rounding.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from maskupe.errors import InputError
from maskupe.layout import LUMA, colour_channels, scale_of
from maskupe.native import DEPTHS, load
from maskupe.strips import machine_threads, rows_of, run_strips

Float = npt.NDArray[np.float32]
#: How much noise to remove: as much as is estimated, or a multiple of that, 0…2.
Denoise: TypeAlias = float | Literal["auto"]

#: Standard deviation of the noise in an orthonormal 8×8 DCT, in codes of 255, at full, half and
#: quarter size: of Y and of Cr and Cb, by the sum of the two frequencies of :data:`FREQUENCIES`.
SPECTRA = (
    (
        (3.87, 3.31, 3.00, 2.66, 2.33, 2.04, 1.81, 1.51, 1.25, 0.76),
        (3.64, 2.50, 1.64, 1.00, 0.65, 0.47, 0.38, 0.30, 0.23, 0.16),
    ),
    (
        (2.32, 1.85, 1.77, 1.66, 1.56, 1.45, 1.34, 1.18, 1.06, 0.88),
        (2.20, 1.80, 1.58, 1.30, 1.00, 0.75, 0.57, 0.37, 0.27, 0.20),
    ),
    (
        (1.59, 1.00, 0.95, 0.92, 0.90, 0.87, 0.83, 0.79, 0.74, 0.66),
        (1.40, 1.05, 0.97, 0.92, 0.85, 0.78, 0.70, 0.56, 0.42, 0.25),
    ),
)
FREQUENCIES = (0, 1, 2, 3, 4, 5, 6, 8, 10, 14)
#: Coefficients below so many standard deviations are noise.
THRESHOLD = 1.5
#: How much of the energy in luma counts as energy in chroma, from what energy on, and how much at
#: most, in standard deviations squared.
HELP, HELP_FROM, HELP_MOST = 0.3, 2.0, 20.0
#: Lumas in codes at which half of the hue and half of the effect are left, where the noise is as
#: strong as :data:`SPECTRA` say.
NEUTRAL, BLACK = 1.8, 0.8
#: The neighbourhood's luma is the mean of values up to so many codes, twice over a square of so many
#: cells of 4×4 pixels, but not far above the pixel's own cell.
NEAR_MOST, NEAR_CELLS = 24.0, 5
#: How much of what is removed from luma stays: skin and walls without any grain look like plastic.
GRAIN = 0.1
#: Gains below the first show no noise, those above the second show all of it.
GAINS = (1.5, 3.0)
#: Denoising by this much more than what is estimated is the most that can be asked for.
MOST = 2.0

# From r, g, b to Y, Cr, Cb, and back: JPEG's.
_TO = np.array(
    [LUMA, 0.713267 * (np.array([1, 0, 0]) - LUMA), 0.564334 * (np.array([0, 0, 1]) - LUMA)],
    np.float32,
)
_BACK = np.array(
    [[1.0, 1.402, 0.0], [1.0, -0.714136, -0.344136], [1.0, 0.0, 1.772]],
    np.float32,
)
_LEVELS = len(SPECTRA)
_BLOCK, _STEP = 8, 4
# Tiles of the compiled form begin at multiples of this.
_ALIGNED = 8
# Pixels of one strip of the numpy form: sixteen times as many floats are in memory at a time.
_STRIP_PIXELS = 1 << 16
_TONES = 256


class CleanRows(Protocol):
    """What a renderer takes denoised rows from."""

    def __call__(self, first: int, last: int) -> Float | None:
        """Return the rows first…last (exclusive), float32 (n, w, 4) in 0…1.

        These are r, g, b, and the share of the effect that the pixel is to take.
        None if nothing in them is to change.
        """


class _Cleaning(ctypes.Structure):
    """``Cleaning`` of ``denoise.c``."""

    _fields_: ClassVar = [
        *((name, ctypes.c_void_p) for name in ("image", "coverage", "coarse", "near", "correction")),
        *((name, ctypes.c_void_p) for name in ("power", "amount")),
        *((name, ctypes.c_int64) for name in ("stride", "coverage_stride")),
        *((name, ctypes.c_int32) for name in ("width", "height", "channels", "depth")),
        *((name, ctypes.c_int32) for name in ("coarse_rows", "coarse_columns")),
        *((name, ctypes.c_float) for name in ("help", "help_from", "help_most")),
        *((name, ctypes.c_float) for name in ("neutral", "black", "grain")),
    ]


@dataclass(frozen=True)
class Noise:
    """How strong the noise is, in multiples of :data:`SPECTRA`; 0 is none.

    Attributes:
        luma: of Y.
        chroma: of Cr and Cb.
    """

    luma: float
    chroma: float


def denoise_scale(denoise: Denoise) -> float:
    """Return what a strength of denoising means as a number: ``"auto"`` is 1.

    Raises:
        InputError: if it is neither ``"auto"`` nor 0…2.
    """
    if denoise == "auto":
        return 1.0
    if isinstance(denoise, str) or not 0.0 <= denoise <= MOST:
        raise InputError(
            f"Noise cannot be reduced by {denoise}.", f'Use "auto", or a number 0 to {MOST:.0f}.'
        )
    return float(denoise)


def amounts(curve: Float, effect: float = 1.0) -> Float:
    """Return how much of the noise will be seen by tone.

    Args:
        curve: float32 (256,), the luma 0…1 that luma i / 255 gets.
        effect: the strength with which the effect is applied, an exponent of its gain.

    Returns:
        float32 (256,): 0 where the gain hides noise, up to 1.
    """
    luma = np.arange(_TONES, dtype=np.float32) / np.float32(_TONES - 1)
    reach = 4
    padded = np.pad(curve, reach, mode="edge")
    span = np.minimum(np.arange(_TONES) + reach, _TONES - 1) - np.maximum(
        np.arange(_TONES) - reach, 0
    )
    slope = (padded[2 * reach :] - padded[: -2 * reach]) * (_TONES - 1) / span
    ratio = curve / np.maximum(luma, np.float32(reach / (_TONES - 1)))
    gain = np.maximum(np.maximum(slope, ratio), 0.0) ** effect
    share = np.clip((gain - GAINS[0]) / (GAINS[1] - GAINS[0]), 0.0, 1.0)
    return (share * share * (3.0 - 2.0 * share)).astype(np.float32)


def estimate(image: npt.NDArray[Any], coarse: Float, dark: npt.NDArray[np.bool_]) -> Noise:
    """Estimate the noise of a region from the flattest of its dark cells.

    JPEG leaves nothing of the finest scale, so means of 4×4 pixels are looked at. Eight bits are
    noisy by themselves, whereas texture in 16 bits or floats can be told from noise at full size.

    Args:
        image: (h, w, c), the region.
        coarse: float32 (3, ch, cw), Y, Cr and Cb of 4×4 pixels.
        dark: bool (ch, cw), the cells that count.
    """
    luma, chroma = _flattest(coarse, dark)
    strong = min(luma / _COARSE_REFERENCE[0], MOST_ESTIMATED)
    if image.dtype != np.uint8:
        strong = min(strong, _fine_noise(image, dark))
    if image.dtype == np.uint8:
        strong = max(strong, QUANTISATION)
    elif strong < LEAST_ESTIMATED:
        return Noise(0.0, 0.0)
    coloured = min(chroma / _COARSE_REFERENCE[1], MOST_ESTIMATED)
    return Noise(strong, 0.5 * (strong + coloured))


#: Estimates are kept below the first; below the second 16 bits and floats have no noise.
MOST_ESTIMATED, LEAST_ESTIMATED = 1.0, 0.25
#: Eight bits alone are so noisy.
QUANTISATION = 0.35
#: From this noise on, eight bits are as good as more.
DITHERED = 0.7
# What `_flattest` finds where the noise is as SPECTRA say: at a quarter of the size, and in pixels
# before JPEG.
_COARSE_REFERENCE = (0.69, 0.29)
_FINE_REFERENCE = (1.1, 0.8)
# The share of cells that are taken to be flat.
_FLAT = 0.2
# Blocks of this side are compared, and about so many pixels are looked at.
_FLAT_SIDE = 4
_LOOKED_AT = 1 << 20


def _flattest(planes: Float, counts: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return the noise of Y, and of Cr and Cb, in the flattest blocks of (3, h, w) that count."""
    d = 0.5 * (planes[:, :-1, :-1] - planes[:, 1:, :-1] - planes[:, :-1, 1:] + planes[:, 1:, 1:])
    height, width = (n // _FLAT_SIDE * _FLAT_SIDE for n in d.shape[1:])
    if height == 0 or width == 0:
        return 0.0, 0.0
    shape = (height // _FLAT_SIDE, _FLAT_SIDE, width // _FLAT_SIDE, _FLAT_SIDE)
    energy = (d[:, :height, :width] ** 2).reshape(3, *shape).mean(axis=(2, 4))
    chosen = counts[:height, :width].reshape(shape).mean(axis=(1, 3)) > 0.5
    if not chosen.any():
        return 0.0, 0.0
    luma = float(np.quantile(energy[0][chosen], _FLAT))
    chroma = float(np.quantile(0.5 * (energy[1] + energy[2])[chosen], _FLAT))
    return float(np.sqrt(luma)), float(np.sqrt(chroma))


def _fine_noise(image: npt.NDArray[Any], dark: npt.NDArray[np.bool_]) -> float:
    """Return the noise of full-size pixels that are not of eight bits."""
    height, width = image.shape[:2]
    step = max(1, height * width // _LOOKED_AT)
    bands = []
    for row in range(0, dark.shape[0], step):
        if not dark[row].any() or 4 * row + 5 > height:
            continue
        planes = _opened(image[4 * row : 4 * row + 5])
        seen = np.zeros(planes.shape[1:], bool)
        seen[:4] = np.repeat(dark[row], 4)[:width]
        bands.append((planes, seen))
    if not bands:
        return 0.0
    planes = np.concatenate([planes[:, :5] for planes, _ in bands], axis=1)
    # One band ends where the next begins: differences across do not count as there are four rows
    # in a block and five in a band.
    d = planes.reshape(3, len(bands), 5, width)
    energy = 0.5 * (d[:, :, :-1, :-1] - d[:, :, 1:, :-1] - d[:, :, :-1, 1:] + d[:, :, 1:, 1:])
    usable = energy.shape[3] // 4 * 4
    blocks = (energy[..., :usable] ** 2).reshape(3, len(bands), 4, usable // 4, 4).mean(axis=(2, 4))
    counts = np.stack([seen[0, : usable : 4] for _, seen in bands])
    if not counts.any():
        return 0.0
    luma = np.sqrt(np.quantile(blocks[0][counts], _FLAT)) / _FINE_REFERENCE[0]
    if colour_channels(image) == 1:
        return float(luma)
    chroma = np.sqrt(np.quantile(0.5 * (blocks[1] + blocks[2])[counts], _FLAT))
    return float(min(luma, chroma / _FINE_REFERENCE[1]))


def clean_source(
    region: npt.NDArray[Any],
    coverage: npt.NDArray[np.uint16],
    curve: Float,
    *,
    strength: float = 1.0,
    effect: float = 1.0,
    threads: int | None = None,
    compiled: bool | None = None,
    noise: Noise | None = None,
) -> CleanRows | None:
    """Prepare denoising of a region: makes its coarse sizes and estimates the noise.

    Args:
        region: (h, w[, c]) uint8, uint16 or float32, display-encoded, 1 to 4 channels.
        coverage: uint16 (h, w), 0 where nothing will change.
        curve: float32 (256,), the luma 0…1 that the effect gives luma i / 255.
        strength: multiplies the noise that is estimated; 0 is off.
        effect: the strength of the effect, see :func:`amounts`.
        threads: the most threads to use; all that the process may use if None.
        compiled: whether to use the compiled form; where it loads if None.
        noise: in place of the estimate.

    Returns:
        What gives denoised rows, or None if there is nothing to remove. It holds about an eighth
        as many floats as the region has colour values.
    """
    amount = amounts(curve, effect)
    if strength == 0 or not amount.any():
        return None
    image = region.reshape(*region.shape[:2], -1)
    library = load() if compiled or compiled is None else None
    threads = machine_threads() if threads is None else threads
    cleaning: _Filter = (_Compiled if library is not None else _Numpy)(image, coverage, amount)
    cleaning.coarsen(threads)
    step = coverage[2::4, 2::4] if min(coverage.shape) > 2 else coverage[:1, :1]
    cells = np.zeros(cleaning.coarse.shape[1:], bool)
    cells[: step.shape[0], : step.shape[1]] = step > 0
    tones = np.clip(cleaning.coarse[0], 0, _TONES - 1).astype(np.intp)
    cells &= amount[tones] > 0
    if not cells.any():
        return None
    found = noise or estimate(image, cleaning.coarse, cells)
    if found.luma <= 0:
        return None
    cleaning.tune(Noise(found.luma * strength, found.chroma * strength))
    cleaning.correct(threads)
    return cleaning


class _Filter:
    """What both forms share: the arrays, and the constants of a region."""

    def __init__(
        self, image: npt.NDArray[Any], coverage: npt.NDArray[np.uint16], amount: Float
    ) -> None:
        height, width = image.shape[:2]
        cells = -(-height // 4), -(-width // 4)
        if coverage.strides[1] != coverage.itemsize:
            coverage = np.ascontiguousarray(coverage)
        self.image, self.coverage, self.amount = image, coverage, amount
        self.coarse = np.empty((3, *cells), np.float32)
        self.near = np.empty(cells, np.float32)
        self.correction = np.empty((2, *cells), np.float32)
        self.power = np.empty((_LEVELS, 2, 64), np.float32)
        self.neutral = self.black = 0.0

    def tune(self, noise: Noise) -> None:
        """Set the strength."""
        for level, spectra in enumerate(SPECTRA):
            for plane, (spectrum, share) in enumerate(
                zip(spectra, (noise.luma, noise.chroma), strict=True)
            ):
                sums = np.add.outer(np.arange(_BLOCK), np.arange(_BLOCK))
                deviation = np.interp(sums, FREQUENCIES, spectrum) * (THRESHOLD * max(share, 1e-3))
                self.power[level, plane] = (1.0 / deviation**2).ravel()
        neutral, black = NEUTRAL * noise.chroma, BLACK * noise.luma
        if self.image.dtype == np.uint8:
            # Noise dithers: without it, nothing of what lies below one code is left.
            neutral = NEUTRAL
            black = BLACK + max(0.0, 1.0 - noise.luma / DITHERED)
        self.neutral, self.black = neutral**2, black**4
        # What is bright nearby must not brighten the dark.
        luma = np.minimum(self.coarse[0], np.float32(NEAR_MOST))
        limit = np.float32(2.0) * luma + np.float32(0.25)
        for _ in range(2):
            luma = cv2.blur(luma, (NEAR_CELLS, NEAR_CELLS), borderType=cv2.BORDER_REPLICATE)
        np.minimum(luma, limit, out=luma)
        cv2.blur(luma, (3, 3), self.near, borderType=cv2.BORDER_REPLICATE)

    def coarsen(self, threads: int) -> None:
        """Fill ``coarse``."""
        raise NotImplementedError

    def correct(self, threads: int) -> None:
        """Fill ``correction``."""
        raise NotImplementedError

    def __call__(self, first: int, last: int) -> Float | None:
        """See :class:`CleanRows`."""
        raise NotImplementedError


class _Compiled(_Filter):
    """The compiled form."""

    def __init__(
        self, image: npt.NDArray[Any], coverage: npt.NDArray[np.uint16], amount: Float
    ) -> None:
        if image.strides[1:] != (image.itemsize * image.shape[2], image.itemsize):
            image = np.ascontiguousarray(image)
        super().__init__(image, coverage, amount)
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
            width=self.image.shape[1],
            height=self.image.shape[0],
            channels=self.image.shape[2],
            depth=DEPTHS[self.image.dtype],
            coarse_rows=self.coarse.shape[1],
            coarse_columns=self.coarse.shape[2],
            help=HELP,
            help_from=HELP_FROM / THRESHOLD**2,
            help_most=HELP_MOST / THRESHOLD**2,
            neutral=self.neutral,
            black=self.black,
            grain=GRAIN,
        )

    def _scratch(self) -> npt.NDArray[np.uint8]:
        return np.empty(self._library.maskupe_cleaning_scratch(), np.uint8)

    def coarsen(self, threads: int) -> None:
        job = self._job()

        def strip(first: int, last: int) -> None:
            scratch = self._scratch()
            address = ctypes.addressof(job)
            self._library.maskupe_clean_coarse(address, first, last, scratch.ctypes.data)

        rows = rows_of(_STRIP_PIXELS // 4, self.coarse.shape[2])
        run_strips(strip, self.coarse.shape[1], rows, threads, None)

    def correct(self, threads: int) -> None:
        job = self._job()

        def strip(first: int, last: int) -> None:
            scratch = self._scratch()
            address = ctypes.addressof(job)
            self._library.maskupe_clean_correct(address, first, last, scratch.ctypes.data)

        run_strips(strip, self.coarse.shape[1], 64, threads, None)

    def __call__(self, first: int, last: int) -> Float | None:
        out = np.empty((last - first, self.image.shape[1], 4), np.float32)
        job, scratch = self._job(), self._scratch()
        changed = self._library.maskupe_clean(
            ctypes.addressof(job), first, last, out.ctypes.data, scratch.ctypes.data
        )
        return out if changed else None


class _Numpy(_Filter):
    """The reference, and the fallback."""

    def coarsen(self, threads: int) -> None:
        height, width = self.image.shape[:2]
        step = max(4, rows_of(_STRIP_PIXELS, width) // 4 * 4)
        for first in range(0, height, step):
            planes = _opened(self.image[first : first + step])
            planes = _padded(planes, 0, -planes.shape[1] % 4, 0, -width % 4)
            shape = (3, planes.shape[1] // 4, 4, planes.shape[2] // 4, 4)
            at = first // 4
            self.coarse[:, at : at + shape[1]] = planes.reshape(shape).mean(axis=(2, 4))

    def correct(self, threads: int) -> None:
        height, width = self.coarse.shape[1:]
        step = max(4, rows_of(_STRIP_PIXELS, width) // 4 * 4)
        columns = np.arange(-_STEP, width + -width % _STEP + _STEP).clip(0, width - 1)
        for first in range(0, height, step):
            last = min(first + step, height)
            rows = np.arange(first - _STEP, last + -last % _STEP + _STEP).clip(0, height - 1)
            planes = self.coarse[:, rows[:, None], columns]
            changed = self._shrink(planes, 2)[1:] - planes[1:, _STEP:-_STEP, _STEP:-_STEP]
            self.correction[:, first:last] = changed[:, : last - first, :width]

    def __call__(self, first: int, last: int) -> Float | None:
        if not self.coverage[first:last].any():
            return None
        width = self.image.shape[1]
        out = np.empty((last - first, width, 4), np.float32)
        step = max(_ALIGNED, rows_of(_STRIP_PIXELS, width) // _ALIGNED * _ALIGNED)
        for start in range(first // _ALIGNED * _ALIGNED, last, step):
            low, high = max(start, first), min(start + step, last)
            clean = self._tile(start, start + -(-(high - start) // _ALIGNED) * _ALIGNED)
            out[low - first : high - first] = clean[low - start : high - start, :width]
        return out

    def _tile(self, top: int, bottom: int) -> Float:
        """Return the clean rows, beginning and ending at multiples of 8."""
        height, width = self.image.shape[:2]
        right = width + -width % _ALIGNED
        change, near = self._half(top, bottom, right)
        rows, columns = np.arange(top - _STEP, bottom + _STEP), np.arange(-_STEP, right + _STEP)
        clamped = rows.clip(0, height - 1)
        own = _opened(self.image[clamped[0] : clamped[-1] + 1])
        own = own[:, (clamped - clamped[0])[:, None], columns.clip(0, width - 1)]
        half = (-(-height // 2), -(-width // 2))
        spread = _between(np.concatenate([change, near]), rows, columns, half, top // 2 - _STEP)
        corrected = own.copy()
        corrected[1:] += spread[:2]
        clean = self._shrink(corrected, 0)
        inner = slice(_STEP, -_STEP)
        own, local = own[:, inner, inner], spread[2, inner, inner]
        share = np.interp(clean[0], np.arange(_TONES), self.amount).astype(np.float32)
        light = np.maximum(np.maximum(local, 0.5 * clean[0]), 0.0)
        signal = light * light + np.float32(1e-6)
        dim = signal * signal / (signal * signal + np.float32(self.black))
        hue = signal / (signal + np.float32(self.neutral))
        own[0] += share * np.float32(1.0 - GRAIN) * (clean[0] - own[0])
        own[1:] += share * (hue * clean[1:] - own[1:])
        colours = np.einsum("ck,khw->hwc", _BACK, own) * np.float32(1 / 255)
        lift = 1.0 + share * (dim - 1.0)
        return np.concatenate([np.clip(colours, 0.0, 1.0), lift[..., None]], axis=2)

    def _half(self, top: int, bottom: int, right: int) -> tuple[Float, Float]:
        """Return the half-size corrections (2, …) and the luma around (1, …) of rows.

        Their first row and column lie 4 before those of the tile.
        """
        height, width = self.image.shape[:2]
        size = (-(-height // 2), -(-width // 2))
        rows = np.arange(top // 2 - 2 * _STEP, bottom // 2 + 2 * _STEP)
        columns = np.arange(-2 * _STEP, right // 2 + 2 * _STEP)
        y, x = rows.clip(0, size[0] - 1), columns.clip(0, size[1] - 1)
        planes = _opened(self.image[2 * y[0] : 2 * y[-1] + 2])
        planes = _padded(planes, 0, planes.shape[1] % 2, 0, width % 2)
        means = planes.reshape(3, planes.shape[1] // 2, 2, -1, 2).mean(axis=(2, 4))
        half = means[:, (y - y[0])[:, None], x]
        source = np.concatenate([self.correction, self.near[None]])
        spread = _between(source, y, x, self.coarse.shape[1:], 0, at_column=0)
        planes = half.copy()
        planes[1:] += spread[:2]
        inner = slice(_STEP, -_STEP)
        change = self._shrink(planes, 1)[1:] - half[1:, inner, inner]
        return change, spread[2:, inner, inner]

    def _shrink(self, planes: Float, level: int) -> Float:
        """Return planes (3, h, w) without noise, less four rows and columns on each side."""
        power = self.power[level]
        blocks = np.lib.stride_tricks.sliding_window_view(planes, (_BLOCK, _BLOCK), axis=(1, 2))
        blocks = blocks[:, ::_STEP, ::_STEP]
        shape = blocks.shape[1:3]
        found = blocks.reshape(3, -1, 64) @ _DCT.T
        energy = _mixed(found[0] ** 2 * power[0])
        shared = _mixed((found[1] ** 2 + found[2] ** 2) * (0.5 * power[1]))
        above = energy - np.float32(HELP_FROM / THRESHOLD**2)
        shared += HELP * np.clip(above, 0.0, np.float32(HELP_MOST / THRESHOLD**2))
        result = np.empty_like(planes[:, _STEP:-_STEP, _STEP:-_STEP])
        factors = [_factors(energy), _factors(shared)]
        for plane in range(3):
            back = (found[plane] * factors[plane > 0]) @ _DCT
            result[plane] = _overlapped(back.reshape(*shape, 8, 8))
        return result


def _opened(image: npt.NDArray[Any]) -> Float:
    """Return Y, Cr, Cb (3, h, w) in codes of 255 of pixels (h, w, c)."""
    colours = image[..., : colour_channels(image)].astype(np.float32)
    if image.dtype.kind == "f":
        colours = np.fmin(np.fmax(colours, np.float32(0.0)), np.float32(1.0))
    colours *= np.float32(255.0 / scale_of(image.dtype))
    if colours.shape[2] == 1:
        colours = np.repeat(colours, 3, axis=2)
    planes: Float = np.einsum("kc,hwc->khw", _TO, colours)
    return planes


def _padded(planes: Float, above: int, below: int, before: int, after: int) -> Float:
    return np.pad(planes, ((0, 0), (above, below), (before, after)), mode="edge")


def _between(
    planes: Float,
    rows: npt.NDArray[np.intp],
    columns: npt.NDArray[np.intp],
    size: tuple[int, ...],
    at_row: int,
    *,
    at_column: int = -_STEP,
) -> Float:
    """Return bilinear values of a grid of half the size, whose outermost values go on.

    Args:
        planes: float32 (n, h, w), some of the grid.
        rows, columns: of the finer grid.
        size: rows and columns of the whole coarser grid.
        at_row, at_column: where in it ``planes`` begins.
    """
    low, down = _halves(rows, size[0], at_row)
    near, across = _halves(columns, size[1], at_column)
    above, below = (planes[:, cells] for cells in low)
    between = above + down[:, None] * (below - above)
    left, right = (between[:, :, cells] for cells in near)
    result: Float = left + across * (right - left)
    return result


def _halves(
    places: npt.NDArray[np.intp], size: int, start: int
) -> tuple[list[npt.NDArray[np.intp]], Float]:
    low = (places + 1) // 2 - 1
    part = np.where(places % 2 == 1, 0.25, 0.75).astype(np.float32)
    return [(cells.clip(0, size - 1) - start) for cells in (low, low + 1)], part


def _mixed(energy: Float) -> Float:
    """Return half of energies (n, 64), and half of their means over neighbours in frequency."""
    grid = energy.reshape(-1, _BLOCK, _BLOCK)
    grid[:, 0, 0] = 0.5 * (grid[:, 0, 1] + grid[:, 1, 0])
    padded = np.pad(grid, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]
    total = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    mixed: Float = (np.float32(0.5) * grid + np.float32(0.5 / 9) * total).reshape(-1, 64)
    return mixed


def _factors(energy: Float) -> Float:
    """Return what coefficients (n, 64) are multiplied by."""
    factors = np.maximum(1.0 - 1.0 / (energy + np.float32(1e-9)), np.float32(0.0))
    factors[:, 0] = 1.0
    return factors


def _overlapped(blocks: Float) -> Float:
    """Return the sums of overlapping blocks (m, n, 8, 8) under the window, which overwrite them."""
    rows, columns = blocks.shape[0] - 1, blocks.shape[1] - 1
    total = np.zeros((rows, _STEP, columns, _STEP), np.float32)
    blocks *= _WINDOW[:, None] * _WINDOW
    for y in (0, 1):
        for x in (0, 1):
            part = blocks[y : y + rows, x : x + columns]
            down, across = slice(4 - 4 * y, 8 - 4 * y), slice(4 - 4 * x, 8 - 4 * x)
            total += part[:, :, down, across].transpose(0, 2, 1, 3)
    return total.reshape(rows * _STEP, columns * _STEP)


def _make_dct() -> Float:
    """Return the orthonormal transform (64, 64) of 8×8 pixels in order of rows."""
    places, waves = np.arange(_BLOCK), np.arange(_BLOCK)[:, None]
    basis = np.cos(np.pi * (2 * places + 1) * waves / (2 * _BLOCK)) * 0.5
    basis[0] = np.sqrt(1 / _BLOCK)
    return np.kron(basis, basis).astype(np.float32)


_DCT = _make_dct()
_WINDOW = (np.sin(np.pi / _BLOCK * (np.arange(_BLOCK) + 0.5)) ** 2).astype(np.float32)
