"""Builds any model from its configuration, loads and saves its weights."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from maskupe import weights_file
from maskupe.conditioning import mconcat, mnorm
from maskupe.errors import WeightsError
from maskupe.networks.base import GlobalNetwork, LocalNetwork
from maskupe.networks.complexity import complexity
from maskupe.networks.matting import Matting
from maskupe.registry import ModelConfig, network_spec

Network = GlobalNetwork | LocalNetwork

# Layers with at least so many weights are stored in half precision: all models together must stay
# a small download, and a rounding of 0.05 % in a sum of hundreds is lost in it.
_HALF_FROM = 1 << 14


def build(config: ModelConfig) -> Network:
    """Return the network of a configuration, freshly initialised from torch's random state.

    Global networks are called as ``g(image)``, all others as ``f(image, areas)``.
    """
    spec = network_spec(config.network)
    assert spec is not None  # a configuration of a network that is none cannot be made
    module, _, name = spec.target.partition(":")
    network = getattr(import_module(module), name)(**config.options)
    if config.conditioning == "native":
        assert isinstance(network, LocalNetwork)
        return network
    assert isinstance(network, GlobalNetwork)
    return condition(config, network)


def condition(config: ModelConfig, network: GlobalNetwork) -> Network:
    """Return the network f() of a configuration from its g(), which is copied; or g() itself."""
    if config.conditioning == "mconcat":
        return cast(Network, mconcat(network))
    if config.conditioning == "mnorm":
        places = network.norm_places[config.where]
        return cast(Network, mnorm(network, where=lambda name, _: name in places))
    return network


def save(
    path: Path | str, config: ModelConfig, network: Network, metadata: Mapping[str, Any]
) -> None:
    """Write a network's weights, large layers as float16.

    Network, conditioning, config, parameters and multiply_adds are added to the metadata, the
    licence too where it is missing.

    Raises:
        MaskUPEError: if the file cannot be written.
    """
    arrays = {
        name: stored(value.detach().cpu().contiguous().numpy())
        for name, value in network.state_dict().items()
    }
    described = {
        "network": config.network,
        "conditioning": config.conditioning,
        "config": config.as_dict(),
        **{name: str(count) for name, count in complexity(network).items()},
    }
    weights_file.write(path, arrays, {"licence": config.licence, **metadata, **described})


def stored(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array as it is written; what half precision cannot hold stays as it is."""
    if array.dtype != np.float32 or array.size < _HALF_FROM:
        return array
    if not np.abs(array).max() < np.finfo(np.float16).max:
        return array
    return array.astype(np.float16)


def load(path: Path | str) -> tuple[ModelConfig, Network, weights_file.Header]:
    """Build the network that a weight file is for, with its weights, in evaluation mode.

    Raises:
        WeightsError: if the file is missing or damaged, or does not fit the network it names.
    """
    header, arrays = weights_file.read(path)
    config = config_of(header)
    network = build(config)
    load_arrays(network, arrays, str(path))
    return config, network.eval(), header


def config_of(header: weights_file.Header) -> ModelConfig:
    """Return the configuration that a file's header holds.

    Raises:
        WeightsError: if it names what does not exist, or is missing.
    """
    return ModelConfig.from_dict(header.json("config"), header.metadata.get("licence", ""))


def load_arrays(network: nn.Module, arrays: Mapping[str, npt.NDArray[Any]], source: str) -> None:
    """Copy arrays into a network.

    Raises:
        WeightsError: if names or shapes differ from the network's own, or a value is not finite.
    """
    own: dict[str, Tensor] = network.state_dict()
    if set(own) != set(arrays):
        odd = sorted(set(own) ^ set(arrays))[0]
        raise WeightsError(
            f"{source} was made for another network: it differs in {odd!r}.",
            "Use the weight file of this model.",
        )
    for name, array in arrays.items():
        if tuple(own[name].shape) != array.shape:
            raise WeightsError(
                f"{source} was made for another network: {name!r} has the shape {array.shape}.",
                "Use the weight file of this model.",
            )
        if not np.all(np.isfinite(array)):
            raise WeightsError(f"{source} is damaged: {name!r} is not finite.", "Get it again.")
    with torch.no_grad():
        for name, array in arrays.items():
            own[name].copy_(torch.from_numpy(array.copy()))


def load_matting_network(path: Path | str) -> Matting:
    """Read the network of a weight file, in evaluation mode.

    Raises:
        WeightsError: if the file is missing, damaged, or of another network.
    """
    _, arrays = weights_file.read(path)
    network = Matting()
    load_arrays(network, arrays, str(path))
    return network.eval()
