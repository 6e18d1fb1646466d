"""The conditioned network f(image, areas) around a transformed g()."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from maskupe.conditioning.mask_context import mask_scope
from maskupe.networks.base import GlobalNetwork, LocalNetwork


class ConditionedNetwork(LocalNetwork):
    """f() around one of our networks, with its ``predict`` and ``apply``.

    Attributes:
        network: g(), with the layers replaced that see the mask.
        conditioning: ``"mconcat"`` or ``"mnorm"``.
    """

    def __init__(self, network: GlobalNetwork, conditioning: str) -> None:
        super().__init__()
        self.network = network
        self.conditioning = conditioning
        self.map_type = network.map_type

    def predict(self, low: Tensor, areas_low: Tensor) -> tuple[Tensor, ...]:
        """See :meth:`LocalNetwork.predict`."""
        with mask_scope(areas_low):
            return self.network.predict(low)


class ConditionedModule(nn.Module):
    """f() around any other module: f(image, areas, …) is g(image, …) with the mask in place.

    Attributes:
        network: g(), with the layers replaced that see the mask.
        conditioning: ``"mconcat"`` or ``"mnorm"``.
    """

    def __init__(self, network: nn.Module, conditioning: str) -> None:
        super().__init__()
        self.network = network
        self.conditioning = conditioning

    def forward(self, image: Tensor, areas: Tensor, *args: Any, **kwargs: Any) -> Any:
        """What g() returns for the image, with areas float (N, k, H, W) carried to its layers."""
        with mask_scope(areas):
            return self.network(image, *args, **kwargs)


def conditioned(network: nn.Module, conditioning: str) -> ConditionedNetwork | ConditionedModule:
    """Wrap a transformed network in the class that fits it."""
    if isinstance(network, GlobalNetwork):
        return ConditionedNetwork(network, conditioning)
    return ConditionedModule(network, conditioning)


def replace_submodule(network: nn.Module, name: str, replacement: nn.Module) -> None:
    """Put a module in place of the submodule with that dotted name."""
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, replacement)
