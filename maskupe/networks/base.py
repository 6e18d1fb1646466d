"""What every network of ours is: a prediction at low resolution and maps applied at full size.

A *global* network enhances the whole image, the paper's g(); a *local* one also sees the areas,
the paper's f(). Both predict from 256×256 and hand over :mod:`maskupe.maps`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskupe.networks.apply import Enhanced, apply_maps
from maskupe.preprocess.context import NETWORK_SIZE


def low_resolution(planes: Tensor) -> Tensor:
    """Return (N, C, H, W) averaged over areas to (N, C, 256, 256)."""
    size = (NETWORK_SIZE, NETWORK_SIZE)
    if tuple(planes.shape[-2:]) == size:
        return planes
    return F.interpolate(planes, size, mode="area")


class _MapNetwork(nn.Module):
    """What global and local networks share.

    Attributes:
        map_type: the type of map that ``predict`` returns.
    """

    map_type: type

    def apply(
        self,
        maps: Sequence[Tensor] | Callable[[nn.Module], None],
        image: Tensor | None = None,
        areas: Tensor | None = None,
        degree: float = 1.0,
        strength: float = 1.0,
    ) -> Any:
        """Apply predicted maps to a full-size image: :func:`~maskupe.networks.apply.apply_maps`.

        With a single function it is ``torch.nn.Module.apply``, which this name would hide.
        """
        if image is None:
            return super().apply(cast(Callable[[nn.Module], None], maps))
        assert not callable(maps)
        return apply_maps(self.map_type, maps, image, areas, degree, strength)


class GlobalNetwork(_MapNetwork):
    """A network g() that enhances the whole image.

    Attributes:
        image_convs: names of the submodules, all convolutions, that see the image; MConcat
            appends the mask to their inputs.
        norm_places: names of the norms that MNorm may take over, by the name of the choice.
    """

    image_convs: ClassVar[tuple[str, ...]] = ()
    norm_places: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    @abstractmethod
    def predict(self, low: Tensor) -> tuple[Tensor, ...]:
        """The maps' tensors from the image at low resolution, float (N, 3, 256, 256) in 0…1."""

    def forward(self, image: Tensor) -> Enhanced:
        """Enhance float (N, 3, H, W), display-encoded 0…1, of any size."""
        return apply_maps(self.map_type, self.predict(low_resolution(image)), image)


class LocalNetwork(_MapNetwork):
    """A network f() that enhances what the areas say."""

    @abstractmethod
    def predict(self, low: Tensor, areas_low: Tensor) -> tuple[Tensor, ...]:
        """The maps' tensors from (N, 3, 256, 256) and the areas A, B as (N, 2, 256, 256) in 0…1."""

    def forward(self, image: Tensor, areas: Tensor) -> Enhanced:
        """Enhance float (N, 3, H, W) in the areas A and B, float (N, 2, H, W)."""
        maps = self.predict(low_resolution(image), low_resolution(areas))
        return apply_maps(self.map_type, maps, image, areas)
