"""How strong noise is: the model, what of it will be seen, and estimates from pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from maskupe.denoise.planes import opened
from maskupe.errors import InputError
from maskupe.pixel_layout import colour_channels

Float = npt.NDArray[np.float32]
#: How much noise to remove: as much as is estimated, or a share of that, 0…1.
Denoise: TypeAlias = float | Literal["auto"]

#: Standard deviation of the noise in an orthonormal 8×8 DCT, in codes of 255, at full, half and
#: quarter size: of Y and of Cr and Cb, by the sum of the two frequencies of :data:`FREQUENCIES`.
SPECTRA = (
    (
        (3.90, 3.31, 2.99, 2.69, 2.39, 2.14, 1.89, 1.47, 1.12, 0.57),
        (3.77, 2.75, 1.52, 0.86, 0.53, 0.42, 0.35, 0.29, 0.23, 0.15),
    ),
    (
        (2.34, 1.85, 1.76, 1.66, 1.54, 1.43, 1.33, 1.17, 1.04, 0.85),
        (2.40, 1.83, 1.72, 1.43, 0.91, 0.60, 0.45, 0.29, 0.24, 0.20),
    ),
    (
        (1.60, 1.01, 0.94, 0.92, 0.89, 0.85, 0.82, 0.77, 0.72, 0.63),
        (1.52, 1.08, 0.97, 0.92, 0.86, 0.79, 0.69, 0.51, 0.38, 0.23),
    ),
)
FREQUENCIES = (0, 1, 2, 3, 4, 5, 6, 8, 10, 14)
#: Coefficients below so many standard deviations are noise.
THRESHOLD = 1.7
#: How much of the energy in luma counts as energy in chroma, from what energy on, and how much at
#: most, in standard deviations squared.
HELP, HELP_FROM, HELP_MOST = 0.3, 2.0, 20.0
#: Lumas in codes at which half of the hue and half of the effect are left, where the noise is as
#: strong as :data:`SPECTRA` say.
NEUTRAL, BLACK = 1.8, 1.1
#: The neighbourhood's luma is the mean of values up to so many codes, twice over a square of so
#: many cells of 4×4 pixels, but not far above the pixel's own cell.
NEAR_MOST, NEAR_CELLS = 24.0, 5
#: How much of the noise of luma stays, in flat blocks and in textured ones. It is blotches of
#: colour and grain in skies that people mind; without grain, skin looks like plastic, and leaves
#: and bricks a few codes above black are smeared.
GRAIN = (0.2, 0.5)
#: Blocks that keep up to so much of their coefficients, on average, are flat, and from so much on
#: textured.
TEXTURE = (0.03, 0.15)
#: Gains below the first show no noise, those above the second show all of it.
GAINS = (1.5, 3.0)
#: The most that can be asked for: all the noise that is estimated.
MOST = 1.0
_RANGE = f"Use 0 to {MOST:.0f}, or 'auto'."

#: Estimates are kept below the first; below the second 16 bits and floats have no noise.
MOST_ESTIMATED, LEAST_ESTIMATED = 1.0, 0.25
#: Eight bits alone are so noisy.
QUANTISATION = 0.35
#: From this noise on, eight bits are as good as more.
DITHERED = 0.7
# What `_flattest` finds where the noise is as SPECTRA say, and the deviation of Y before JPEG.
_COARSE_REFERENCE = (0.69, 0.29)
WHITE_REFERENCE = 1.1
# The root of the quantile below of sums of 16 squares, of the mean.
_FLAT_PART = 0.84
# The share of cells that are taken to be flat.
_FLAT = 0.2
# Blocks of this side are compared, and about so many pixels are looked at.
_FLAT_SIDE = 4
_LOOKED_AT = 1 << 17

_TONES = 256


@dataclass(frozen=True)
class Noise:
    """How strong the noise is, in multiples of :data:`SPECTRA`; 0 is none.

    Attributes:
        luma: of Y.
        chroma: of Cr and Cb.
        white: besides, deviations of noise that is the same at all frequencies, in codes, of Y and
            of Cr and Cb: of pixels that JPEG has not smoothed.
    """

    luma: float
    chroma: float
    white: tuple[float, float] | None = None

    def scaled(self, factor: float) -> Noise:
        """Return the same noise, so many times as strong."""
        first, second = self.white or (0.0, 0.0)
        return Noise(self.luma * factor, self.chroma * factor, (first * factor, second * factor))


def denoise_scale(denoise: Denoise) -> float:
    """Return what a strength of denoising means as a number: ``"auto"`` is 1.

    Raises:
        InputError: if it is neither ``"auto"`` nor 0…1.
    """
    if denoise == "auto":
        return 1.0
    if isinstance(denoise, str):  # type: ignore[unreachable]
        raise InputError(f"The noise reduction {denoise!r} is not a number.", _RANGE)
    if not 0.0 <= denoise <= MOST:
        raise InputError(f"A noise reduction of {denoise} is out of range.", _RANGE)
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
    return np.asarray(share * share * (3.0 - 2.0 * share), np.float32)


def estimate(coarse: Float, dark: npt.NDArray[np.bool_], most: float) -> Noise:
    """Estimate the noise of a region from the flattest of its dark cells.

    JPEG leaves nothing of the finest scale, so means of 4×4 pixels are looked at.

    Args:
        coarse: float32 (3, ch, cw), Y, Cr and Cb of 4×4 pixels.
        dark: bool (ch, cw), the cells that count.
        most: what the noise of Y cannot exceed.
    """
    luma, chroma = _flattest(coarse, dark)
    strong = min(luma / _COARSE_REFERENCE[0], most)
    coloured = min(chroma / _COARSE_REFERENCE[1], MOST_ESTIMATED)
    return Noise(strong, 0.5 * (strong + coloured))


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


def white_noise(
    image: npt.NDArray[Any], coverage: npt.NDArray[np.uint16], amount: Float
) -> tuple[float, float]:
    """Return the deviations of white noise in Y, and in Cr and Cb, in codes, from bands of rows.

    There is next to none after JPEG.

    Args:
        image: (h, w, c), the region.
        coverage: uint16 (h, w), 0 where nothing will change.
        amount: float32 (256,), see :func:`amounts`.
    """
    height, width = image.shape[0], image.shape[1] // _FLAT_SIDE * _FLAT_SIDE
    rows = _FLAT_SIDE + 1
    if height < rows or width == 0:
        return 0.0, 0.0
    bands = min(height // rows, max(1, _LOOKED_AT // (rows * width)))
    found: list[Float] = []
    for first in np.linspace(0, height - rows, bands).astype(int):
        planes = opened(image[first : first + rows])
        d = np.diff(np.diff(planes, axis=1), axis=2) * np.float32(0.5)
        d = np.pad(d, ((0, 0), (0, 0), (0, 1)))[..., :width]
        cells = (3, rows - 1, width // _FLAT_SIDE, _FLAT_SIDE)
        energy = (d.reshape(cells) ** 2).mean(axis=(1, 3))
        tones = planes[0, : rows - 1, :width].reshape(cells[1:]).mean(axis=(0, 2))
        counts = coverage[first + 2, 2 : width + 2 : _FLAT_SIDE][: tones.size] > 0
        counts &= amount[np.clip(tones, 0, _TONES - 1).astype(np.intp)] > 0
        found.append(energy[:, counts])
    blocks = np.concatenate(found, axis=1)
    if blocks.shape[1] == 0:
        return 0.0, 0.0
    luma = float(np.sqrt(np.quantile(blocks[0], _FLAT))) / _FLAT_PART
    if colour_channels(image) == 1:
        return luma, luma
    chroma = float(np.sqrt(np.quantile(0.5 * (blocks[1] + blocks[2]), _FLAT))) / _FLAT_PART
    # Texture shows in luma above all; noise of pixels is as strong in chroma.
    return min(luma, 1.3 * chroma), chroma
