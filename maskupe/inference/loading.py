"""Finds a model's files, a device for it and the engine that runs it best there."""

from __future__ import annotations

import ctypes.util
import logging
import sys
from importlib.util import find_spec
from pathlib import Path

from maskupe import registry, weights_file
from maskupe.errors import InputError, WeightsError
from maskupe.inference.predictor import Predictor

DEVICES = ("auto", "cpu", "cuda", "mps")

_log = logging.getLogger(__name__)

_NEEDS_TORCH = "Install PyTorch with: pip install 'maskupe[torch]'"


def load_predictor(
    model: str | Path = "default", device: str = "auto", *, threads: int | None = None
) -> Predictor:
    """Load a model.

    Args:
        model: a registry name, or the path of a ``.safetensors`` file.
        device: ``"auto"`` takes CUDA where there is one and the CPU elsewhere (at 256×256 Apple's
            GPU gains nothing over ONNX Runtime); ``"cpu"``, ``"cuda"`` or ``"mps"`` insist.
        threads: how many threads a prediction may use in ONNX Runtime; up to four if ``None``.

    Raises:
        UnknownModelError: for a name that is not in the registry.
        WeightsError: for weights that are not installed, damaged or of another network.
        InputError: for a path where there is no file, or a device that does not exist here.
    """
    path, name = _locate(model)
    chosen = choose_device(device)
    graph = path.with_suffix(".onnx")
    if chosen == "cpu" and graph.is_file() and may_run_graph(path):
        from maskupe.inference.onnx_backend import OnnxPredictor
        from maskupe.inference.session import StaleGraphError

        try:
            confined = not registry.is_shipped(path)
            return OnnxPredictor(graph, path, name, threads, confined=confined)
        except StaleGraphError as error:
            if not has_torch():
                raise
            _log.warning("%s PyTorch is used instead.", error)
    if not has_torch():
        weights_file.read_header(path)  # a damaged file is no better with PyTorch
        raise no_graph(path)
    from maskupe.inference.torch_backend import TorchPredictor

    return TorchPredictor(path, name, chosen)


def _locate(model: str | Path) -> tuple[Path, str]:
    """Return the weight file of a name or path, and what the model is called."""
    file = registry.given_file(model)
    if file is not None:
        if not registry.is_file(file):
            raise InputError(f"There is no weight file {file}.", "Check the name of the file.")
        return file, file.stem
    config = registry.resolve(str(model))
    found = registry.weights_path(config)
    if found is None:
        hint = f"Installed are: {', '.join(registry.available()) or 'none'}."
        if config.weights in registry.RESEARCH_WEIGHTS:
            hint = f"{hint} {registry.GET_RESEARCH_WEIGHTS}"
        raise WeightsError(f"No weights are installed for the model {config.name}.", hint)
    # A file says itself how its network is built; under a registry name it must say the same.
    about = weights_file.read_header(found).metadata
    if (about.get("network"), about.get("conditioning")) != (config.network, config.conditioning):
        raise WeightsError(
            f"The weight file of the model {config.name} is of another network.",
            "Install MaskUPE again.",
        )
    return found, config.name


def choose_device(device: str) -> str:
    """Return the device that a wish comes to: ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises:
        InputError: for an unknown device, or one that this machine does not have.
    """
    if device not in DEVICES:
        raise InputError(f"The device {device!r} is unknown.", f"Use one of {', '.join(DEVICES)}.")
    if device == "cpu":
        return "cpu"
    if device == "auto":
        # Importing torch costs a second or two, so only where it could be of use.
        return "cpu" if is_processor(device) or not _works("cuda") else "cuda"
    if not has_torch():
        raise InputError(f"The device {device} needs PyTorch.", _NEEDS_TORCH)
    if not _works(device):
        raise InputError(
            f"PyTorch finds no {device} device on this machine.", "Use the device auto or cpu."
        )
    return device


def is_processor(device: str) -> bool:
    """Return whether a wish comes to ``"cpu"``, as far as can be told without PyTorch."""
    return device == "cpu" or (device == "auto" and not (_may_have_cuda() and has_torch()))


def no_graph(weights: Path) -> WeightsError:
    """Return the error for a weight file that only PyTorch could run, which is not installed."""
    return WeightsError(f"{weights.name} has no ONNX graph beside it.", _NEEDS_TORCH)


def may_run_graph(weights: Path) -> bool:
    """Return whether the graph beside a weight file is to be run.

    One that did not come with this package may be a stranger's. Where PyTorch is installed, our own
    network runs with the file's weights instead.
    """
    return registry.is_shipped(weights) or not has_torch()


def has_torch() -> bool:
    """Return whether PyTorch is installed."""
    return find_spec("torch") is not None


def _may_have_cuda() -> bool:
    """Return whether NVIDIA's driver is installed, as far as can be told without loading it."""
    if sys.platform == "darwin":
        return False
    if sys.platform == "win32":
        return ctypes.util.find_library("nvcuda") is not None
    return any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/dxg"))


def _works(device: str) -> bool:
    import torch

    if device == "cuda":
        return torch.cuda.is_available()
    return torch.backends.mps.is_available()
