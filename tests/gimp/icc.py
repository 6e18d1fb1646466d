"""Minimal ICC profiles of wide colour spaces: primaries and one gamma, nothing else."""

from __future__ import annotations

import struct

import numpy as np

#: CIE xy of red, green, blue and white, and the gamma.
SPACES = {
    "prophoto": ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), (0.3457, 0.3585), 1.8),
    "rec2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), (0.3127, 0.3290), 2.4),
}
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_D50 = np.array([0.9642, 1.0, 0.8249])


def profile(space: str) -> bytes:
    """An ICC 2.1 matrix profile."""
    *primaries, white, gamma = SPACES[space]
    columns = np.array([_xyz(*xy) for xy in primaries]).T
    neutral = _xyz(*white)
    columns = columns * np.linalg.solve(columns, neutral)
    cone = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ neutral))
    columns = np.linalg.inv(_BRADFORD) @ cone @ _BRADFORD @ columns
    name = space.encode() + b"\0"
    described = b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(78)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = [(b"desc", described), (b"cprt", b"text" + bytes(4) + b"none\0"), (b"wtpt", _tag(_D50))]
    tags += [(key, _tag(columns[:, i])) for i, key in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))]
    tags += [(key, curve) for key in (b"rTRC", b"gTRC", b"bTRC")]
    return _assemble(tags)


def _assemble(tags: list[tuple[bytes, bytes]]) -> bytes:
    at = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for key, data in tags:
        data += bytes(-len(data) % 4)
        table += struct.pack(">4sII", key, at + len(body), len(data))
        body += data
    size = at + len(body)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp")
    header = header.ljust(68, b"\0") + _numbers(_D50)
    return header.ljust(128, b"\0") + table + body


def _xyz(x: float, y: float) -> np.ndarray:
    return np.array([x / y, 1.0, (1.0 - x - y) / y])


def _tag(values: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + _numbers(values)


def _numbers(values: np.ndarray) -> bytes:
    return struct.pack(">3i", *(round(float(value) * 65536) for value in values))
