"""How good an enhancement is: PSNR and SSIM in A, the transition in B, exactness in C.

All images are display-encoded floats (H, W, 3), nominally 0…1, all areas bool (H, W). The paper
measures A only (Sec. "Performance metrics") and has no metric for B; those for B are ours. They
look at the gain

    g = mean over RGB of log((Ŷ + 4/255) / (I + 4/255)),

which a perfect transition takes from its value in A to 0 in C along the distance from A. Texture
cancels in g as far as the enhancement is a gain, so what remains in B is the transition itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import optimize

from maskupe.areas.transition import Areas
from maskupe.blending.weights import inverse_smoothstep
from maskupe.errors import InputError
from maskupe.pixel_layout import GAIN_DELTA, LUMA

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

# Wang et al. 2004: an 11×11 Gaussian window with σ = 1.5, K1 = 0.01, K2 = 0.03.
_SSIM_SIGMA = 1.5
_SSIM_RADIUS = 5
_SSIM_C1 = 0.01**2
_SSIM_C2 = 0.03**2
# Below this gain in A (in nepers) nothing has been brightened, and shares of the gain mean nothing.
_LEAST_GAIN = 0.02
# A value of 8 bits counts as clipped from here on.
_CLIPPED = 254.5 / 255.0
_LEVELS = 255.0
# Pixels that the best exponent is searched on.
_EXPONENT_PIXELS = 20_000
# Steps of the profile through B, at most: enough for its shape, each with many pixels.
_MAX_STEPS = 32


def psnr(output: Image, target: Image, area: Mask) -> float:
    """Return PSNR in dB over the pixels of an area, peak 1; capped at 100 where the two agree.

    Raises:
        InputError: for shapes that differ or an empty area.
    """
    _check(output, target, area)
    difference = output[area].astype(np.float64) - target[area]
    return float(-10.0 * np.log10(max(float(np.mean(difference**2)), 1e-10)))


def psnr_after_exponent(output: Image, target: Image, area: Mask) -> float:
    """Return PSNR in dB over an area after the best single exponent on the output, which levels it.

    The exponent is searched in 0.3…3 on at most 20,000 pixels spread evenly over the area.
    """
    _check(output, target, area)
    found, wanted = np.clip(output[area], 0.0, 1.0).astype(np.float64), target[area]
    every = max(1, len(found) // _EXPONENT_PIXELS)

    def error(logarithm: float, every: int = every) -> float:
        return float(np.mean((found[::every] ** math.exp(logarithm) - wanted[::every]) ** 2))

    best = optimize.minimize_scalar(
        error, bounds=(math.log(0.3), math.log(3.0)), method="bounded", options={"xatol": 1e-5}
    ).x
    return float(-10.0 * np.log10(max(min(error(best, 1), error(0.0, 1)), 1e-10)))


def ssim_masked(output: Image, target: Image, area: Mask) -> float:
    """Return the paper's SSIM: between M∗Ŷ and M∗Y over the whole image (footnote 4).

    The black outside of M counts as perfectly similar, which inflates the value for small areas.
    """
    _check(output, target, area)
    kept = area[..., None].astype(np.float32)
    return float(_ssim_map(output * kept, target * kept).mean())


def ssim_inside(output: Image, target: Image, area: Mask) -> float:
    """Return SSIM averaged over the windows whose 11×11 pixels all lie inside the area.

    Where no whole window fits, over those whose centre does.
    """
    _check(output, target, area)
    size = 2 * _SSIM_RADIUS + 1
    inside = cv2.erode(
        area.astype(np.uint8),
        np.ones((size, size), np.uint8),
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    ).astype(bool)
    windows = inside if inside.any() else area
    return float(_ssim_map(output, target)[windows].mean())


def _ssim_map(x: Image, y: Image) -> npt.NDArray[np.float64]:
    """Return per-pixel SSIM averaged over the channels, (H, W); borders are reflected."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    mean_x, mean_y = _window(x), _window(y)
    var_x = _window(x * x) - mean_x**2
    var_y = _window(y * y) - mean_y**2
    covariance = _window(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _SSIM_C1) / (mean_x**2 + mean_y**2 + _SSIM_C1)
    structure = (2 * covariance + _SSIM_C2) / (var_x + var_y + _SSIM_C2)
    return np.asarray((luminance * structure).mean(axis=2))


