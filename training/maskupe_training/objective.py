"""Network and loss as one module, so that one forward call serves every way of running it."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskupe.inference.build import Network
from maskupe.networks.apply import Enhanced
from maskupe.networks.base import LocalNetwork, low_resolution
from maskupe_training.losses import MaskedLoss, area_mean
from maskupe_training.recipe import LossRecipe


class Objective(nn.Module):
    """Loss of a batch under the network; calls global networks without the areas.

    Args:
        network: what is trained.
        loss: the recipe's loss.
        stride: the maps are predicted from the picture itself, but applied to and judged on the
            picture averaged over ``stride`` × ``stride`` pixels, which costs less; 1 judges the
            picture itself.
    """

    def __init__(self, network: Network, loss: LossRecipe, stride: int = 1) -> None:
        super().__init__()
        self.network = network
        self._stride = stride
        self._loss = MaskedLoss(loss)

    def forward(self, image: Tensor, areas: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the terms of the loss, and the PSNR in A, as scalars.

        Args:
            image: float (N, 3, H, W), display-encoded 0…1.
            areas: float (N, 2, H, W), A and B.
            target: float (N, 3, H, W).
        """
        maps = predict(self.network, image, areas)
        # Half precision is for the network: logarithms and second derivatives need all bits.
        with torch.autocast(image.device.type, enabled=False):
            image, areas, target = (reduced(full, self._stride) for full in (image, areas, target))
            enhanced = self.network.apply(maps, image, areas)
            terms = self._loss(enhanced, image, target, areas)
            with torch.no_grad():
                terms["psnr_a"] = psnr_in(enhanced.image, target, areas[:, 0]).mean()
        return terms


def reduced(planes: Tensor, stride: int) -> Tensor:
    """Return planes (N, C, H, W) averaged over areas to H / stride × W / stride, rounded down.

    Averages keep the pixels' centres where the maps are sampled; every ``stride``-th pixel would
    lie ``(stride - 1) / 2`` pixels beside them, and give the smoothness terms aliased derivatives.
    Areas become shares, by which a pixel counts in each of them.
    """
    if stride == 1:
        return planes
    size = (planes.shape[2] // stride, planes.shape[3] // stride)
    return F.interpolate(planes, size, mode="area")


def predict(network: Network, image: Tensor, areas: Tensor) -> tuple[Tensor, ...]:
    """Return the maps' tensors of a global or a local network."""
    low = low_resolution(image)
    if isinstance(network, LocalNetwork):
        return network.predict(low, low_resolution(areas))
    return network.predict(low)


def enhance(network: Network, image: Tensor, areas: Tensor) -> Enhanced:
    """Return what a global or a local network makes of images in areas."""
    enhanced = network.apply(predict(network, image, areas), image, areas)
    assert isinstance(enhanced, Enhanced)
    return enhanced


def psnr_in(image: Tensor, target: Tensor, area: Tensor) -> Tensor:
    """Return PSNR in dB per image over an area, (N,); the image is clipped to 0…1, peak 1.

    Args:
        image: float (N, 3, H, W).
        target: float (N, 3, H, W).
        area: float (N, H, W), 1 in the area.
    """
    squared = (image.clamp(0.0, 1.0) - target).square().mean(1)
    errors = [area_mean(squared[i : i + 1], area[i : i + 1]) for i in range(len(image))]
    return -10.0 * torch.log10(torch.stack(errors).clamp(min=1e-10))
