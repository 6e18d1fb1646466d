"""Running the matting network: planes in, matte, open and exact out (:mod:`.matte`)."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from maskupe import registry, weights_file
from maskupe.errors import MaskUPEError, WeightsError
from maskupe.inference.loading import choose_device, has_torch, may_run_graph, no_graph
from maskupe.registry import MATTES

Float = npt.NDArray[np.float32]

_SHAPE = (3, 256, 256)
_LOADING = threading.Lock()


class MattingPredictor:
    """A loaded matting network. Safe to use from several threads.

    Args:
        path: the weight file; the ``.onnx`` graph lies beside it.
        device: ``cpu``, ``cuda`` or ``mps``; others than the processor need PyTorch.
        threads: how many threads a prediction may use in ONNX Runtime; up to four if None.

    Raises:
        WeightsError: if a file is missing, damaged, or of another network.
    """

    def __init__(self, path: Path, device: str, threads: int | None = None) -> None:
        if weights_file.read_header(path).metadata.get("network") != "matting":
            raise WeightsError(f"{path} is no matting network.", "Name another weight file.")
        self.device = device
        graph = path.with_suffix(".onnx")
        self._run: Callable[[Float], Any]
        if device == "cpu" and graph.is_file() and may_run_graph(path):
            from maskupe.inference.confined import open_session

            session = open_session(graph, path, threads, not registry.is_shipped(path))

            def run(planes: Float) -> Any:
                return session.run({"planes": planes})[session.outputs[0]]

            self._run = run
        elif has_torch():
            self._run = _torch_network(path, device)
        else:
            raise no_graph(path)

    def __call__(self, planes: Float) -> Float:
        """Predict float32 (3, 256, 256), each 0…1, from float32 (5, 256, 256).

        Raises:
            MaskUPEError: if the network's answer is not finite.
        """
        result = np.asarray(self._run(np.ascontiguousarray(planes[None], np.float32)))[0]
        if result.shape != _SHAPE or not np.isfinite(result).all():
            raise MaskUPEError(
                "The matting network gave no usable answer for this image.",
                "Switch off the following of edges.",
            )
        return cast(Float, np.clip(result, 0.0, 1.0))


def _torch_network(path: Path, device: str) -> Callable[[Float], Any]:
    from maskupe.inference.build import load_matting_network
    from maskupe.inference.replay import runner

    network = load_matting_network(path).to(device).requires_grad_(False)
    run = runner(lambda planes: (network(planes),), device, [(1, 5, *_SHAPE[1:])])
    return lambda planes: run(planes)[0]


def load_matting(
    name: str | Path = "default", device: str = "auto", threads: int | None = None
) -> MattingPredictor:
    """Load a matting network, once for each choice.

    Args:
        name: ``default``, another name of :data:`maskupe.registry.MATTES`, or the path of a
            ``.safetensors`` file.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        threads: as for :class:`MattingPredictor`.

    Raises:
        WeightsError: for weights that are missing or damaged.
        InputError: for a device that does not exist here.
    """
    with _LOADING:  # who needs it while it is being loaded waits for it
        return _loaded(str(name), choose_device(device), threads)


@functools.lru_cache(maxsize=4)
def _loaded(name: str, device: str, threads: int | None) -> MattingPredictor:
    if name.endswith(".safetensors"):
        path: Path | None = Path(name)
    elif name in MATTES:
        path = registry.find_weights(MATTES[name])
    else:
        raise WeightsError(
            f"There is no matting network {name!r}.", f"There are: {', '.join(MATTES)}."
        )
    if path is None:
        hint = "Name another one, or switch off the following of edges."
        if MATTES[name] in registry.RESEARCH_WEIGHTS:
            hint = f"{hint} {registry.GET_RESEARCH_WEIGHTS}"
        raise WeightsError(f"The weights of the matting network {name!r} are not installed.", hint)
    return MattingPredictor(path, device, threads)
