"""The network in PyTorch: any device, any weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch

from maskupe.inference.predictor import Float, Predictor, has_batch_axis
from maskupe.maps import tensor_names
from maskupe.networks.base import LocalNetwork
from maskupe.networks.build import load


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
        self._network = network.to(device).requires_grad_(False)
        super().__init__(name, header.metadata, network.kind, device)

    def _run(self, context: Float, areas: Float) -> dict[str, npt.NDArray[Any]]:
        with torch.inference_mode():
            image = torch.from_numpy(context).to(self.device)
            if isinstance(self._network, LocalNetwork):
                maps = self._network.predict(image, torch.from_numpy(areas).to(self.device))
            else:
                maps = self._network.predict(image)
            names = tensor_names(self.kind)
            return {
                name: (value[0] if has_batch_axis(name) else value).cpu().numpy()
                for name, value in zip(names, maps, strict=True)
            }
