"""The network in PyTorch: any device, any weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

from maskupe.inference.build import load
from maskupe.inference.predictor import Float, Predictor, has_batch_axis
from maskupe.inference.replay import runner
from maskupe.maps import tensor_names
from maskupe.networks.base import LocalNetwork
from maskupe.preprocess.context import NETWORK_SIZE


class TorchPredictor(Predictor):
    """Runs a weight file in PyTorch.

    Args:
        path: the ``.safetensors`` file.
        name: what the model is called.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``, which must be available.

    Raises:
        WeightsError: if the file is missing, damaged, or of another network.
    """

    backend = "torch"

    def __init__(self, path: Path, name: str, device: str) -> None:
        _, network, header = load(path)
        network = network.to(device).requires_grad_(False)
        self._local = isinstance(network, LocalNetwork)
        channels = (3, 2) if self._local else (3,)
        shapes = [(1, count, NETWORK_SIZE, NETWORK_SIZE) for count in channels]
        self._network = runner(network.predict, device, shapes)
        super().__init__(name, header.metadata, network.map_type, device)

    def _run(self, context: Float, areas: Float) -> dict[str, npt.NDArray[Any]]:
        maps = self._network(context, areas) if self._local else self._network(context)
        return {
            name: value[0] if has_batch_axis(name) else value
            for name, value in zip(tensor_names(self.map_type), maps, strict=True)
        }
