"""Weight files of networks that learned nothing: real files for the real pipeline."""

from __future__ import annotations

from pathlib import Path

import torch

from maskupe.networks.build import build, save
from maskupe.registry import MODELS

#: The network that the file is of; any would do.
NETWORK = "deepupe-mconcat"


def write_weights(folder: Path, name: str = "untrained") -> Path:
    """Writes a weight file that changes pictures visibly, the same in every run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = build(MODELS[NETWORK])
    path = folder / f"{name}.safetensors"
    save(path, MODELS[NETWORK], network, {"training_data": "none", "metrics": {}})
    return path
