"""A network on an NVIDIA card as one thing to start, instead of a kernel at a time.

Our networks are small: their kernels take microseconds each, and Python takes longer to start one
than the card to run it. A CUDA graph records the same kernels once and starts them all at once, so
the results are the same.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Float = npt.NDArray[np.float32]
#: A network's forward pass: tensors in, tensors out, on one device.
Run = Callable[..., Sequence[Tensor]]

_log = logging.getLogger(__name__)
# Runs before recording, in which libraries choose their algorithms and take their memory.
_WARM_UPS = 3


def runner(run: Run, device: str, shapes: Sequence[tuple[int, ...]]) -> Callable[..., list[Float]]:
    """Return a function from arrays to arrays that runs a network in the way that is quickest.

    Args:
        run: the network.
        device: ``cpu``, ``cuda`` or ``mps``.
        shapes: of the inputs, float32, which never change.
    """
    if device.partition(":")[0] == "cuda":
        try:
            return Replay(run, device, shapes)
        except RuntimeError as error:
            # Not everything can be recorded, and memory may be short.
            _log.warning("The network is run without a CUDA graph: %s", error)

    def one_by_one(*values: Float) -> list[Float]:
        with torch.inference_mode():
            results = run(*(torch.from_numpy(value).to(device) for value in values))
            return [result.cpu().numpy() for result in results]

    return one_by_one


class Replay:
    """A network's kernels as a CUDA graph. Safe to use from several threads, which take turns.

    Args:
        run: the network, which must not look at values on its way.
        device: the card.
        shapes: of the inputs, float32.

    Raises:
        RuntimeError: if the network cannot be recorded.
    """

    def __init__(self, run: Run, device: str, shapes: Sequence[tuple[int, ...]]) -> None:
        self._lock = threading.Lock()
        self._stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            self._inputs = [torch.zeros(shape, device=device) for shape in shapes]
            self._sent = [torch.zeros(shape, pin_memory=True) for shape in shapes]
            for _ in range(_WARM_UPS):
                run(*self._inputs)
            self._stream.synchronize()
            self._graph: Any = torch.cuda.CUDAGraph()
            # Other threads may go on taking memory on the card meanwhile.
            with torch.cuda.graph(
                self._graph, stream=self._stream, capture_error_mode="thread_local"
            ):
                outputs = run(*self._inputs)
                # One array, so that one copy brings it back.
                self._found = torch.cat([output.reshape(-1).float() for output in outputs])
            self._shapes = [tuple(output.shape) for output in outputs]
            self._answer = torch.empty(self._found.shape, pin_memory=True)

    def __call__(self, *values: Float) -> list[Float]:
        """Run the network on arrays of the shapes that were recorded."""
        with self._lock, torch.inference_mode(), torch.cuda.stream(self._stream):
            for there, sent, value in zip(self._inputs, self._sent, values, strict=True):
                np.copyto(sent.numpy(), value)
                there.copy_(sent, non_blocking=True)
            self._graph.replay()
            self._answer.copy_(self._found, non_blocking=True)
            self._stream.synchronize()
            answer = self._answer.numpy().copy()
        ends = np.cumsum([math.prod(shape) for shape in self._shapes])
        parts = np.split(answer, ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True)]
