"""A graph in ONNX Runtime: looked through, loaded, and run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnxruntime

from maskupe import weights_file
from maskupe.errors import WeightsError, is_memory_error
from maskupe.inference import graphfile
from maskupe.inference.predictor import Float
from maskupe.parallel import machine_threads

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
        graph: the ``.onnx`` file, looked through before anything of it is run, if not ``shipped``.
        weights: the weight file beside it, of which it takes its weights.
        threads: how many threads one run may use; up to four if ``None``.
        shipped: whether the graph came with this package, or with an installed one of weights.

    Attributes:
        about: the graph's own metadata.
        inputs: names of what it takes.
        outputs: names of what it gives.

    Raises:
        StaleGraphError: if the graph cannot be loaded, is not one that an export makes, or was
            exported from other weights.
        WeightsError: if the weight file is missing.
    """

    def __init__(
        self, graph: Path, weights: Path, threads: int | None, *, shipped: bool = False
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or min(_MOST_THREADS, machine_threads())
        options.inter_op_num_threads = 1
        # Waiting threads sleep: a daemon that has nothing to do must not keep a core busy.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Failures come as exceptions; ONNX Runtime need not print them as well.
        options.log_severity_level = 4
        try:
            if not shipped:
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
