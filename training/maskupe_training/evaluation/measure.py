"""All metrics of one result on one case, and their means with confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import stats
from skimage.color import deltaE_ciede2000, rgb2lab

from maskupe_training import metrics
from maskupe_training.data.images import F32, U8
from maskupe_training.evaluation.cases import Case

#: One result's values by name; NaN where a metric does not apply.
Values: TypeAlias = dict[str, float]
Numbers: TypeAlias = npt.NDArray[np.float64]

#: The metrics, in the order in which tables show them, with what they are called there.
COLUMNS: Mapping[str, str] = {
    "psnr_a": "PSNR A",
    "psnr_a_gamma_aligned": "gamma-aligned",
    "ssim_a": "SSIM A",
    "ssim_paper": "SSIM paper",
    "ciede2000_a": "ΔE00 A",
    "roughness": "rough",
    "step": "step",
    "violations": "viol.",
    "seam": "seam",
    "halo": "halo",
    "clipped": "clipped",
    "largest_c": "max Δ C",
    "share_c": "share C",
}

#: Of these, the ones about A, which are also given by kind of selection.
OF_A = ("psnr_a", "psnr_a_gamma_aligned", "ssim_a", "ssim_paper", "ciede2000_a")

_RESAMPLES = 1000
_COLOUR_PIXELS = 20_000


def measure(case: Case, output: U8) -> Values:
    """Return every metric of :mod:`maskupe_training.metrics` for a result.

    Args:
        case: the case.
        output: uint8 (H, W, 3), what a method made of ``case.image``.
    """
    scale = np.float32(1.0 / 255.0)
    image, truth = case.image.astype(np.float32) * scale, case.truth.astype(np.float32) * scale
    result = output.astype(np.float32) * scale
    areas = case.areas
    exact = metrics.exactness(result, image, areas.c)
    return {
        "psnr_a": metrics.psnr(result, truth, areas.a),
        "psnr_a_gamma_aligned": metrics.psnr_after_exponent(result, truth, areas.a),
        "ssim_a": metrics.ssim_inside(result, truth, areas.a),
        "ssim_paper": metrics.ssim_masked(result, truth, areas.a),
        "ciede2000_a": ciede2000(result[areas.a], truth[areas.a]),
        **asdict(metrics.transition_quality(result, image, areas)),
        "largest_c": exact.largest,
        "share_c": exact.share,
    }


def ciede2000(found: F32, wanted: F32) -> float:
    """Return the mean colour difference ΔE00 (CIE 142-2001) of sRGB pixels, (n, 3) in 0…1.

    About 1 is just noticeable; white is D65. Of more than 20,000 pixels so many are looked at,
    spread evenly.
    """
    every = max(1, len(found) // _COLOUR_PIXELS)
    one, other = rgb2lab(found[::every]), rgb2lab(wanted[::every])
    return float(np.mean(deltaE_ciede2000(one, other)))  # type: ignore[no-untyped-call]


def summarise(
    rows: Sequence[Values], reference: Sequence[Values] | None, scenes: Sequence[int]
) -> dict[str, object]:
    """Return means over cases, intervals for PSNR in A, and the paired difference to a reference.

    Args:
        rows: one method's values per case.
        reference: the reference's, in the same order; ``None`` for no difference.
        scenes: the scene of each case, for the intervals; see :func:`interval`.
    """
    psnr = np.array([row["psnr_a"] for row in rows])
    summary: dict[str, object] = {"n": len(rows)}
    for name in COLUMNS:
        values = np.array([row[name] for row in rows])
        known = values[np.isfinite(values)]
        summary[name] = float(known.mean()) if known.size else None
    # The worst case is what an exact C must be judged by.
    summary["largest_c"] = float(max(row["largest_c"] for row in rows))
    summary["psnr_a_interval"] = interval(psnr, scenes)
    if reference is not None:
        difference = psnr - np.array([row["psnr_a"] for row in reference])
        summary["psnr_a_gain"] = float(difference.mean())
        summary["psnr_a_gain_interval"] = interval(difference, scenes)
    return summary


#: By kind of selection: how many cases there are, ``n``, and every method's means in A.
Kinds: TypeAlias = dict[str, dict[str, Any]]


def by_kind(rows: Mapping[str, Sequence[Values]], kinds: Sequence[str]) -> Kinds:
    """Return for each kind of selection the number of cases and every method's means.

    Args:
        rows: per method its values per case.
        kinds: the kind of selection of each case.

    Returns:
        By kind ``n``, and by method the means of the metrics of :data:`OF_A`.
    """
    found: Kinds = {}
    for kind in dict.fromkeys(kinds):
        own = [i for i, other in enumerate(kinds) if other == kind]
        found[kind] = {"n": len(own)} | {
            method: {name: float(np.mean([values[i][name] for i in own])) for name in OF_A}
            for method, values in rows.items()
        }
    return found


def interval(values: Numbers, scenes: Sequence[int]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval (BCa) of the mean; a point for one scene or equal values.

    Whole scenes are drawn, 1000 times, seeded: cases of one scene are alike, and to draw them one
    by one would pass them off as more evidence than they are.

    Args:
        values: one per case.
        scenes: the scene of each.
    """
    _, index = np.unique(np.asarray(scenes), return_inverse=True)
    count = np.bincount(index)
    if len(count) < 2 or float(np.ptp(values)) == 0.0:
        mean = float(values.mean())
        return mean, mean

    def mean_of(sums: Numbers, counts: Numbers, axis: int = -1) -> Numbers:
        return np.asarray(sums.sum(axis=axis) / counts.sum(axis=axis))

    found = stats.bootstrap(
        (np.bincount(index, values), count.astype(float)),
        mean_of,
        paired=True,
        vectorized=True,
        n_resamples=_RESAMPLES,
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)
