"""Exports a network to an ONNX graph that takes its weights from the weight file itself.

The graph's initialisers point into the ``.safetensors`` file by offset and length, so the
weights are shipped once. What is no weight (constant matrices) stays in the graph.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from maskupe import weights_file
from maskupe.errors import WeightsError
from maskupe.inference.build import load_matting_network, stored
from maskupe.inference.onnx_backend import OnnxPredictor
from maskupe.inference.session import DIGEST_KEY, KIND_KEY, Session
from maskupe.inference.torch_backend import TorchPredictor
from maskupe.io.atomic import replace_file
from maskupe.maps import tensor_names
from maskupe.networks.base import GlobalNetwork, LocalNetwork
from maskupe.networks.matting import Matting
from maskupe.preprocess.context import NETWORK_SIZE

_OPSET = 18
#: A graph's maps may differ from torch's by this much, relative to the map's largest value.
TOLERANCE = 1e-3
# Smaller tensors are not worth a reference into the file (and shapes must be in the graph).
_SMALL = 256


class _Prediction(nn.Module):
    """``predict`` as the module's forward, which is what gets exported."""

    def __init__(self, network: GlobalNetwork | LocalNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, context: Tensor, areas: Tensor | None = None) -> tuple[Tensor, ...]:
        if isinstance(self.network, LocalNetwork):
            assert areas is not None
            return self.network.predict(context, areas)
        return self.network.predict(context)


def export_onnx(network: GlobalNetwork | LocalNetwork, path: Path | str) -> Path:
    """Write the graph beside a weight file, and check that it computes the same.

    Args:
        network: what :func:`maskupe.inference.build.load` made of that file.
        path: the ``.safetensors`` file.

    Returns:
        The path of the ``.onnx`` file.

    Raises:
        WeightsError: if the graph differs from torch by more than 1e-3.
        MaskUPEError: if it cannot be written.
    """
    graph = _exported(network.eval())
    facts = {KIND_KEY: network.map_type.__name__}
    return _write(graph, Path(path), facts, lambda target: _compare(target, Path(path)))


def export_matting(network: nn.Module, path: Path | str) -> Path:
    """Write the matting network's graph beside its weight file, and check what it computes.

    Args:
        network: what :func:`maskupe.networks.matting.load` made of that file.
        path: the ``.safetensors`` file.

    Returns:
        The path of the ``.onnx`` file.

    Raises:
        WeightsError: if the graph differs from torch by more than 1e-3.
        MaskUPEError: if it cannot be written.
    """
    path = Path(path)
    shape = (1, 5, NETWORK_SIZE, NETWORK_SIZE)
    graph = _traced(network.eval(), (torch.zeros(shape),), ["planes"], ["maps"])

    def compare(target: Path) -> None:
        planes = np.random.default_rng(0).random(shape, np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(planes))[0].numpy()
        found = Session(target, path, None).run({"planes": planes})["maps"][0]
        if float(np.abs(found - expected).max()) > TOLERANCE:
            raise WeightsError("The exported matting graph differs from PyTorch.")

    return _write(graph, path, {}, compare)


def _write(
    graph: Any, path: Path, facts: Mapping[str, str], compare: Callable[[Path], None]
) -> Path:
    """Write a graph beside its weight file, unless what it computes is refused by ``compare``."""
    _refer_to_weights(graph, path)
    for key, value in {DIGEST_KEY: weights_file.digest(path), **facts}.items():
        entry = graph.metadata_props.add()
        entry.key, entry.value = key, value
    target = path.with_suffix(".onnx")
    replace_file(target, graph.SerializeToString())
    try:
        compare(target)
    except WeightsError:
        target.unlink()
        raise
    return target


def _exported(network: GlobalNetwork | LocalNetwork) -> Any:
    """Return the network's prediction as an ``onnx.ModelProto`` with all weights inside."""
    names = ["context", "areas"][: 2 if isinstance(network, LocalNetwork) else 1]
    channels = {"context": 3, "areas": 2}
    inputs = [torch.zeros(1, channels[name], NETWORK_SIZE, NETWORK_SIZE) for name in names]
    return _traced(_Prediction(network), tuple(inputs), names, list(tensor_names(network.map_type)))


