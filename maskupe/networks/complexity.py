"""How large a network is and how much it computes, for ``maskupe models``."""

from __future__ import annotations

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from maskupe.networks.base import GlobalNetwork, LocalNetwork
from maskupe.preprocess.context import NETWORK_SIZE


def complexity(network: GlobalNetwork | LocalNetwork) -> dict[str, int]:
    """Count by running the network once, in evaluation mode.

    Returns:
        ``parameters`` that can be trained, and ``multiply_adds`` of one prediction at 256×256
        (convolutions, matrix products, attention; the full-size stage is not counted, it depends on
        the photograph).
    """
    device = next(network.parameters()).device
    context = torch.zeros(1, 3, NETWORK_SIZE, NETWORK_SIZE, device=device)
    areas = torch.zeros(1, 2, NETWORK_SIZE, NETWORK_SIZE, device=device)
    counter = FlopCounterMode(display=False)
    was_training = network.training
    network.eval()
    # The fused attention of the CPU is not counted; taken apart, it is two matrix products.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        if isinstance(network, LocalNetwork):
            network.predict(context, areas)
        else:
            network.predict(context)
    network.train(was_training)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {"parameters": parameters, "multiply_adds": int(counter.get_total_flops()) // 2}
