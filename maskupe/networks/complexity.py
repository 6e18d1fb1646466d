"""How large a model is and how much it computes, for ``maskupe models``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from maskupe.context import NETWORK_SIZE
from maskupe.networks.base import LocalNetwork
from maskupe.networks.build import build
from maskupe.registry import ModelConfig


@dataclass(frozen=True)
class Complexity:
    """The size of a model.

    Attributes:
        parameters: trainable parameters.
        multiply_adds: of one prediction at 256×256 (convolutions, matrix products, attention;
            the full-size stage is not counted, it depends on the photograph).
    """

    parameters: int
    multiply_adds: int


def complexity(config: ModelConfig) -> Complexity:
    """Counts by building the network and running it once."""
    network = build(config).eval()
    context = torch.zeros(1, 3, NETWORK_SIZE, NETWORK_SIZE)
    areas = torch.zeros(1, 2, NETWORK_SIZE, NETWORK_SIZE)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        if isinstance(network, LocalNetwork):
            network.predict(context, areas)
        else:
            network.predict(context)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Complexity(parameters, int(counter.get_total_flops()) // 2)
