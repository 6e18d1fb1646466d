"""Weight files: safetensors with metadata that says what they are. Read without torch.

A weight file may come from anyone. Nothing in it is executed, and nothing is believed before it
has been checked: the header's length, every tensor's type, shape and place, and the total size.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from maskupe.errors import WeightsError
from maskupe.io.atomic import replace_file

FORMAT = "maskupe-weights"
FORMAT_VERSION = 1

#: Metadata keys, in the order in which model cards show them. All values are strings; config and
#: metrics are JSON.
METADATA_KEYS = (
    "format",
    "format_version",
    "network",
    "conditioning",
    "config",
    "parameters",
    "multiply_adds",
    "recipe",
    "training_data",
    "scenes",
    "started_from",
    "licence",
    "metrics",
    "commit",
    "created",
    "seed",
    "command",
)

# Our largest network has a header of 12 kB and weights of 4 MB.
_MAX_HEADER = 1 << 20
_MAX_FILE = 256 << 20
_MAX_TENSORS = 4096
_MAX_AXES = 8

_DTYPES: Mapping[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
}


@dataclass(frozen=True)
class Entry:
    """One tensor in a file.

    Attributes:
        dtype: its numpy type.
        shape: its axes.
        offset: where its bytes begin, from the start of the file.
        length: how many bytes it has.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int
    length: int


@dataclass(frozen=True)
class Header:
    """What a weight file says about itself.

    Attributes:
        metadata: strings by the names of :data:`METADATA_KEYS`; others may be there too.
        tensors: the places of the tensors, by name.
    """

    metadata: Mapping[str, str]
    tensors: Mapping[str, Entry]

    def json(self, key: str) -> Any:
        """Return a value of the metadata that is JSON; ``None`` if it is missing or empty.

        Raises:
            WeightsError: if it is not JSON.
        """
        text = self.metadata.get(key, "")
        if not text:
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise WeightsError(f"The weight file's {key!r} cannot be read.", _AGAIN) from error


_AGAIN = "Download, train or export it again."


def write(
    path: Path | str, tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, Any]
) -> None:
    """Write a weight file in one step: there is either the whole new file or the old one.

    Args:
        path: where to.
        tensors: float32, float16 or int64 arrays by name.
        metadata: by the names of :data:`METADATA_KEYS`; what is not a string is written as JSON.
            ``format`` and ``format_version`` are filled in.

    Raises:
        WeightsError: if an array's type cannot be kept.
        MaskUPEError: if it cannot be written.
    """
    path = Path(path)
    texts = {"format": FORMAT, "format_version": str(FORMAT_VERSION)}
    for key, value in metadata.items():
        texts[key] = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    known = set(_DTYPES.values())
    for name, array in tensors.items():
        if array.dtype not in known:
            raise WeightsError(f"The tensor {name!r} of type {array.dtype} cannot be stored.")
    content = save({name: np.asarray(array, order="C") for name, array in tensors.items()}, texts)
    replace_file(path, content)


def read_header(path: Path | str) -> Header:
    """Read and check what a file says about itself, not the weights.

    Raises:
        WeightsError: if the file is missing, or is not one that :func:`write` writes.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or size > _MAX_FILE or not 2 <= length <= min(_MAX_HEADER, size - 8):
                raise _damaged(path)
            raw = file.read(length)
    except OSError as error:
        raise _unreadable(path, error) from error
    return _parse_header(path, raw, 8 + length, size)


def read(path: Path | str) -> tuple[Header, dict[str, npt.NDArray[Any]]]:
    """Read a whole weight file: its header and its arrays, which cannot be written to.

    Raises:
        WeightsError: if the file is missing, or is not one that :func:`write` writes.
    """
    path = Path(path)
    header = read_header(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, entry in header.tensors.items():
        piece = content[entry.offset : entry.offset + entry.length]
        if len(piece) != entry.length:
            raise _damaged(path)
        arrays[name] = np.frombuffer(piece, entry.dtype).reshape(entry.shape)
    return header, arrays


def digest(path: Path | str) -> str:
    """Return SHA-256 of the file, in hexadecimal: tells whether a graph beside it belongs to it.

    Raises:
        WeightsError: if it cannot be read.
    """
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise _unreadable(Path(path), error) from error


def _parse_header(path: Path, raw: bytes, start: int, size: int) -> Header:
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _damaged(path) from error
    if not isinstance(values, dict) or len(values) > _MAX_TENSORS + 1:
        raise _damaged(path)
    metadata = values.pop("__metadata__", None)
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{path} is a safetensors file, but not one of MaskUPE's.",
            "Use one that 'maskupe-train export' wrote.",
        )
    if not all(isinstance(value, str) for value in metadata.values()):
        raise _damaged(path)
    if metadata.get("format_version") != str(FORMAT_VERSION):
        raise WeightsError(
            f"{path} has the format version {metadata.get('format_version')}, "
            f"this program reads {FORMAT_VERSION}.",
            "Update MaskUPE.",
        )
    tensors = {name: _parse_entry(path, value, start) for name, value in values.items()}
    # Every byte belongs to exactly one tensor: no gaps, no overlaps, nothing behind.
    end = start
    for entry in sorted(tensors.values(), key=lambda entry: (entry.offset, entry.length)):
        if entry.offset != end:
            raise _damaged(path)
        end += entry.length
    if end != size:
        raise _damaged(path)
    return Header(metadata, tensors)


def _parse_entry(path: Path, value: Any, start: int) -> Entry:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise _damaged(path)
    dtype = _DTYPES.get(value["dtype"]) if isinstance(value["dtype"], str) else None
    shape, offsets = value["shape"], value["data_offsets"]
    if dtype is None or not _are_counts(shape, _MAX_AXES) or not _are_counts(offsets, 2):
        raise _damaged(path)
    if len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * dtype.itemsize:
        raise _damaged(path)
    return Entry(dtype, tuple(shape), start + offsets[0], offsets[1] - offsets[0])


def _are_counts(values: Any, most: int) -> bool:
    """Return whether this is a short list of whole numbers that could be sizes within a file."""
    return (
        isinstance(values, list)
        and len(values) <= most
        and all(type(value) is int and 0 <= value <= _MAX_FILE for value in values)
    )


def _damaged(path: Path) -> WeightsError:
    return WeightsError(f"{path} is damaged or is no weight file.", _AGAIN)


def _unreadable(path: Path, error: OSError) -> WeightsError:
    if isinstance(error, FileNotFoundError):
        return WeightsError(f"There is no weight file {path}.", "Check the name of the file.")
    return WeightsError(f"{path} cannot be read: {error.strerror or error}.")
