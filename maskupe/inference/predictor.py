"""What both engines share: the checks around a prediction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from maskupe import maps
from maskupe.errors import MaskUPEError, WeightsError
from maskupe.preprocess.context import NETWORK_SIZE

Float = npt.NDArray[np.float32]

# The most cells that an array may have along an axis: a graph that came from somewhere else must
# not make the renderer allocate what it likes.
_MOST_CELLS = 4096


def has_batch_axis(name: str) -> bool:
    """Return whether a network predicts this array per image.

    The guide's parameters are constants.
    """
    return not name.startswith("guide.")


class Predictor(ABC):
    """A loaded network. Safe to use from several threads.

    Attributes:
        name: the model's registry name, or the weight file's stem.
        map_type: the type of map that it predicts.
        metadata: what the weight file says about itself; see :mod:`maskupe.weights_file`.
        backend: ``"onnxruntime"`` or ``"torch"``.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
    """

    backend: ClassVar[str]

    def __init__(self, name: str, metadata: Mapping[str, str], map_type: type, device: str) -> None:
        self.name = name
        self.map_type = map_type
        self.metadata = metadata
        self.device = device

    def predict(self, context: Float, areas: Float) -> maps.Maps:
        """Run the network.

        Args:
            context: float32 (256, 256, 3), display-encoded 0…1; what exceeds that is clipped.
            areas: float32 (2, 256, 256), the shares of A and B in each pixel, 0…1. Global
                networks ignore them.

        Raises:
            ValueError: for arrays of another shape.
            MaskUPEError: if the network's answer is not finite.
        """
        size = NETWORK_SIZE
        if context.shape != (size, size, 3) or areas.shape != (2, size, size):
            raise ValueError(
                f"Expected ({size}, {size}, 3) and (2, {size}, {size}), "
                f"got {context.shape} and {areas.shape}."
            )
        planes = np.clip(context.transpose(2, 0, 1)[None], 0.0, 1.0).astype(np.float32)
        arrays = self._run(np.ascontiguousarray(planes), np.ascontiguousarray(areas[None]))
        self._check(arrays)
        return maps.from_arrays(self.map_type, arrays)

    @abstractmethod
    def _run(self, context: Float, areas: Float) -> dict[str, npt.NDArray[Any]]:
        """Return named arrays without batch axis from (1, 3, 256, 256) and (1, 2, 256, 256)."""

    def _check(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        for name, shape in maps.shapes_of(self.map_type).items():
            array = arrays[name]
            if array.ndim != len(shape) or max(array.shape) > _MOST_CELLS:
                raise WeightsError(
                    f"The model {self.name} answers {name!r} in the shape {array.shape}.",
                    "Export it again.",
                )
            if not np.all(np.isfinite(array)):
                raise MaskUPEError(
                    f"The model {self.name} gave no usable answer for this image.",
                    "Try another model.",
                )
