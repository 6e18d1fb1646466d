"""The paper's loss: Eq. (2) to (5), one term per area.

L = α · L_A / r_a + β · L_B / r_b + γ · L_C / r_c (the paper's last denominator, r_b again, is a
misprint). Each L is the mean over the *whole* image of a per-pixel loss that counts in its area
only, and r the share of the image that the area covers, so each quotient is the mean over the
area, and areas weigh the same whatever their size. An empty area contributes exactly 0.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from maskupe.errors import InputError
from maskupe.networks.apply import Enhanced
from maskupe.pixel_layout import GAIN_DELTA
from maskupe_training.recipe import LossRecipe

# Sensitivity and regularizer of the edge weights, Eq. (4); DeepUPE's smoothness has the same.
_SENSITIVITY = 1.2
_EPSILON = 1e-4
# Added before the logarithm of the input, as in DeepUPE's released graph: black is not -inf.
_LOG_GUARD = 1e-4
# Added to the mean squared error before its logarithm: an error of about two and a half levels.
_PSNR_GUARD = 1e-4
# DeepUPE's weights of reconstruction, smoothness and colour, and its λ inside the smoothness.
_DEEPUPE_WEIGHTS = (1.0, 2.0, 1.0)
_DEEPUPE_LAMBDA = 1.5
# STAR's optional colour term.
_STAR_COSINE_WEIGHT = 100.0


class MaskedLoss:
    """The three-area loss of Eq. (2)."""

    def __init__(self, recipe: LossRecipe) -> None:
        self._recipe = recipe

    def __call__(
        self, enhanced: Enhanced, image: Tensor, target: Tensor, areas: Tensor
    ) -> dict[str, Tensor]:
        """Return the loss of a batch.

        Args:
            enhanced: what the network made of the image.
            image: float (N, 3, H, W), the dark input, display-encoded 0…1.
            target: float (N, 3, H, W), the well-exposed reference; only what lies in A counts.
            areas: float (N, 2, H, W), A and B: 0 or 1, or the share of a pixel that lies in each.

        Returns:
            Scalars, each the mean over the batch: ``"total"``, ``"a"``, ``"b"``, ``"c"`` (the
            unweighted quotients L/r) and the parts of L_A as ``"a_…"``.
        """
        a, b = areas[:, 0], areas[:, 1]
        recipe = self._recipe
        if recipe.two_areas:
            b = torch.zeros_like(b)
        c = 1.0 - a - b
        if recipe.base == "psnr":
            terms = {"a_psnr": negative_psnr(enhanced.image, target, a)}
        else:
            terms = {
                f"a_{name}": area_mean(loss, a)
                for name, loss in self._base(enhanced, image, target).items()
            }
        terms["a"] = torch.stack(list(terms.values())).sum()
        terms["b"] = area_mean(gradient_smoothness(self._smoothed(enhanced, image), image), b)
        terms["c"] = area_mean((enhanced.image - image).square().mean(1), c)
        total = recipe.alpha * terms["a"] + recipe.beta * terms["b"] + recipe.gamma * terms["c"]
        return {"total": total, **terms}

    def _base(self, enhanced: Enhanced, image: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the parts of L_A, weighted, as per-pixel losses (N, H, W)."""
        out, base = enhanced.image, self._recipe.base
        if base == "mse":
            return {"mse": (out - target).square().mean(1)}
        if base == "l1":
            return {"l1": (out - target).abs().mean(1)}
        if base == "l1-cosine":
            return {
                "l1": (out - target).abs().mean(1),
                "cosine": _STAR_COSINE_WEIGHT * colour_angle(out, target),
            }
        reconstruction, smooth, colour = _DEEPUPE_WEIGHTS
        illumination = _illumination(enhanced, "The DeepUPE loss")
        return {
            "mse": reconstruction * (out - target).square().mean(1),
            "smooth": smooth * deepupe_smoothness(illumination, image),
            "cosine": colour * colour_angle(out, target),
        }

    def _smoothed(self, enhanced: Enhanced, image: Tensor) -> Tensor:
        if self._recipe.smooth_target == "image":
            return enhanced.image
        if self._recipe.smooth_target == "gain":
            bright = enhanced.image.clamp(min=0.0) + GAIN_DELTA
            return torch.log(bright / (image.clamp(min=0.0) + GAIN_DELTA))
        return _illumination(enhanced, "The smoothness target 'illumination'")


def _illumination(enhanced: Enhanced, who: str) -> Tensor:
    if enhanced.illumination is None:
        raise InputError(
            f"{who} needs an illumination map, which this network does not predict.",
            "Use the base 'l1' with the smoothness target 'image' or 'gain'.",
        )
    return enhanced.illumination


