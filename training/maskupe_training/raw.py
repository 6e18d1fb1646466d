"""The network alone: f(I, M) as the paper measures it, without the product's blending."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from maskupe.areas.transition import Areas
from maskupe.errors import InputError
from maskupe.inference.build import Network, load
from maskupe.registry import given_file, resolve, weights_path
from maskupe_training.data.images import F32, U8
from maskupe_training.objective import predict


def weight_file(model: str) -> Path:
    """Return the path of a model's weights.

    Args:
        model: a registry name, or the path of a weight file.

    Raises:
        InputError: if the model's weights are not installed.
        UnknownModelError: for a name that is not in the registry.
    """
    path = given_file(model) or weights_path(resolve(model))
    if path is None:
        raise InputError(f"The weights of {model!r} are not installed.", "Give a .safetensors.")
    return path


def load_network(model: str) -> Network:
    """Load a model's network, in evaluation mode; for arguments and errors see above."""
    _, network, _ = load(weight_file(model))
    return network


@torch.no_grad()
def raw_results(
    network: Network, image: U8, areas: Areas, degrees: tuple[float, ...] = (1.0,)
) -> list[F32]:
    """Return f(I, M), or g(I) of a global network, at each degree: float32 (H, W, 3) in 0…1.

    Nothing restricts it to the areas: what it does to B and C is seen.

    Args:
        network: as :func:`load_network` gives it.
        image: uint8 (H, W, 3), display-encoded.
        areas: A and B, the mask's two channels.
        degrees: the paper's coefficient of the illumination or of the curves; 1 is the proposal.
    """
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255.0
    shares = torch.from_numpy(areas.channels())[None]
    maps = predict(network, pixels, shares)
    results = []
    for degree in degrees:
        bright = network.apply(maps, pixels, shares, degree=degree).image[0]
        results.append(bright.clamp(0.0, 1.0).permute(1, 2, 0).contiguous().numpy())
    return results


def as_u8(picture: F32) -> U8:
    """Return round a picture in 0…1 to 8 bits."""
    return np.asarray(np.rint(picture * 255.0), np.uint8)