def _window(x: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    size = (2 * _SSIM_RADIUS + 1,) * 2
    return np.asarray(cv2.GaussianBlur(x, size, _SSIM_SIGMA, borderType=cv2.BORDER_REFLECT))


def gain_map(output: Image, image: Image) -> npt.NDArray[np.float64]:
    """Return g, float64 (H, W): the mean over RGB of log((Ŷ + 4/255) / (I + 4/255))."""
    bright = np.clip(output, 0.0, None).astype(np.float64) + GAIN_DELTA
    return np.asarray(np.log(bright / (np.clip(image, 0.0, None) + GAIN_DELTA)).mean(axis=2))


@dataclass(frozen=True)
class TransitionQuality:
    """What can be seen in B; smaller is better throughout. NaN where B or the gain is missing.

    With ḡ the mean gain in A, and the profile p the means of g over B in equal steps of the way
    from A to C, with A's rim before them and C's rim behind. The way is what the blend weight is
    made of: the distance from A for a hard selection, the selection's own ramp for a soft one.
    There are as many steps as B is pixels wide, at least 2 and at most 32.

    Attributes:
        roughness: the 95th percentile over B of |Δg| relative to ḡ, with Δ the 4-neighbour
            Laplacian: kinks, edges and ripples. A percentile, since the mean cannot tell one hard
            edge from a smooth ramp.
        step: the steepest slope of p between neighbouring values, relative to the ideal ramp's:
            1 for a linear ramp, 1.5 for a smoothstep, the number of steps for a hard edge.
        violations: how far p rises on its way from A to C, all rises added, relative to ḡ.
        seam: the larger of the jumps across the contours A/B and B/C, each the difference of
            the means of g over the pixels that touch the contour on either side, relative to ḡ.
        halo: by how much B's luma exceeds both its own before and the 90th percentile of A's
            after, as the 95th percentile over B in 8-bit levels: brightening that has spread into
            bright surroundings.
        clipped: share of B's pixels with a channel that became white and was not.
    """

    roughness: float
    step: float
    violations: float
    seam: float
    halo: float
    clipped: float


def transition_quality(output: Image, image: Image, areas: Areas) -> TransitionQuality:
    """Measure the transition in B.

    Raises:
        InputError: for shapes that differ or an empty A.
    """
    _check(output, image, areas.a)
    if not areas.b.any():
        return TransitionQuality(*(math.nan,) * 6)
    halo, clipped = _halo(output, image, areas), _clipped(output, image, areas.b)
    gain = gain_map(output, image)
    level = float(gain[areas.a].mean())
    if level < _LEAST_GAIN:
        return TransitionQuality(math.nan, math.nan, math.nan, math.nan, halo, clipped)
    way, profile = _profile(gain, areas)
    steps = np.diff(profile)
    laplacian = cv2.Laplacian(gain, cv2.CV_64F, borderType=cv2.BORDER_REPLICATE)
    jumps = [_jump(gain, areas.a, areas.b), _jump(gain, areas.b, areas.c)]
    return TransitionQuality(
        roughness=float(np.percentile(np.abs(laplacian[areas.b]), 95)) / level,
        step=float(np.abs(steps / np.diff(way)).max()) / level if steps.size else 0.0,
        violations=float(np.clip(steps, 0.0, None).sum()) / level,
        seam=max(jumps) / level,
        halo=halo,
        clipped=clipped,
    )


def _profile(
    gain: npt.NDArray[np.float64], areas: Areas
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The way from A (0) to C (1) and p on it: A's rim, the steps through B, C's rim (if any)."""
    way = 1.0 - inverse_smoothstep(areas.weight[areas.b].astype(np.float64))
    steps = int(np.clip(round(areas.width), 2, _MAX_STEPS))
    index = np.clip((way * steps).astype(int), 0, steps - 1)
    count = np.bincount(index, minlength=steps)
    filled = count > 0
    at = list(np.bincount(index, way, steps)[filled] / count[filled])
    values = list(np.bincount(index, gain[areas.b], steps)[filled] / count[filled])
    inner, outer = _rim(areas.a, areas.b), _rim(areas.c, areas.b)
    if inner.any():
        at, values = [0.0, *at], [float(gain[inner].mean()), *values]
    if outer.any():
        at, values = [*at, 1.0], [*values, float(gain[outer].mean())]
    return np.asarray(at), np.asarray(values)


def _jump(gain: npt.NDArray[np.float64], one: Mask, other: Mask) -> float:
    """Return difference of the mean gain on the two sides of a contour.

    0 where there is no contour.
    """
    near, far = _rim(one, other), _rim(other, one)
    if not near.any() or not far.any():
        return 0.0
    return abs(float(gain[near].mean()) - float(gain[far].mean()))


def _rim(area: Mask, neighbour: Mask) -> Mask:
    """Return the pixels of an area that touch another one."""
    return np.asarray(area & (_distance(neighbour) < 1.5))


def _distance(area: Mask) -> npt.NDArray[np.float32]:
    """Return distance in pixels to the nearest pixel of the area; far where there is none."""
    if not area.any():
        return np.full(area.shape, np.inf, np.float32)
    zero_in_area = np.logical_not(area).view(np.uint8)
    return np.asarray(cv2.distanceTransform(zero_in_area, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))


def _halo(output: Image, image: Image, areas: Areas) -> float:
    after, before = _luma(output), _luma(image)
    bright = float(np.percentile(after[areas.a], 90))
    excess = after[areas.b] - np.maximum(before[areas.b], bright)
    return max(0.0, float(np.percentile(excess, 95))) * _LEVELS


def _clipped(output: Image, image: Image, area: Mask) -> float:
    newly = (output[area] >= _CLIPPED) & (image[area] < _CLIPPED)
    return float(newly.any(axis=1).mean())


def _luma(image: Image) -> npt.NDArray[np.float32]:
    return np.asarray(image @ LUMA, np.float32)


@dataclass(frozen=True)
class Exactness:
    """What has changed in C, where nothing may.

    Attributes:
        largest: the largest difference of any channel, in 8-bit levels.
        share: the share of C's pixels that differ at all.
    """

    largest: float
    share: float


def exactness(output: Image, image: Image, area: Mask) -> Exactness:
    """Compare output and input in C; an empty C has not changed."""
    if not area.any():
        return Exactness(0.0, 0.0)
    difference = np.abs(output[area].astype(np.float64) - image[area])
    return Exactness(float(difference.max()) * _LEVELS, float(difference.any(axis=1).mean()))


def _check(output: Image, target: Image, area: Mask) -> None:
    if output.shape != target.shape or output.shape[:2] != area.shape:
        raise InputError(
            f"Images of {output.shape} and {target.shape} and an area of {area.shape} "
            "cannot be compared.",
            "All must have the same height and width.",
        )
    if not area.any():
        raise InputError("The area is empty, so there is nothing to measure in it.")
