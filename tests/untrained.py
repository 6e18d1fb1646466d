"""Weight files of networks that learned nothing: real files for the real pipeline."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from maskupe.registry import MATTES, MODELS, WEIGHTS_FOLDER

_HAS_TORCH = find_spec("torch") is not None
#: The model that the file is of; any would do. Without PyTorch it is the smallest one shipped,
#: which nobody has to make.
NETWORK = "deepupe-mconcat" if _HAS_TORCH else "star-dce-mconcat"


def write_weights(folder: Path, name: str = "untrained") -> Path:
    """Writes a weight file that changes pictures visibly, the same in every run.

    Without PyTorch it is a shipped one, and keeps its name, which its graph knows.
    """
    if not _HAS_TORCH:
        for suffix in (".onnx", ".safetensors"):
            shutil.copy(WEIGHTS_FOLDER / f"{NETWORK}{suffix}", folder)
        return folder / f"{NETWORK}.safetensors"
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
