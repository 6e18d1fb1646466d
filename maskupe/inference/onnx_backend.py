"""The network in ONNX Runtime: a few megabytes to install, and the fastest on CPUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

from maskupe import weights_file
from maskupe.errors import WeightsError
from maskupe.inference.confined import open_session
from maskupe.inference.predictor import Float, Predictor, has_batch_axis
from maskupe.inference.session import KIND_KEY
from maskupe.maps import MAP_TYPES, tensor_names
from maskupe.registry import ModelConfig


class OnnxPredictor(Predictor):
    """Runs an exported graph, which takes its weights from the weight file beside it.

    Args:
        graph: the ``.onnx`` file.
        weights: the ``.safetensors`` file.
        name: what the model is called.
        threads: how many threads one prediction may use; up to four if ``None``.
        confined: whether the graph may be a stranger's, and runs in a process of its own.

    Raises:
        StaleGraphError: if the graph was exported from other weights, or cannot be used.
        WeightsError: if a file is missing or damaged.
    """

    backend = "onnxruntime"

    def __init__(
        self,
        graph: Path,
        weights: Path,
        name: str,
        threads: int | None = None,
        *,
        confined: bool = False,
    ) -> None:
        header = weights_file.read_header(weights)
        ModelConfig.from_dict(header.json("config"))  # refuses what this version does not know
        self._session = open_session(graph, weights, threads, confined)
        map_type = MAP_TYPES.get(self._session.about.get(KIND_KEY, ""))
        if map_type is None or set(self._session.outputs) != set(tensor_names(map_type)):
            raise WeightsError(f"{graph} is not a graph of MaskUPE's.", "Export it again.")
        self._local = "areas" in self._session.inputs
        super().__init__(name, header.metadata, map_type, "cpu")

    def _run(self, context: Float, areas: Float) -> dict[str, npt.NDArray[Any]]:
        inputs = {"context": context, "areas": areas} if self._local else {"context": context}
        return {
            name: value[0] if has_batch_axis(name) else value
            for name, value in self._session.run(inputs).items()
        }
