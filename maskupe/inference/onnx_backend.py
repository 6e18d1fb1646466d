"""The network in ONNX Runtime: a few megabytes to install, and the fastest on CPUs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import onnxruntime

from maskupe import weights_file
from maskupe.errors import WeightsError, is_memory_error
from maskupe.inference import graphfile
from maskupe.inference.predictor import Float, Predictor, has_batch_axis
from maskupe.maps import MAP_TYPES, tensor_names
from maskupe.parallel import machine_threads
from maskupe.registry import ModelConfig

if TYPE_CHECKING:
    from maskupe.inference.confined import ConfinedSession

#: Keys of the graph's own metadata.
DIGEST_KEY = "weights_sha256"
KIND_KEY = "kind"

# The package has switched telemetry off by the environment (:mod:`maskupe`), which Windows does not
# look at and which comes too late where another program has loaded the library before us.
onnxruntime.disable_telemetry_events()

#: What to do about a graph that cannot be used.
EXPORT_AGAIN = "Export it again with 'maskupe-train export'."

# 256×256 pixels keep no more threads than these busy.
_MOST_THREADS = 4


class StaleGraphError(WeightsError):
    """The graph belongs to other weights than those beside it."""


class Session:
    """An exported graph that is ready to run. Safe to use from several threads.

    Args:
        graph: the ``.onnx`` file, looked through before anything of it is run.
        weights: the weight file beside it, of which it takes its weights.
        threads: how many threads one run may use; up to four if ``None``.

    Attributes:
        about: the graph's own metadata.
        inputs: names of what it takes.
        outputs: names of what it gives.

    Raises:
        StaleGraphError: if the graph cannot be loaded, is not one that an export makes, or was
            exported from other weights.
        WeightsError: if the weight file is missing.
    """

    def __init__(self, graph: Path, weights: Path, threads: int | None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or min(_MOST_THREADS, machine_threads())
        options.inter_op_num_threads = 1
        # Waiting threads sleep: a daemon that has nothing to do must not keep a core busy.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Failures come as exceptions; ONNX Runtime need not print them as well.
        options.log_severity_level = 4
        try:
            graphfile.check(graph, weights)
            self._session = onnxruntime.InferenceSession(
                str(graph), options, providers=["CPUExecutionProvider"]
            )
            self.about = self._session.get_modelmeta().custom_metadata_map
        except graphfile.UnfitGraphError as error:
            raise StaleGraphError(f"{graph} {error}, so it is not run.", EXPORT_AGAIN) from error
        except Exception as error:  # ONNX Runtime has no common base for its errors.
            if is_memory_error(error):
                raise MemoryError(str(error)) from error
            raise StaleGraphError(f"{graph} cannot be loaded.", "Export it again.") from error
        if self.about.get(DIGEST_KEY) != weights_file.digest(weights):
            raise StaleGraphError(
                f"{graph} belongs to other weights than {weights.name}.", EXPORT_AGAIN
            )
        self.inputs = [value.name for value in self._session.get_inputs()]
        self.outputs = [value.name for value in self._session.get_outputs()]

    def run(self, inputs: dict[str, Float]) -> dict[str, npt.NDArray[Any]]:
        """Return the outputs by name."""
        values = self._session.run(self.outputs, inputs)
        return dict(zip(self.outputs, values, strict=True))


def open_session(
    graph: Path, weights: Path, threads: int | None, confined: bool
) -> Session | ConfinedSession:
    """Load a graph, in this process or, ``confined``, in one of its own.

    Raises:
        StaleGraphError: see :class:`Session` and :class:`ConfinedSession`.
    """
    if not confined:
        return Session(graph, weights, threads)
    from maskupe.inference.confined import ConfinedSession

    return ConfinedSession(graph, weights, threads)


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
        kind = MAP_TYPES.get(self._session.about.get(KIND_KEY, ""))
        if kind is None or set(self._session.outputs) != set(tensor_names(kind)):
            raise WeightsError(f"{graph} is not a graph of MaskUPE's.", "Export it again.")
        self._local = "areas" in self._session.inputs
        super().__init__(name, header.metadata, kind, "cpu")

    def _run(self, context: Float, areas: Float) -> dict[str, npt.NDArray[Any]]:
        inputs = {"context": context, "areas": areas} if self._local else {"context": context}
        return {
            name: value[0] if has_batch_axis(name) else value
            for name, value in self._session.run(inputs).items()
        }
