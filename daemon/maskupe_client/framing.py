"""The frames of protocol 1: one small msgpack header, then raw planes of pixels.

``docs/protocol.md`` is the authority; this module and :mod:`.messages` are its code. Pixels never
go inside msgpack: a plane is one frame of exactly ``shape`` × ``dtype`` bytes, C order, little
endian. Only the standard library and msgpack are used here, because the same file runs inside
GIMP's own Python, where nothing can be installed.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from math import prod
from typing import Any

import msgpack

#: The protocol's version. Another number is another protocol; additions keep the number.
PROTOCOL = 1
#: Largest header in bytes.
MAX_HEADER = 64 * 1024
#: Largest number of planes behind a header.
MAX_PLANES = 8
#: Longest side of a layer in pixels: the largest image that GIMP itself can hold.
MAX_SIDE = 524_288
#: Longest side of a context in pixels.
MAX_CONTEXT = 1024
#: Largest plane in bytes, whatever a daemon announces.
MAX_PLANE_BYTES = 8 * 1024**3
#: Longest identifier of a request.
MAX_ID = 64

#: Bytes per value of each dtype a plane may have.
ITEM_SIZES = {"u8": 1, "u16": 2, "f32": 4}


class WireError(ValueError):
    """A message that breaks the protocol.

    Attributes:
        code: one of the error codes of ``docs/protocol.md``.
        message: what is wrong, one sentence.
        hint: what to do, may be empty.
        id: the request's identifier, ``""`` if it could not be read.
    """

    def __init__(self, code: str, message: str, hint: str = "", request_id: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.id = request_id


@dataclass(frozen=True)
class PlaneSpec:
    """What a plane holds: its shape and dtype (``"u8"``, ``"u16"`` or ``"f32"``)."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """How many bytes the plane has on the wire."""
        return prod(self.shape) * ITEM_SIZES[self.dtype]

    def as_map(self) -> dict[str, Any]:
        """Return the plane as it stands in a header."""
        return {"shape": list(self.shape), "dtype": self.dtype}


def new_id() -> str:
    """Return a fresh identifier for a request: 128 random bits, so no two clients share one."""
    return secrets.token_hex(16)


def pack(header: dict[str, Any]) -> bytes:
    """Return a header as bytes; ``v`` is added.

    What is no character, as in the name of a file that is not in UTF-8, becomes a question mark.

    Raises:
        WireError: if it is larger than a header may be.
    """
    data: bytes = msgpack.packb(
        {"v": PROTOCOL, **header}, use_bin_type=True, unicode_errors="replace"
    )
    if len(data) > MAX_HEADER:
        raise WireError(
            "bad-header", f"A header of {len(data)} bytes is over the limit of {MAX_HEADER} bytes."
        )
    return data


def unpack(data: bytes | memoryview) -> dict[str, Any]:
    """Return the map inside a header frame, not yet checked against any message.

    Raises:
        WireError: ``bad-header`` if it is too large, not msgpack, not a map, or nested deeply.
    """
    if len(data) > MAX_HEADER:
        raise WireError(
            "bad-header", f"The header has {len(data)} bytes; the limit is {MAX_HEADER} bytes."
        )
    try:
        header = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            max_str_len=MAX_HEADER,
            max_bin_len=0,
            max_ext_len=0,
            max_array_len=1024,
            max_map_len=1024,
        )
    except Exception as error:  # msgpack raises half a dozen unrelated types on bad bytes
        raise WireError("bad-header", "The header is not valid msgpack.") from error
    if not isinstance(header, dict) or not all(isinstance(key, str) for key in header):
        raise WireError("bad-header", "The header is not a map with text keys.")
    return header
