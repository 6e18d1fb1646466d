"""The loaded models: loaded at first use, kept by name and device, dropped when idle."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

from maskupe import registry


class Library:
    """The models of the ``maskupe`` package."""

    def prepare(self, device: str) -> None:
        """Import ONNX Runtime: opening so large a library holds up every thread of Python.

        When the daemon starts, nobody waits for an answer. PyTorch, which a graphics card needs, is
        imported at its first job: it would take too much memory at rest.
        """
        if device in ("auto", "cpu"):
            import_module("maskupe.inference.onnx_backend")
            import_module("maskupe.pipeline")

    def loads_ahead(self, device: str) -> bool:
        """Return whether it runs on the processor: PyTorch would take too much memory."""
        from maskupe.inference.loading import is_processor

        return is_processor(device)

    def names(self) -> list[str]:
        """Return models whose weights are installed."""
        return list(registry.available())

    def resolve(self, name: str) -> str:
        """Return the model's own name, also for an alias; a name is never taken for a path.

        Raises:
            UnknownModelError: if it is not in the registry.
        """
        return registry.resolve(name).name

    def load(self, name: str, device: str) -> Any:
        """Return the :class:`maskupe.pipeline.Enhancer` of a model by its own name.

        On the processor the weights of the matting network are loaded at the same time:
        ONNX Runtime does not hold Python's lock while it prepares a graph.
        """
        from maskupe.inference.loading import is_processor
        from maskupe.inference.matting import load_matting
        from maskupe.pipeline import Enhancer

        with ThreadPoolExecutor(1) as pool:
            if is_processor(device):
                pool.submit(load_matting, device="cpu")  # the job that needs it reports its faults
            return Enhancer.load(name, device=device)


class Models:
    """The models in memory, by name and device."""

    def __init__(self, library: Library, device: str) -> None:
        self.library = library
        self._wish = device
        #: What was asked for; once a model is loaded, on what it runs.
        self.device = device
        #: What did the last job: ``network``, ``renderer`` and ``hardware`` of a ``result``.
        self.provenance: dict[str, str] = {}
        self._lock = threading.Lock()
        self._loaded: dict[tuple[str, str], Any] = {}

    def names(self) -> list[str]:
        """Return names that a client may ask for."""
        return self.library.names()

    def get(self, name: str, device: str | None = None) -> Any:
        """Return a model by its name, loaded if it is not yet.

        Raises:
            UnknownModelError: for a name that is not in the registry, whatever file is called so.
            WeightsError: for a damaged weight file.
        """
        key = (self.library.resolve(name), device or self._wish)
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = self.library.load(*key)
                if device is None:
                    self.device = self._loaded[key].predictor.device
            return self._loaded[key]

    def load_ahead(self) -> None:
        """Load what the next job will most likely ask for, if that takes little memory.

        Raises:
            WeightsError: for a damaged weight file.
        """
        if self.library.loads_ahead(self._wish):
            self.get("default")

    def loaded(self) -> list[str]:
        """Return names of the models in memory."""
        return sorted({name for name, _ in tuple(self._loaded)})

    def unload(self) -> bool:
        """Drop all models; False if there was none."""
        with self._lock:
            had = bool(self._loaded)
            self._loaded.clear()
        return had