def _traced(
    module: nn.Module, inputs: tuple[Tensor, ...], names: list[str], outputs: list[str]
) -> Any:
    with _quiet():
        program = torch.onnx.export(
            module,
            inputs,
            input_names=names,
            output_names=outputs,
            opset_version=_OPSET,
            dynamo=True,
            # ONNX Runtime optimises when it loads; folding here would only copy weights.
            optimize=False,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    _strip(graph.graph)
    _drop_zero_biases(graph.graph)
    return graph


def _drop_zero_biases(graph: Any) -> None:
    """Drop the zeros that the exporter gives a convolution without a bias.

    They are computed when the graph runs, so ONNX Runtime can neither merge what follows (a batch
    norm, ReLU) into the convolution nor choose its fastest layout.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    constants = {name: node for name, node in made_by.items() if node.op_type == "Constant"}

    def is_zero(name: str) -> bool:
        node = made_by.get(name)
        while node is not None and node.op_type in ("Expand", "Cast", "CastLike"):
            node = made_by.get(node.input[0])
        return node is not None and node.output[0] in constants and not _value(node).any()

    for node in graph.node:
        if node.op_type == "Conv" and len(node.input) == 3 and is_zero(node.input[2]):
            del node.input[2]
    _drop_unused(graph)


def _value(constant: Any) -> npt.NDArray[Any]:
    from onnx import numpy_helper

    return numpy_helper.to_array(constant.attribute[0].t)


def _drop_unused(graph: Any) -> None:
    """Drop nodes of whose outputs nothing is made; nodes come after those that they need."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _strip(graph: Any) -> None:
    """Drop what only the exporter's authors need: stack traces with paths, intermediate types."""
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer, graph):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of packages that it does not need here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _refer_to_weights(graph: Any, path: Path) -> None:
    """Replace the initialisers' bytes by references to the same values in the weight file."""
    import onnx
    from onnx import numpy_helper

    header, arrays = weights_file.read(path)
    # The network computes in float32: what is stored in half precision is cast by the graph.
    places = {
        _computed(array).tobytes(): header.tensors[name]
        for name, array in arrays.items()
        if array.nbytes >= _SMALL
    }
    casts = []
    for tensor in graph.graph.initializer:
        place = places.get(numpy_helper.to_array(tensor).tobytes())
        if place is None:
            continue
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        reference = {"location": path.name, "offset": place.offset, "length": place.length}
        for key, value in reference.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
        if place.dtype == np.float16:
            name, tensor.name = tensor.name, f"{tensor.name}.half"
            tensor.data_type = onnx.TensorProto.FLOAT16
            to = onnx.TensorProto.FLOAT
            casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=to))
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def _computed(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _compare(graph: Path, path: Path) -> None:
    """Raise WeightsError unless ONNX Runtime's maps equal torch's on a random image."""
    random = np.random.default_rng(0)
    size = NETWORK_SIZE
    context = random.random((size, size, 3), np.float32) ** 2
    areas = np.zeros((2, size, size), np.float32)
    areas[0, : size // 2] = 1.0
    areas[1, size // 2 : size // 2 + size // 8] = 1.0
    ours = OnnxPredictor(graph, path, path.stem).predict(context, areas)
    reference = TorchPredictor(path, path.stem, "cpu").predict(context, areas)
    for name in tensor_names(type(reference)):
        expected, got = _part(reference, name), _part(ours, name)
        allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
        if float(np.abs(expected - got).max()) > allowed:
            raise WeightsError(f"The exported graph differs from PyTorch in {name!r}.")


def _part(maps: Any, name: str) -> Any:
    """Return an array of a map by its name, ``guide.matrix`` and the like too."""
    for step in name.split("."):
        maps = getattr(maps, step)
    return maps


def save_matting(path: Path | str, network: Matting, metadata: Mapping[str, Any]) -> None:
    """Write the weights, large layers as float16, and the graph for ONNX Runtime beside them.

    Args:
        path: the ``.safetensors`` file.
        network: what to write.
        metadata: by the names of :data:`maskupe.weights_file.METADATA_KEYS`.

    Raises:
        MaskUPEError: if a file cannot be written, or the graph differs from PyTorch.
    """
    arrays = {n: stored(v.detach().cpu().numpy()) for n, v in network.state_dict().items()}
    count = str(sum(value.numel() for value in network.parameters()))
    weights_file.write(path, arrays, {**metadata, "network": "matting", "parameters": count})
    export_matting(load_matting_network(path), path)
