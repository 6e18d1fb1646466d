"""Deep shadows: what is left of a photograph that was taken several stops too dark.

Good photographs are darkened by 3.5 to 6 EV in linear light, get the noise of a small sensor, 8
bits and JPEG, and are brightened again inside an ellipse. After one exponent has matched the level
to the truth's, the error is split in Lab: its low frequencies are the error of colour, its high
ones are noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from scipy.fft import dctn

from maskupe import Enhancer
from maskupe.denoise import Denoise
from maskupe.denoise.noise import FREQUENCIES
from maskupe.errors import InputError
from maskupe.pixel_layout import LUMA
from maskupe.preprocess.srgb import decode_srgb, encode_srgb
from maskupe_training.data.images import F32, U8, fit_long_edge, list_images, read_rgb, write_rgb
from maskupe_training.progress import tracked
from maskupe_training.tables import print_table

#: A method under test: from a case to its result, uint8 (H, W, 3).
Method: TypeAlias = Callable[["ShadowCase"], U8]

#: The metrics, in the order in which tables show them.
COLUMNS = ("psnr", "colour", "chroma_noise", "luma_noise")

# How the cases are drawn: stops, photons at full scale, read noise of full scale, the share of the
# noise that neighbours have in common, as after demosaicing, and JPEG qualities.
_STOPS = (3.5, 6.0)
_FULL_WELL = (1500.0, 12000.0)
_READ_NOISE = 3e-4
_COMMON_SHARE = 0.5
_COMMON_SIGMA = 0.8
_QUALITY = (85, 97)
# Every other photograph is for choosing constants, the rest for reporting.
_SPLITS = ("tune", "test")
# Rims of an ellipse say more about the transition than about noise.
_ERODED = 9
# Width and height of what a sheet shows of each picture.
_SHEET = (280, 240)
# The blur that divides colour error from noise, as a part of the long side.
_LOW_FREQUENCIES = 60


@dataclass(frozen=True)
class ShadowCase:
    """One case.

    Attributes:
        name: the photograph.
        image: uint8 (H, W, 3), the dark and noisy input.
        clean: uint16 (H, W, 3), the same without noise and JPEG.
        truth: uint8 (H, W, 3), the photograph.
        selection: uint8 (H, W), 255 inside an ellipse.
    """

    name: str
    image: U8
    clean: npt.NDArray[np.uint16]
    truth: U8
    selection: U8


def draw_shadow_cases(
    folder: Path, split: str, count: int, seed: int, long_edge: int
) -> Iterator[ShadowCase]:
    """Yield the cases of one split.

    Args:
        folder: photographs, JPEG or PNG.
        split: ``tune`` or ``test``; no photograph is in both.
        count: how many cases at most.
        seed: decides which photographs, and how they are darkened.
        long_edge: of the pictures, in pixels.
    """
    paths = list_images(folder)[_SPLITS.index(split) :: len(_SPLITS)]
    order = np.random.default_rng(seed).permutation(len(paths))[:count]
    for number in tracked(order, len(order), "shadows"):
        rng = np.random.default_rng([seed, int(number)])
        path = paths[number]
        yield _darken(path.name, fit_long_edge(read_rgb(path), long_edge), rng)


def _darken(name: str, truth: U8, rng: np.random.Generator) -> ShadowCase:
    light = decode_srgb(truth.astype(np.float32) / np.float32(255))
    light = light * np.float32(2.0 ** -rng.uniform(*_STOPS))
    well = np.exp(rng.uniform(*np.log(_FULL_WELL)))
    deviation = np.sqrt(light / np.float32(well) + np.float32(_READ_NOISE**2))
    noise = _noise(light.shape, rng)
    noisy = encode_srgb(np.clip(light + deviation * noise, 0.0, 1.0))
    quality = int(rng.integers(*_QUALITY))
    image = _as_jpeg(np.rint(noisy * 255).astype(np.uint8), quality)
    height, width = truth.shape[:2]
    selection = np.zeros((height, width), np.uint8)
    centre = (int(width * rng.uniform(0.4, 0.6)), int(height * rng.uniform(0.4, 0.6)))
    axes = (int(width * rng.uniform(0.22, 0.38)), int(height * rng.uniform(0.22, 0.38)))
    cv2.ellipse(selection, centre, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    clean = np.rint(encode_srgb(light) * 65535).astype(np.uint16)
    return ShadowCase(name, image, clean, truth, selection)


def _as_jpeg(image: U8, quality: int) -> U8:
    done, coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    found = cv2.imdecode(coded, cv2.IMREAD_COLOR) if done else None
    if found is None:
        raise InputError("A picture could not be coded as JPEG.")
    return np.ascontiguousarray(found[..., ::-1], np.uint8)


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> F32:
    """Return unit noise, a part of it common to neighbouring pixels."""
    own = rng.standard_normal(shape, np.float32)
    common = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), _COMMON_SIGMA)
    common = common / common.std()
    mixed = np.sqrt(1 - _COMMON_SHARE) * own + np.sqrt(_COMMON_SHARE) * common
    return np.asarray(mixed, np.float32)


def measure_shadows(case: ShadowCase, output: U8) -> dict[str, float]:
    """Return the metrics of one result, after the exponent that matches its level.

    Returns:
        ``psnr`` in dB, ``colour``, ``chroma_noise`` and ``luma_noise`` in units of Lab.
    """
    kernel = np.ones((_ERODED, _ERODED), np.uint8)
    inside = cv2.erode((case.selection > 127).astype(np.uint8), kernel) > 0
    result, truth = (array.astype(np.float32) / np.float32(255) for array in (output, case.truth))
    wanted = float(truth[inside].mean())
    exponents = np.exp(np.linspace(-1.6, 1.6, 65)).astype(np.float32)
    best = min(exponents, key=lambda g: abs(float((result[inside] ** g).mean()) - wanted))
    result = result**best
    difference = cv2.cvtColor(result, cv2.COLOR_RGB2LAB) - cv2.cvtColor(truth, cv2.COLOR_RGB2LAB)
    low = cv2.GaussianBlur(difference, (0, 0), max(case.selection.shape) / _LOW_FREQUENCIES)
    high = difference - low
    mse = float(((result - truth)[inside] ** 2).mean())
    return {
        "psnr": -10.0 * float(np.log10(mse + 1e-10)),
        "colour": float(np.hypot(low[..., 1], low[..., 2])[inside].mean()),
        "chroma_noise": float(np.sqrt((high[..., 1:][inside] ** 2).mean())),
        "luma_noise": float(np.sqrt((high[..., 0][inside] ** 2).mean())),
    }


def evaluate_shadows(
    folder: Path,
    model: str,
    split: str,
    count: int,
    seed: int,
    strengths: Sequence[Denoise],
    long_edge: int,
    threads: int,
    sheets: Path | None = None,
) -> dict[str, dict[str, float]]:
    """Measure a model with several strengths of denoising, and without noise; print the table.

    Args:
        folder, split, count, seed, long_edge: see :func:`draw_shadow_cases`.
        model: a registry name, or the path of a weight file.
        strengths: of denoising; see :meth:`maskupe.Enhancer.enhance`.
        threads: CPU threads.
        sheets: a folder for a picture of each case, see :func:`_sheet`; none are made if None.

    Returns:
        The means of :func:`measure_shadows` by method.

    Raises:
        InputError: if the folder has no photographs.
    """
    enhancer = Enhancer.load(model, threads=threads)
    methods = {f"denoise {strength}": _method(enhancer, strength) for strength in strengths}
    for strength in (0, "auto"):
        name = f"16 bits without noise, denoise {strength}"
        methods[name] = _method(enhancer, strength, clean=True)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
    for case in draw_shadow_cases(folder, split, count, seed, long_edge):
        results = {name: method(case) for name, method in methods.items()}
        for name, result in results.items():
            rows[name].append(measure_shadows(case, result))
        if sheets is not None:
            shown = [results[f"denoise {strength}"] for strength in (strengths[0], strengths[-1])]
            write_rgb(sheets / f"{Path(case.name).stem}.jpg", _sheet(case, shown), quality=90)
    if not rows[next(iter(rows))]:
        raise InputError(f"There are no photographs in {folder}.")
    means = {
        name: {column: float(np.mean([row[column] for row in own])) for column in COLUMNS}
        for name, own in rows.items()
    }
    print_table(
        f"{model}, {split}, {len(next(iter(rows.values())))} cases, seed {seed}",
        ["method", *(column.replace("_", " ") for column in COLUMNS)],
        [[name, *(f"{own[column]:.2f}" for column in COLUMNS)] for name, own in means.items()],
    )
    return means


def _sheet(case: ShadowCase, results: Sequence[U8]) -> U8:
    """Return the middle of the selection at 100 %: the input, the results and the truth."""
    rows, columns = np.nonzero(case.selection)
    height, width = case.selection.shape
    across, down = min(_SHEET[0], width), min(_SHEET[1], height)
    x = int(np.clip(columns.mean() - across / 2, 0, width - across))
    y = int(np.clip(rows.mean() - down / 2, 0, height - down))
    pictures = (case.image, *results, case.truth)
    return np.hstack([picture[y : y + down, x : x + across] for picture in pictures])


def _method(enhancer: Enhancer, strength: Denoise, *, clean: bool = False) -> Method:
    def run(case: ShadowCase) -> U8:
        image = case.clean if clean else case.image
        result = enhancer.enhance(image, case.selection, denoise=strength)
        return np.rint(result / (257.0 if clean else 1.0)).astype(np.uint8)

    return run


def noise_spectra(
    folder: Path, count: int, seed: int, long_edge: int
) -> list[tuple[list[float], list[float]]]:
    """Measure what :data:`maskupe.denoise.noise.SPECTRA` holds, on the cases of the split ``tune``.

    Returns:
        For full, half and quarter size: the standard deviations of Y, and of Cr and Cb, in an
        orthonormal 8×8 DCT, by the sums of the two frequencies of ``FREQUENCIES`` there.

    Raises:
        InputError: if the folder has no photographs.
    """
    energy = np.zeros((3, 3, 8, 8))
    cases = 0
    for case in draw_shadow_cases(folder, "tune", count, seed, long_edge):
        noise = case.image.astype(np.float32) - case.clean.astype(np.float32) / np.float32(257)
        luma: F32 = (noise @ LUMA).astype(np.float32)
        planes: list[F32] = [
            luma,
            0.713267 * (noise[..., 0] - luma),
            0.564334 * (noise[..., 2] - luma),
        ]
        for level in range(3):
            for number, plane in enumerate(planes):
                energy[level, number] += _mean_energy(plane)
            planes = [
                np.asarray(
                    cv2.resize(p, (p.shape[1] // 2, p.shape[0] // 2), interpolation=cv2.INTER_AREA),
                    np.float32,
                )
                for p in planes
            ]
        cases += 1
    if cases == 0:
        raise InputError(f"There are no photographs in {folder}.")
    sums = np.add.outer(np.arange(8), np.arange(8))

    def spectrum(of: npt.NDArray[np.float64]) -> list[float]:
        return [round(float(np.sqrt(of[sums == f].mean() / cases)), 2) for f in FREQUENCIES]

    return [(spectrum(level[0]), spectrum(level[1:].mean(axis=0))) for level in energy]


def _mean_energy(plane: F32) -> npt.NDArray[np.float64]:
    """Return the mean squared coefficients (8, 8) of blocks of 8×8."""
    height, width = (n // 8 * 8 for n in plane.shape)
    blocks = plane[:height, :width].reshape(height // 8, 8, width // 8, 8).transpose(0, 2, 1, 3)
    coefficients = dctn(blocks.astype(np.float64), axes=(2, 3), norm="ortho")
    return np.asarray((coefficients**2).mean(axis=(0, 1)))
