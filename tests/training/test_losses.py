"""The loss against a literal, slow transcription of the paper's formulas, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from maskupe.errors import InputError
from maskupe.networks.apply import Enhanced
from maskupe_training.losses import (
    MaskedLoss,
    area_mean,
    colour_angle,
    deepupe_smoothness,
    gradient_smoothness,
)
from maskupe_training.recipe import LossRecipe

S, EPS, GUARD = 1.2, 1e-4, 1e-4


def batch(
    seed: int = 0, size: int = 9
) -> tuple[Enhanced, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(2, 3, size, size, generator=generator) * 0.4
    illumination = (image + torch.rand(2, 3, size, size, generator=generator)).clamp(0.05, 1)
    target = torch.rand(2, 3, size, size, generator=generator)
    areas = torch.zeros(2, 2, size, size)
    areas[0, 0, 1:5, 2:7] = 1
    areas[0, 1, 5:7, 2:7] = 1
    areas[1, 0, 4:, 4:] = 1
    areas[1, 1, 2:4, 3:] = 1
    return Enhanced(image / illumination, illumination, ()), image, target, areas


def second(f: np.ndarray, y: int, x: int, which: str) -> float:
    """One second derivative at a pixel; 0 where its stencil leaves the image."""
    height, width = f.shape
    if which == "xx":
        return f[y, x + 1] - 2 * f[y, x] + f[y, x - 1] if 0 < x < width - 1 else 0.0
    if which == "yy":
        return f[y + 1, x] - 2 * f[y, x] + f[y - 1, x] if 0 < y < height - 1 else 0.0
    if y == height - 1 or x == width - 1:
        return 0.0
    return f[y + 1, x + 1] - f[y + 1, x] - f[y, x + 1] + f[y, x]


def slow_b(smoothed: np.ndarray, image: np.ndarray, area: np.ndarray) -> float:
    """Eq. (3) and (4) for one image, as a mean over pixels and channels, over the coverage."""
    channels, height, width = smoothed.shape
    total = 0.0
    for c in range(channels):
        log_image = np.log(image[c].astype(np.float64) + GUARD)
        for y in range(height):
            for x in range(width):
                if not area[y, x]:
                    continue
                for which in ("xx", "yy", "xy", "yx"):
                    omega = 1 / (abs(second(log_image, y, x, which)) ** S + EPS)
                    total += omega * second(smoothed[c].astype(np.float64), y, x, which) ** 2
    return total / (channels * height * width) / area.mean()


def slow_smoothness(s: np.ndarray, image: np.ndarray, area: np.ndarray) -> float:
    gray = np.tensordot([0.2989, 0.587, 0.114], image.astype(np.float64), 1)
    log_gray = np.log(gray + 1e-4)
    total = 0.0
    _, height, width = s.shape
    for y in range(height - 1):
        for x in range(width - 1):
            if not area[y, x]:
                continue
            wx = 1.5 / (abs(log_gray[y, x + 1] - log_gray[y, x]) ** 1.2 + 1e-4)
            wy = 1.5 / (abs(log_gray[y + 1, x] - log_gray[y, x]) ** 1.2 + 1e-4)
            for c in range(3):
                dx = float(s[c, y, x + 1]) - float(s[c, y, x])
                dy = float(s[c, y + 1, x]) - float(s[c, y, x])
                total += 0.5 * (wx * dx**2 + wy * dy**2) / 3
    return total / (height * width) / area.mean()


def slow_angle(out: np.ndarray, target: np.ndarray, area: np.ndarray) -> float:
    total = 0.0
    for y, x in np.argwhere(area):
        p, q = out[:, y, x].astype(np.float64), target[:, y, x].astype(np.float64)
        total += 1 - p @ q / (np.linalg.norm(p) * np.linalg.norm(q))
    return total / area.size / area.mean()


def slow_pixels(difference: np.ndarray, area: np.ndarray) -> float:
    return float((difference.astype(np.float64).mean(0) * area).mean() / area.mean())


@pytest.mark.parametrize("target_name", ["illumination", "image", "gain"])
def test_the_whole_loss_agrees_with_the_literal_formulas(target_name: str) -> None:
    enhanced, image, target, areas = batch()
    loss = MaskedLoss(LossRecipe("deepupe", 1.5, 0.002, 0.7, target_name))(
        enhanced, image, target, areas
    )
    assert enhanced.illumination is not None
    delta = 4 / 255
    smoothed = {
        "illumination": enhanced.illumination,
        "image": enhanced.image,
        "gain": torch.log((enhanced.image + delta) / (image + delta)),
    }[target_name]
    terms = []
    for i in range(2):
        out, dark, want = (t[i].numpy() for t in (enhanced.image, image, target))
        a, b = areas[i].numpy().astype(bool)
        l_a = slow_pixels((out - want) ** 2, a)
        l_a += 2 * slow_smoothness(enhanced.illumination[i].numpy(), dark, a)
        l_a += slow_angle(out, want, a)
        terms.append(
            (l_a, slow_b(smoothed[i].numpy(), dark, b), slow_pixels((out - dark) ** 2, ~(a | b)))
        )
    a, b, c = np.mean(terms, axis=0)
    assert float(loss["a"]) == pytest.approx(a, rel=1e-3)
    assert float(loss["b"]) == pytest.approx(b, rel=1e-3)
    assert float(loss["c"]) == pytest.approx(c, rel=1e-4)
    assert float(loss["total"]) == pytest.approx(1.5 * a + 0.002 * b + 0.7 * c, rel=1e-3)


def test_parts_of_a_add_up() -> None:
    enhanced, image, target, areas = batch(1)
    loss = MaskedLoss(LossRecipe("deepupe", smooth_target="illumination"))(
        enhanced, image, target, areas
    )
    parts = [value for name, value in loss.items() if name.startswith("a_")]
    assert len(parts) == 3
    assert float(sum(parts)) == pytest.approx(float(loss["a"]), rel=1e-6)


def test_l1_by_hand() -> None:
    image = torch.zeros(1, 3, 5, 5)
    out, target, areas = image.clone(), image.clone(), torch.zeros(1, 2, 5, 5)
    areas[0, 0, 1, 1:3] = 1
    # One pixel of A misses by 0.3 in one channel, the other is right; outside of A all is free.
    target[0, 0, 1, 1] = 0.3
    target[0, :, 4] = 0.9
    out[0, 1, 0, 0] = 0.2
    loss = MaskedLoss(LossRecipe("l1", smooth_target="image"))(
        Enhanced(out, None, ()), image, target, areas
    )
    assert float(loss["a"]) == pytest.approx(0.3 / 3 / 2)
    assert float(loss["c"]) == pytest.approx(0.2**2 / 3 / 23)
    assert float(loss["b"]) == 0.0


def test_gradient_smoothness_by_hand() -> None:
    # A flat image: every ω is 1/ε = 10,000. One bright spot in the middle of the map.
    image = torch.full((1, 1, 5, 5), 0.5)
    spot = torch.zeros(1, 1, 5, 5)
    spot[0, 0, 2, 2] = 0.1
    loss = gradient_smoothness(spot, image)[0] / 1e4
    # xx: -2 at the spot, 1 at its sides; yy alike; the mixed one ±1 at the four pixels up-left.
    expected = torch.zeros(5, 5)
    expected[2, 2] = 4 + 4 + 2
    expected[2, 1] = expected[1, 2] = 1 + 2
    expected[2, 3] = expected[3, 2] = 1
    expected[1, 1] = 2
    assert torch.allclose(loss, expected * 0.01, atol=1e-6)
    # An edge of a factor e in the input at the same place releases it there.
    edge = image.clone()
    edge[..., 3:] = 0.5 * math.e
    released = gradient_smoothness(spot, edge)[0] / 1e4
    assert float(released[2, 3]) == pytest.approx(0.01 / (1 + 1e-4) / 1e4, rel=1e-2)


def test_ramps_are_free_and_kinks_are_not() -> None:
    image = torch.full((1, 3, 5, 5), 0.2)
    ramp = torch.linspace(0.2, 1, 5).expand(1, 3, 5, 5)
    assert torch.all(gradient_smoothness(ramp, image) < 1e-8)
    step = (ramp > 0.5).float()
    assert torch.all(gradient_smoothness(step, image)[0, :, 1:3] > 1)


def test_deepupe_smoothness_by_hand() -> None:
    image = torch.full((1, 3, 5, 5), 0.5)
    column = torch.zeros(1, 3, 5, 5)
    column[..., 3:] = 0.1
    loss = deepupe_smoothness(column, image)[0]
    expected = torch.zeros(5, 5)
    expected[:4, 2] = 0.5 * 1.5 / 1e-4 * 0.01
    assert torch.allclose(loss, expected, rtol=1e-4)


def test_colour_angle_by_hand() -> None:
    red, mixed = torch.tensor([0.4, 0, 0]), torch.tensor([0.1, 0.1, 0])
    angle = colour_angle(red.view(1, 3, 1, 1), mixed.view(1, 3, 1, 1))
    assert float(angle) == pytest.approx(1 - math.sqrt(0.5), rel=1e-5)
    assert float(colour_angle(torch.zeros(1, 3, 1, 1), red.view(1, 3, 1, 1))) == 1.0


@pytest.mark.parametrize("empty", ["a", "b", "c"])
def test_an_empty_area_contributes_exactly_nothing(empty: str) -> None:
    enhanced, image, target, areas = batch(2)
    a, b = areas[:, 0].clone(), areas[:, 1].clone()
    if empty == "a":
        a.zero_()
    elif empty == "b":
        b.zero_()
    else:
        a = 1 - b
    assert enhanced.illumination is not None
    leaf = enhanced.illumination.clone().requires_grad_()
    loss = MaskedLoss(LossRecipe("deepupe", smooth_target="illumination"))(
        Enhanced(image / leaf, leaf, ()), image, target, torch.stack([a, b], 1)
    )
    assert float(loss[empty].detach()) == 0.0
    loss["total"].backward()
    assert leaf.grad is not None and torch.all(torch.isfinite(leaf.grad))
    assert all(float(loss[name].detach()) > 0 for name in "abc" if name != empty)


def test_coverage_makes_areas_equal() -> None:
    loss = torch.full((1, 10, 10), 3.0)
    small, large = torch.zeros(1, 10, 10), torch.zeros(1, 10, 10)
    small[0, 0, 0] = 1
    large[0, :9] = 1
    assert float(area_mean(loss, small)) == pytest.approx(3.0)
    assert float(area_mean(loss, large)) == pytest.approx(3.0)
    outside = torch.where(large > 0, loss, torch.full_like(loss, float("inf")))
    assert float(area_mean(outside, large)) == pytest.approx(3.0)


def test_black_input_gives_finite_gradients() -> None:
    image, areas = torch.zeros(1, 3, 6, 6), torch.zeros(1, 2, 6, 6)
    areas[0, 0, :3] = 1
    areas[0, 1, 3:5] = 1
    leaf = torch.full((1, 3, 6, 6), 0.3, requires_grad=True)
    for base in ("deepupe", "l1-cosine", "mse"):
        for target in ("illumination", "gain", "image"):
            loss = MaskedLoss(LossRecipe(base, smooth_target=target))(
                Enhanced(image / leaf, leaf, ()), image, image, areas
            )
            (gradient,) = torch.autograd.grad(loss["total"], leaf)
            assert torch.all(torch.isfinite(gradient))


def test_two_areas_is_the_papers_ablation() -> None:
    enhanced, image, target, areas = batch(3)
    loss = MaskedLoss(LossRecipe("l1", 1, 1, 1, "image", two_areas=True))(
        enhanced, image, target, areas
    )
    not_a = (areas[:, 0] == 0).numpy()
    difference = ((enhanced.image - image) ** 2).numpy()
    expected = np.mean([slow_pixels(difference[i], not_a[i]) for i in range(2)])
    assert float(loss["b"]) == 0.0
    assert float(loss["c"]) == pytest.approx(expected, rel=1e-5)


def test_unknown_choices_are_refused_in_words() -> None:
    with pytest.raises(InputError, match=r"loss\.base is 'l3'"):
        LossRecipe("l3")
    with pytest.raises(InputError, match=r"loss\.smooth_target is 'hue'"):
        LossRecipe("l1", smooth_target="hue")
    with pytest.raises(InputError, match="beta"):
        LossRecipe("l1", beta=-1.0)
    enhanced, image, target, areas = batch()
    with pytest.raises(InputError, match="illumination map"):
        loss = MaskedLoss(LossRecipe("l1", smooth_target="illumination"))
        loss(enhanced._replace(illumination=None), image, target, areas)
