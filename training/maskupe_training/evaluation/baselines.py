"""What anyone would try first: each brightens the whole picture knowing only A, then is blended.

Automatic ones bring A's mean luma to 115 of 255, the level that the local truth is chosen by.
Oracles know the truth inside A and pick their one parameter (or curve) by it: they bound what
that kind of adjustment can do. Exposure is changed in linear light (sRGB), as raw converters and
editors do it. All are blended by the areas' weight, a smoothstep over B, so C stays exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import cv2
import numpy as np

from maskupe.preprocess.srgb import decode_srgb, encode_srgb
from maskupe_training.data.ground_truth import TARGET_LUMA
from maskupe_training.data.images import F32, Bool, luma
from maskupe_training.evaluation.cases import Case
from maskupe_training.evaluation.lime import lime

#: A baseline: (picture (H, W, 3) 0…1, A, truth) → enhanced picture; only oracles read the truth.
Baseline: TypeAlias = Callable[[F32, Bool, F32], F32]

# Pixels that a search looks at; more change its result by less than 0.01 dB.
_SAMPLE = 4000
_MOST_EV = 10.0
# Levels between the knots of the oracle's tone curves.
_KNOTS = 16


def automatic_gamma(image: F32, a: Bool, truth: F32) -> F32:
    """Return one exponent on display values that brings A's mean luma to 115."""
    inside = _inside(image, a)
    found = _solve(lambda x: inside ** np.float32(math.exp(-x)), 4.0)
    return image ** np.float32(math.exp(-found))


def oracle_gamma(image: F32, a: Bool, truth: F32) -> F32:
    """Return the exponent that is nearest to the truth in A."""
    inside, wanted = _inside(image, a), _inside(truth, a)
    best = _search(lambda x: _error(inside ** math.exp(-x), wanted), -0.5, 4.0)
    return image ** np.float32(math.exp(-best))


def linear_gain(image: F32, a: Bool, truth: F32) -> F32:
    """One exposure gain in linear light, clipped at white, that brings A's mean luma to 115."""
    light = decode_srgb(_inside(image, a))
    ev = _solve(lambda x: encode_srgb(light * np.float32(2.0**x)), _MOST_EV)
    return encode_srgb(decode_srgb(image) * np.float32(2.0**ev))


def oracle_gain(image: F32, a: Bool, truth: F32) -> F32:
    """Return the exposure gain that is nearest to the truth in A."""
    light, wanted = decode_srgb(_inside(image, a)), _inside(truth, a)
    ev = _search(lambda x: _error(encode_srgb(light * np.float32(2.0**x)), wanted), -1.0, _MOST_EV)
    return encode_srgb(decode_srgb(image) * np.float32(2.0**ev))


def oracle_curves(image: F32, a: Bool, truth: F32) -> F32:
    """Per channel the tone curve that is nearest to the truth in A: its mean per input level.

    Levels are joined in steps of equal counts, so that rare ones do not learn the truth by heart.
    """
    result = np.empty_like(image)
    for channel in range(3):
        source, wanted = image[..., channel][a], truth[..., channel][a]
        edges = np.unique(np.quantile(source, np.linspace(0, 1, _KNOTS + 1)))
        index = np.clip(np.searchsorted(edges, source, "right") - 1, 0, max(0, len(edges) - 2))
        count = np.maximum(np.bincount(index), 1)
        at = np.bincount(index, source) / count
        value = np.bincount(index, wanted) / count
        order = np.argsort(at)
        result[..., channel] = np.interp(image[..., channel], at[order], value[order])
    return result


def clahe(image: F32, a: Bool, truth: F32) -> F32:
    """Return contrast-limited adaptive histogram equalization of L* (clip limit 2, 8×8 tiles)."""
    lab = cv2.cvtColor(np.rint(image * 255).astype(np.uint8), cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(lab[..., 0])
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.float32) / np.float32(255.0)


BASELINES: Mapping[str, Baseline] = {
    "input": lambda image, a, truth: image,
    "auto gamma": automatic_gamma,
    "oracle gamma": oracle_gamma,
    "linear gain": linear_gain,
    "oracle gain": oracle_gain,
    "oracle curves": oracle_curves,
    "CLAHE": clahe,
    "LIME": lambda image, a, truth: lime(image),
}

#: Those that take seconds a case, and are measured on request only.
SLOW = ("LIME",)


def blended(case: Case, baseline: Baseline) -> F32:
    """A baseline on a case, blended into the input by the areas' weight: float32 (H, W, 3)."""
    image = case.image.astype(np.float32) / np.float32(255.0)
    truth = case.truth.astype(np.float32) / np.float32(255.0)
    enhanced = baseline(image, case.areas.a, truth)
    return image + case.areas.weight[..., None] * (enhanced - image)


def _inside(image: F32, a: Bool) -> F32:
    """Return A's pixels, (n, 1, 3), thinned out evenly."""
    pixels = image[a]
    return pixels[:: max(1, len(pixels) // _SAMPLE), None]


def _error(found: F32, wanted: F32) -> float:
    return float(np.mean((found - wanted) ** 2))


def _search(error: Callable[[float], float], low: float, high: float) -> float:
    """Return the argument of the least error: a scan, then a finer one around its best."""
    for _ in range(3):
        grid = np.linspace(low, high, 25)
        best = float(grid[int(np.argmin([error(float(x)) for x in grid]))])
        step = (high - low) / 24
        low, high = best - step, best + step
    return best


def _solve(adjust: Callable[[float], F32], high: float) -> float:
    """Bisect in 0…high for the x whose adjusted pixels have the mean luma 115."""
    low = 0.0
    for _ in range(30):
        middle = (low + high) / 2
        if 255.0 * float(luma(adjust(middle)).mean()) < TARGET_LUMA:
            low = middle
        else:
            high = middle
    return (low + high) / 2
