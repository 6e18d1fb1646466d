"""The matting network: its start, and the colour likelihoods that it is told."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from maskupe.matting.matte import network_planes, signed_distance
from maskupe.networks.matting import Matting, likelihood_ratio

_SIDE = 96


def _scene() -> tuple[np.ndarray, np.ndarray]:
    """A red disc before green, and a loop that is drawn too wide: planes (5, n, n), the disc."""
    y, x = np.mgrid[:_SIDE, :_SIDE]
    radius = np.hypot(y - 50, x - 45)
    disc = radius < 20
    noise = np.random.default_rng(0).normal(0, 0.01, (_SIDE, _SIDE, 3))
    colour = np.where(disc[..., None], (0.30, 0.15, 0.15), (0.15, 0.30, 0.15)) + noise
    selection = (radius < 26).astype(np.float32)
    return network_planes(
        np.clip(colour, 0, 1).astype(np.float32), selection, signed_distance(selection)
    ), disc


def _octaves(planes: np.ndarray) -> np.ndarray:
    logs = np.log2(planes[:3] * 255 + 2)
    return np.stack([logs.mean(0), logs[0] - logs[1], logs[2] - logs[1]])


def test_it_starts_as_the_ramp_of_the_selection_itself():
    planes, _ = _scene()
    padded = np.pad(planes, ((0, 0), (0, 256 - _SIDE), (0, 256 - _SIDE)), mode="edge")
    matte, opened, exact = Matting().eval()(torch.from_numpy(padded[None]))[0].detach().numpy()
    assert np.allclose(matte, 1 / (1 + np.exp(-6.0 * padded[4])), atol=1e-5)
    assert opened.max() < 0.2 and exact.max() < 0.2


def test_what_a_loop_is_drawn_around_is_told_by_its_colour():
    planes, disc = _scene()
    stack = np.stack([planes, planes[:, ::-1]])
    colour = np.stack([_octaves(part) for part in stack])
    got = likelihood_ratio(torch.from_numpy(colour), torch.from_numpy(stack[:, 4:5]))
    assert got.shape == (2, 1, _SIDE, _SIDE)
    ratio = got[0, 0].numpy()
    # The rim between loop and disc is selected, and yet it is not what the loop is around.
    rim = (planes[3] > 0.5) & ~disc
    assert rim.sum() > 500 and (ratio[rim] < 0).mean() > 0.99
    assert (ratio[disc] > 0).all() and np.abs(ratio).max() <= 1.0
    assert np.allclose(ratio, got[1, 0].numpy()[::-1], atol=1e-5)


def test_the_ratio_is_that_of_two_blurred_histograms():
    planes, _ = _scene()
    colour, distance = _octaves(planes), planes[4]
    got = likelihood_ratio(torch.from_numpy(colour[None]), torch.from_numpy(distance[None, None]))
    bins, low, high = (48, 24, 24), (1.0, -1.5, -1.5), (8.1, 1.5, 1.5)
    edges = [np.linspace(a, b, n + 1) for a, b, n in zip(low, high, bins, strict=True)]
    points = colour.reshape(3, -1).T
    shares = []
    for side in (distance, -distance):
        weight = np.clip(side / 0.2, 0, 1) + 0.02 * (side > 0)
        histogram, _ = np.histogramdd(points, edges, weights=weight.ravel())
        blurred = gaussian_filter(histogram, 1.5, mode="constant", truncate=8)
        shares.append(blurred / blurred.sum() + 1e-5)
    ratio = np.log(shares[0] / shares[1]) / 4.0
    at = tuple(np.digitize(points[:, axis], edges[axis][1:-1]) for axis in range(3))
    wanted = np.clip(ratio[at], -1, 1).reshape(_SIDE, _SIDE)
    assert np.abs(got[0, 0].numpy() - wanted).max() < 5e-3


def test_a_selection_of_everything_or_nothing_has_a_finite_answer():
    image = np.full((_SIDE, _SIDE, 3), 0.2, np.float32)
    for value in (0.0, 1.0):
        selection = np.full((_SIDE, _SIDE), value, np.float32)
        planes = network_planes(image, selection, signed_distance(selection))
        assert np.isfinite(signed_distance(selection)).all()
        got = likelihood_ratio(
            torch.from_numpy(_octaves(planes)[None]), torch.from_numpy(planes[None, 4:5])
        )
        assert torch.isfinite(got).all()
