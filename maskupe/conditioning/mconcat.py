"""MConcat, the paper's Method 1: the mask as further input channels next to the image."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from maskupe.conditioning.local import (
    ConditionedModule,
    ConditionedNetwork,
    conditioned,
    replace_submodule,
)
from maskupe.conditioning.mask_context import mask_at

#: Side of the image with which a foreign network is tried out, in pixels.
_PROBE = 256


class MConcatConv2d(nn.Conv2d):
    """A convolution that appends the carried mask to its input.

    Args:
        conv: the convolution to grow; its weights are copied, those for the mask are zero, so
            that it starts as what it was.
        channels: k, the number of the mask's channels.
    """

    def __init__(self, conv: nn.Conv2d, channels: int) -> None:
        if conv.groups != 1:
            raise ValueError("MConcat cannot grow a grouped convolution: the mask has no group.")
        same = ("out_channels", "kernel_size", "stride", "padding", "dilation", "padding_mode")
        options: dict[str, Any] = {name: getattr(conv, name) for name in same}
        super().__init__(
            conv.in_channels + channels,
            bias=conv.bias is not None,
            device=conv.weight.device,
            dtype=conv.weight.dtype,
            **options,
        )
        with torch.no_grad():
            self.weight.zero_()
            self.weight[:, : conv.in_channels] = conv.weight
            if self.bias is not None and conv.bias is not None:
                self.bias.copy_(conv.bias)
        self.train(conv.training)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve the input, (N, C, H, W), together with the mask averaged to its size."""
        mask = mask_at(input.shape[2], input.shape[3], input)
        return super().forward(torch.cat([input, mask], dim=1))


def mconcat(
    network: nn.Module, convs: Sequence[str] | None = None, channels: int = 2
) -> ConditionedNetwork | ConditionedModule:
    """Turn g() into f(): the convolutions that see the image also see the mask.

    At first f(I, M) = g(I) exactly, for any M.

    Args:
        network: g(), any module; it is copied, not changed.
        convs: names of the convolutions to grow. By default the network's ``image_convs``, or
            else the first convolution with three input channels that an image meets.
        channels: k, the number of the mask's channels (2 in the paper: A and B).

    Returns:
        A :class:`ConditionedNetwork` around one of our networks, else a :class:`ConditionedModule`.

    Raises:
        ValueError: if there is no such convolution, or it cannot be grown.
    """
    network = copy.deepcopy(network)
    names = tuple(convs) if convs is not None else tuple(getattr(network, "image_convs", ()))
    for name in names or (_first_image_conv(network),):
        conv = network.get_submodule(name)
        if not isinstance(conv, nn.Conv2d):
            raise ValueError(f"MConcat needs a Conv2d at {name!r}, not a {type(conv).__name__}.")
        replace_submodule(network, name, MConcatConv2d(conv, channels))
    return conditioned(network, "mconcat")


def _first_image_conv(network: nn.Module) -> str:
    """Return the convolution with three input channels that is called first."""
    candidates: dict[nn.Module, str] = {
        module: name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.in_channels == 3 and module.groups == 1
    }
    if not candidates:
        raise ValueError(
            "No convolution with three input channels was found. "
            "Name those that see the image: mconcat(g, convs=[...])."
        )
    if len(candidates) == 1:
        return next(iter(candidates.values()))
    # The order of definition says nothing about the order of calls, so try it out.
    called: list[str] = []
    hooks = [
        module.register_forward_pre_hook(lambda module, _: called.append(candidates[module]))
        for module in candidates
    ]
    weight = next(network.parameters())
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, _PROBE, _PROBE, device=weight.device, dtype=weight.dtype))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    if not called:
        raise ValueError(
            "None of the convolutions with three input channels was called on an image. "
            "Name those that see the image: mconcat(g, convs=[...])."
        )
    return called[0]
