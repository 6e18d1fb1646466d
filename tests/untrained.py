"""Weight files of networks that learned nothing: real files for the real pipeline."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from maskupe.registry import (
    DEFAULT,
    MATTES,
    MODELS,
    RESEARCH_WEIGHTS,
    WEIGHTS_FOLDER,
    find_weights,
)

_HAS_TORCH = find_spec("torch") is not None
#: The model that the file is of; any would do. Without PyTorch it is the one that is always there,
#: which nobody has to make.
NETWORK = "deepupe-mconcat" if _HAS_TORCH else DEFAULT

#: For tests of the weights that a checkout has and the source archive has not.
needs_research_weights = pytest.mark.skipif(
    not all(map(find_weights, RESEARCH_WEIGHTS)), reason="needs the weights for research"
)


def write_weights(folder: Path, name: str = "untrained") -> Path:
    """Writes a weight file that changes pictures visibly, the same in every run."""
    path = folder / f"{name}.safetensors"
    if not _HAS_TORCH:
        return _copy_shipped(path)
    import torch

    from maskupe.inference.build import build, save

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = build(MODELS[NETWORK])
    save(path, MODELS[NETWORK], network, {"training_data": "none", "metrics": {}})
    return path


def copy_matting(folder: Path) -> None:
    """Copies the matting network that comes with the package, for a weights folder of a test's."""
    for suffix in (".safetensors", ".onnx"):
        shutil.copy((WEIGHTS_FOLDER / MATTES["default"]).with_suffix(suffix), folder)


def _copy_shipped(path: Path) -> Path:
    shutil.copy(WEIGHTS_FOLDER / f"{NETWORK}.safetensors", path)
    shutil.copy(WEIGHTS_FOLDER / f"{NETWORK}.onnx", path.with_suffix(".onnx"))
    # The graph takes the weights from the file under whose name it was exported.
    if path.stem != NETWORK:
        shutil.copy(WEIGHTS_FOLDER / f"{NETWORK}.safetensors", path.parent)
    return path
