"""The network in ONNX Runtime: a few megabytes to install, and the fastest on CPUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnxruntime

from maskupe import weightfile
from maskupe.errors import WeightsError
from maskupe.inference.predictor import Float, Predictor, has_batch_axis
from maskupe.maps import KINDS, tensor_names
from maskupe.registry import ModelConfig
from maskupe.strips import machine_threads

#: Keys of the graph's own metadata.
DIGEST_KEY = "weights_sha256"
KIND_KEY = "kind"

# The package has switched telemetry off by the environment (:mod:`maskupe`), which Windows does not
# look at and which comes too late where another program has loaded the library before us.
onnxruntime.disable_telemetry_events()

# 256×256 pixels keep no more threads than these busy.
_MOST_THREADS = 4


class StaleGraphError(WeightsError):
    """The graph belongs to other weights than those beside it."""


def open_session(graph: Path, weights: Path, threads: int | None) -> Any:
    """Open an exported graph, which takes its weights from the weight file beside it.

    Raises:
        StaleGraphError: if the graph cannot be loaded, or was exported from other weights.
        WeightsError: if the weight file is missing.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or min(_MOST_THREADS, machine_threads())
    options.inter_op_num_threads = 1
    # Waiting threads sleep: a daemon that has nothing to do must not keep a core busy.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Failures come as exceptions; ONNX Runtime need not print them as well.
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"]
        )
        about = session.get_modelmeta().custom_metadata_map
    except Exception as error:  # ONNX Runtime has no common base for its errors.
        raise StaleGraphError(f"{graph} cannot be loaded.", "Export it again.") from error
    if about.get(DIGEST_KEY) != weightfile.digest(weights):
        raise StaleGraphError(
            f"{graph} belongs to other weights than {weights.name}.",
            "Export it again with 'maskupe-train export'.",
        )
    return session


class OnnxPredictor(Predictor):
    """Runs an exported graph, which takes its weights from the weight file beside it.

    Args:
        graph: the ``.onnx`` file.
        weights: the ``.safetensors`` file.
        name: what the model is called.
        threads: how many threads one prediction may use; up to four if ``None``.

    Raises:
        StaleGraphError: if the graph was exported from other weights.
        WeightsError: if a file is missing or damaged.
    """

    backend = "onnxruntime"

    def __init__(self, graph: Path, weights: Path, name: str, threads: int | None = None) -> None:
        header = weightfile.read_header(weights)
        ModelConfig.from_dict(header.json("config"))  # refuses what this version does not know
        self._session = open_session(graph, weights, threads)
        about = self._session.get_modelmeta().custom_metadata_map
        kind = KINDS.get(about.get(KIND_KEY, ""))
        if kind is None or set(self._outputs()) != set(tensor_names(kind)):
            raise WeightsError(f"{graph} is not a graph of MaskUPE's.", "Export it again.")
        self._local = any(value.name == "areas" for value in self._session.get_inputs())
        super().__init__(name, header.metadata, kind, "cpu")

    def _outputs(self) -> list[str]:
        return [value.name for value in self._session.get_outputs()]

    def _run(self, context: Float, areas: Float) -> dict[str, npt.NDArray[Any]]:
        inputs = {"context": context, "areas": areas} if self._local else {"context": context}
        names = self._outputs()
        values = self._session.run(names, inputs)
        return {
            name: value[0] if has_batch_axis(name) else value
            for name, value in zip(names, values, strict=True)
        }
