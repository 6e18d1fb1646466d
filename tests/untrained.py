"""Weight files of networks that learned nothing: real files for the real pipeline."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from maskupe.registry import (
    MATTES,
    MODELS,
    RESEARCH_WEIGHTS,
    WEIGHTS_FOLDER,
    find_weights,
)

HAS_TORCH = find_spec("torch") is not None
#: The model that the file is of; any but the default would do. Without PyTorch it is the smallest
#: one that is published, which nobody has to make.
NETWORK = "deepupe-mconcat" if HAS_TORCH else "star-dce-mconcat"

#: For tests of the weights that a checkout has and the source archive has not.
needs_research_weights = pytest.mark.skipif(
    not all(map(find_weights, RESEARCH_WEIGHTS)), reason="needs the weights for research"
)


def write_weights(folder: Path, name: str = "untrained") -> Path:
    """Writes a weight file that changes pictures visibly, the same in every run.

    Without PyTorch it is called as the shipped one, whose name its graph asks for.
    """
    if not HAS_TORCH:
        return _copy_shipped(folder)
    path = folder / f"{name}.safetensors"
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


def _copy_shipped(folder: Path) -> Path:
    shipped = find_weights(f"{NETWORK}.safetensors")
    if shipped is None:
        pytest.skip("needs the weights for research, or PyTorch")
    for suffix in (".safetensors", ".onnx"):
        shutil.copy(shipped.with_suffix(suffix), folder)
    return folder / shipped.name