def area_mean(loss: Tensor, area: Tensor) -> Tensor:
    """Return mean over the image of the loss in the area, divided by the coverage.

    Then over the batch.

    Args:
        loss: float (N, H, W), per pixel.
        area: float (N, H, W), 1 in the area, or a share. Where it is empty the image contributes
            exactly 0.
    """
    coverage = area.mean(dim=(1, 2))
    # `where` rather than a product: what is infinite outside of the area must not become NaN.
    masked = torch.where(area > 0, loss * area, torch.zeros_like(loss)).mean(dim=(1, 2))
    return (masked / coverage.where(coverage > 0, torch.ones_like(coverage))).mean()


def negative_psnr(image: Tensor, target: Tensor, area: Tensor) -> Tensor:
    """Return minus the PSNR in dB over an area, averaged over the batch; 0 for an empty area.

    Args:
        image: float (N, 3, H, W), display-encoded.
        target: float (N, 3, H, W).
        area: float (N, H, W), 1 in the area.
    """
    pixels = area.sum(dim=(1, 2))
    squared = ((image - target).square().mean(1) * area).sum(dim=(1, 2)) / pixels.clamp(min=1.0)
    # The guard keeps the few cases that come out near exact from ruling the gradient.
    decibel = 10.0 * torch.log10(squared + _PSNR_GUARD)
    return torch.where(pixels > 0, decibel, torch.zeros_like(decibel)).mean()


def gradient_smoothness(smoothed: Tensor, image: Tensor) -> Tensor:
    """The summand of L_B, Eq. (3), per pixel: second derivatives, weighted by the image's own.

    Args:
        smoothed: float (N, 3, H, W), the illumination map or what stands for it.
        image: float (N, 3, H, W), the dark input.

    Returns:
        float (N, H, W): the sum over xx, xy, yx and yy, averaged over the channels; 0 where a
        derivative's stencil leaves the image.
    """
    log_image = torch.log(image.clamp(min=0.0) + _LOG_GUARD)
    total = torch.zeros_like(smoothed)
    # The mixed derivative occurs twice, as xy and as yx.
    for derivative, times in ((_along_x, 1.0), (_along_y, 1.0), (_mixed, 2.0)):
        edge = derivative(log_image).abs()
        total = total + times * _edge_weight(edge) * derivative(smoothed).square()
    return total.mean(1)


def _edge_weight(derivative: Tensor) -> Tensor:
    """Return ω of Eq. (4): (|∂ log I|^s + ε)^-1."""
    return 1.0 / (derivative**_SENSITIVITY + _EPSILON)


def _along_x(f: Tensor) -> Tensor:
    """Return ∂x∂x as f(x+1) - 2 f(x) + f(x-1)."""
    return F.pad(f[..., 2:] - 2.0 * f[..., 1:-1] + f[..., :-2], (1, 1, 0, 0))


def _along_y(f: Tensor) -> Tensor:
    """Return ∂y∂y as f(y+1) - 2 f(y) + f(y-1)."""
    return F.pad(f[..., 2:, :] - 2.0 * f[..., 1:-1, :] + f[..., :-2, :], (0, 0, 1, 1))


def _mixed(f: Tensor) -> Tensor:
    """Return ∂x∂y as forward difference of forward differences."""
    along = f[..., 1:] - f[..., :-1]
    return F.pad(along[..., 1:, :] - along[..., :-1, :], (0, 1, 0, 1))


def deepupe_smoothness(illumination: Tensor, image: Tensor) -> Tensor:
    """Return DeepUPE's smoothness per pixel, (N, H, W), with the constants of its released graph.

    ½ (w_x (∂x S)² + w_y (∂y S)²) with w = 1.5 / (|∂ L|^1.2 + 1e-4) and L = log(gray(I) + 1e-4),
    forward differences; 0 in the last row and column, which have no neighbour.
    """
    gray_weights = image.new_tensor([0.2989, 0.587, 0.114]).view(1, 3, 1, 1)
    log_gray = torch.log((image * gray_weights).sum(1, keepdim=True).clamp(min=0.0) + _LOG_GUARD)
    total = torch.zeros_like(illumination[..., :-1, :-1])
    for dy, dx in ((0, 1), (1, 0)):
        edge = _forward(log_gray, dy, dx).abs()
        weight = _DEEPUPE_LAMBDA * _edge_weight(edge)
        total = total + weight * _forward(illumination, dy, dx).square()
    return F.pad(0.5 * total.mean(1), (0, 1, 0, 1))


def _forward(f: Tensor, dy: int, dx: int) -> Tensor:
    """Return difference to the neighbour, on all pixels but the last row and column."""
    height, width = f.shape[-2:]
    return f[..., dy : height - 1 + dy, dx : width - 1 + dx] - f[..., :-1, :-1]


def colour_angle(image: Tensor, target: Tensor) -> Tensor:
    """Return 1 - cos of the angle between RGB vectors, per pixel (N, H, W).

    1 where one is black.
    """

    def unit(x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().sum(1, keepdim=True).clamp(min=1e-12))

    return 1.0 - (unit(image) * unit(target)).sum(1)
