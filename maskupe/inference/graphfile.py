"""Looking through an ONNX graph before anything of it is run, without the ``onnx`` package.

A graph lies beside a weight file, which may come from anyone. Loading it in ONNX Runtime runs parts
of it already. What :func:`check` lets through ends after so many steps as it has nodes: there are
no subgraphs, which loops and branches are made of, and no operators but the standard's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

# Our largest graph has 70 kB and 1,135 nodes.
_MAX_FILE = 8 << 20
_MAX_NODES = 10_000
_STANDARD = (b"", b"ai.onnx")

# Numbers of fields in onnx.proto3.
_MODEL_GRAPH, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 20, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_ATTRIBUTE, _NODE_DOMAIN = 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_TENSOR_EXTERNAL = 13
_ENTRY_KEY, _ENTRY_VALUE = 1, 2


class UnfitGraphError(ValueError):
    """A graph that is not to be run; the text says why."""


def check(graph: Path, weights: Path) -> None:
    """Look through a graph.

    Raises:
        UnfitGraphError: if it is not one that :mod:`.export` may have made for these weights.
        OSError: if it cannot be read.
    """
    if graph.stat().st_size > _MAX_FILE:
        raise UnfitGraphError("is larger than a graph is")
    try:
        _check_model(memoryview(graph.read_bytes()), weights.name.encode())
    except (IndexError, UnicodeEncodeError) as error:
        raise UnfitGraphError("is damaged") from error


def _check_model(model: memoryview, weights: bytes) -> None:
    nodes = 0
    for number, graph in _fields(model):
        if number in (_MODEL_TRAINING, _MODEL_FUNCTIONS):
            raise UnfitGraphError("has functions of its own")
        if number != _MODEL_GRAPH:
            continue
        for part, value in _fields(graph):
            if part == _GRAPH_NODE:
                nodes += 1
                _check_node(value, weights)
            elif part == _GRAPH_INITIALIZER:
                _check_tensor(value, weights)
            elif part == _GRAPH_SPARSE:
                raise UnfitGraphError("has sparse weights")
    if nodes > _MAX_NODES:
        raise UnfitGraphError(f"has {nodes} nodes")


def _check_node(node: memoryview, weights: bytes) -> None:
    for number, value in _fields(node):
        if number == _NODE_DOMAIN and bytes(value) not in _STANDARD:
            raise UnfitGraphError("has operators that are not the standard's")
        if number != _NODE_ATTRIBUTE:
            continue
        for part, content in _fields(value):
            if part in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                raise UnfitGraphError("has loops or branches")
            if part in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
                _check_tensor(content, weights)


def _check_tensor(tensor: memoryview, weights: bytes) -> None:
    for number, value in _fields(tensor):
        if number == _TENSOR_EXTERNAL:
            entry = {part: bytes(content) for part, content in _fields(value)}
            if entry.get(_ENTRY_KEY) == b"location" and entry.get(_ENTRY_VALUE) != weights:
                raise UnfitGraphError("takes its weights from another file")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the number and content of each field of a Protocol Buffers message.

    Empty for a number.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(message, at)
            yield tag >> 3, message[:0]
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise UnfitGraphError("is damaged")
        if at + size > len(message):
            raise UnfitGraphError("is damaged")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise UnfitGraphError("is damaged")
