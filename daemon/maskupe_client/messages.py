"""Every message of protocol 1 as a table: its fields, their types and their bounds.

The daemon checks requests with this table and the client checks answers with it, so that both
mean the same. ``docs/protocol.md`` shows the same table; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from maskupe_client.framing import (
    MAX_CONTEXT,
    MAX_ID,
    MAX_PLANES,
    MAX_SIDE,
    PROTOCOL,
    WireError,
    unpack,
)
from maskupe_client.schema import (
    Choice,
    FieldType,
    Flag,
    Listed,
    Nullable,
    Number,
    Plane,
    Record,
    Shape,
    Text,
    Whole,
    WordOr,
)

#: What an ``enhance`` may ask back.
OUTPUTS = ("image", "weight", "illumination", "areas", "enhanced")
#: Longest message or hint of an ``error``, in characters.
LONGEST_SENTENCE = 2000
#: Largest strength: 1 is the network's proposal, more exaggerates it.
MAX_STRENGTH = 2.0
#: Warmth of the added light: from this much cooler to this much warmer.
MAX_WARMTH = 1.0
#: Saturation of what is brightened: from gray, this far below 0, to twice the chroma.
MAX_SATURATION = 1.0
#: Widest transition, and farthest that edges are followed, in pixels.
MAX_WIDTH = 100_000.0

_REQUIRED: Any = object()


@dataclass(frozen=True)
class Field:
    """One field of a message; without a default it is required."""

    name: str
    type: FieldType
    default: Any = _REQUIRED

    @property
    def required(self) -> bool:
        """Whether the field must be there."""
        return self.default is _REQUIRED


@dataclass(frozen=True)
class Message:
    """One type of message: who sends it, and its fields besides ``v``, ``id`` and ``type``."""

    type: str
    sender: str
    fields: tuple[Field, ...]


_IDENTIFIER = Text(MAX_ID, r"[A-Za-z0-9_-]+", shortest=1)
_NAME = Text(64, r"[a-z0-9][a-z0-9._-]*", shortest=1)
_SENTENCE = Text(LONGEST_SENTENCE)
_COUNT = Whole(0, 2**53)
_SIDES = Choice("outside", "inside", "centred")

#: What did the work; a daemon may not tell.
_PROVENANCE = (
    Field("network", Text(64), ""),
    Field("renderer", Text(64), ""),
    Field("hardware", Text(128), ""),
)

_TABLE = (
    Message(
        "hello",
        "client",
        (Field("client", Text(64), ""), Field("nonce", Text(64, r"[0-9a-f]*"), "")),
    ),
    Message(
        "enhance",
        "client",
        (
            Field("model", _NAME, "default"),
            Field("strength", Number(0, MAX_STRENGTH), 1.0),
            Field("denoise", WordOr(Number(0, 1), "auto"), "auto"),
            Field("warmth", Number(-MAX_WARMTH, MAX_WARMTH), 0.0),
            Field("saturation", Number(-MAX_SATURATION, MAX_SATURATION), 0.0),
            Field("width", WordOr(Number(0, MAX_WIDTH), "auto"), "auto"),
            Field("side", _SIDES, "outside"),
            Field("edges", WordOr(Number(0, MAX_WIDTH), "auto", "off"), "auto"),
            Field("layer", Shape((1, MAX_SIDE), (1, MAX_SIDE))),
            Field("origin", Shape((0, MAX_SIDE), (0, MAX_SIDE)), (0, 0)),
            Field("image", Plane(Shape((1, MAX_SIDE), (1, MAX_SIDE), (1, 4)), "u8", "u16", "f32")),
            Field(
                "selection",
                Nullable(Plane(Shape((1, MAX_SIDE), (1, MAX_SIDE)), "u8", "f32")),
                None,
            ),
            Field(
                "context",
                Nullable(
                    Plane(Shape((1, MAX_CONTEXT), (1, MAX_CONTEXT), (1, 3)), "u8", "u16", "f32")
                ),
                None,
            ),
            Field("outputs", Listed(Choice(*OUTPUTS), 1, len(OUTPUTS)), ("image",)),
            Field(
                "part",
                Nullable(Shape((0, MAX_SIDE), (0, MAX_SIDE), (1, MAX_SIDE), (1, MAX_SIDE))),
                None,
            ),
            Field("replaces", Nullable(_IDENTIFIER), None),
        ),
    ),
    Message("cancel", "client", (Field("job", _IDENTIFIER),)),
    Message("status", "client", ()),
    Message("shutdown", "client", ()),
    Message(
        "welcome",
        "daemon",
        (
            Field("server", Text(64)),
            Field("proof", Text(64), ""),
            Field("version", Text(64)),
            Field("device", Text(64)),
            *_PROVENANCE,
            Field("host", Text(64), ""),
            Field("models", Listed(_NAME, 0, 256)),
            Field("limits", Record(_COUNT)),
        ),
    ),
    Message("ok", "daemon", (Field("found", Flag(), True),)),
    Message("report", "daemon", (Field("report", Record(None)),)),
    Message(
        "progress",
        "daemon",
        (
            Field("stage", Choice("queued", "running")),
            Field("fraction", Number(0, 1), 0.0),
            Field("position", _COUNT, 0),
        ),
    ),
    Message(
        "result",
        "daemon",
        (
            Field("model", Text(64)),
            Field("device", Text(64)),
            *_PROVENANCE,
            Field("seconds", Number(0, 1e9)),
            Field("width", Number(0, 1e9)),
            Field("counts", Record(_COUNT)),
            Field("notes", Listed(_SENTENCE, 0, 16), ()),
            Field(
                "planes",
                Listed(
                    Plane(
                        Shape((1, MAX_SIDE), (1, MAX_SIDE), (1, 4), optional_last=True),
                        "u8",
                        "u16",
                        "f32",
                        named=True,
                    ),
                    0,
                    MAX_PLANES,
                ),
            ),
        ),
    ),
    Message(
        "error",
        "daemon",
        (
            Field("code", Text(64)),
            Field("message", _SENTENCE),
            Field("hint", _SENTENCE, ""),
            Field("position", _COUNT, 0),
            Field("retry_after", Number(0, 3600), 0.0),
        ),
    ),
)

#: Every message by its type.
MESSAGES: Mapping[str, Message] = {message.type: message for message in _TABLE}

#: Error codes that a daemon may answer with, and what each means.
ERROR_CODES: Mapping[str, str] = {
    "bad-header": "the first frame is not a header",
    "version": "the header's `v` is not the daemon's protocol",
    "unsupported": "the daemon does not know this type of message",
    "bad-field": "a field is missing, of the wrong type or out of bounds",
    "bad-planes": "the frames behind the header are not the planes it names",
    "too-large": "a limit announced in `welcome` is exceeded",
    "busy": "the queue is full; `position` jobs are ahead, try again after `retry_after` seconds",
    "id-in-use": "another job with this id and other fields is waiting or running",
    "replaced": "a newer job named this one in `replaces`",
    "cancelled": "the job was cancelled",
    "shutting-down": "the daemon is stopping and takes no more work",
    "bad-input": "the image, the selection or an option cannot be used",
    "empty-selection": "the selection has no pixel to brighten",
    "unknown-model": "no model of this name is installed",
    "bad-weights": "the model's weight file is missing, damaged or of another network",
    "out-of-memory": "the job needs more memory than there is",
    "failed": "something went wrong inside; the daemon's log has the details",
}


def parse(data: bytes | memoryview, sender: str) -> dict[str, Any]:
    """Check a header from ``sender`` (``"client"`` or ``"daemon"``) and fills in defaults.

    Unknown fields are dropped. The result has ``id``, ``type`` and every field of its message;
    shapes are tuples, planes are :class:`.framing.PlaneSpec`.

    Raises:
        WireError: with the code that ``docs/protocol.md`` names for the fault, and the request's
            id as far as it could be read.
    """
    header = unpack(data)
    identifier = header.get("id", "")
    try:
        _IDENTIFIER.check(identifier, "id")
    except WireError:
        identifier = ""
    try:
        return _parse(header, sender)
    except WireError as error:
        error.id = identifier
        raise


def _parse(header: dict[str, Any], sender: str) -> dict[str, Any]:
    version = header.get("v")
    if type(version) is not int or version != PROTOCOL:
        shown = version if type(version) is int and abs(version) < 10**6 else "unknown"
        raise WireError(
            "version",
            f"The message speaks protocol {shown}; this side speaks protocol {PROTOCOL}.",
            "Update MaskUPE on both sides, then restart the daemon and GIMP.",
        )
    named = header.get("type")
    message = MESSAGES.get(named) if isinstance(named, str) else None
    if message is None or message.sender != sender:
        shown_type = repr(named[:40]) if isinstance(named, str) else "without a name"
        raise WireError("unsupported", f"The message type {shown_type} is not known.")
    parsed: dict[str, Any] = {"type": message.type}
    # An answer to a request without a readable id has the empty one.
    if sender == "daemon" and header.get("id") == "":
        parsed["id"] = ""
    else:
        parsed["id"] = _IDENTIFIER.check(header.get("id"), "id")
    for field in message.fields:
        if field.name in header:
            parsed[field.name] = field.type.check(header[field.name], field.name)
        elif field.required:
            raise WireError("bad-field", f"The field '{field.name}' is missing.")
        else:
            parsed[field.name] = field.default
    if message.type == "enhance":
        _check_enhance(parsed)
    return parsed


def _check_enhance(fields: Mapping[str, Any]) -> None:
    """What the fields of an ``enhance`` must fulfil together."""
    rows, columns, _ = fields["image"].shape
    layer, origin = fields["layer"], fields["origin"]
    if origin[0] + rows > layer[0] or origin[1] + columns > layer[1]:
        raise WireError("bad-field", "The region reaches beyond the layer.")
    if fields["selection"] is not None and fields["selection"].shape != (rows, columns):
        raise WireError("bad-field", "The selection has another size than the region.")
    if fields["context"] is None:
        if (rows, columns) != layer:
            raise WireError("bad-field", "Without a context the region must be the whole layer.")
    elif fields["context"].shape[2] == 2:
        raise WireError("bad-field", "A context has 1 or 3 channels.")
    if len(set(fields["outputs"])) != len(fields["outputs"]):
        raise WireError("bad-field", "An output is asked for twice.")
    if fields["part"] is not None:
        row, column, height, width = fields["part"]
        if row + height > rows or column + width > columns:
            raise WireError("bad-field", "The part reaches beyond the region.")


def plane_specs(fields: Mapping[str, Any]) -> list[Any]:
    """Return the planes that a parsed message announces, in the order of its frames."""
    if fields["type"] == "enhance":
        named = (fields["image"], fields["selection"], fields["context"])
        return [spec for spec in named if spec is not None]
    if fields["type"] == "result":
        return [spec for _, spec in fields["planes"]]
    return []


def check_sizes(fields: Mapping[str, Any], sizes: list[int]) -> None:
    """Compare the byte counts of the frames behind a header with what it announces.

    Raises:
        WireError: ``bad-planes`` if their number or one of their sizes differs.
    """
    specs = plane_specs(fields)
    if len(specs) != len(sizes):
        raise WireError(
            "bad-planes",
            f"The header announces {len(specs)} planes, but {len(sizes)} followed.",
            request_id=fields["id"],
        )
    for number, (spec, size) in enumerate(zip(specs, sizes, strict=True), 1):
        if spec.nbytes != size:
            raise WireError(
                "bad-planes",
                f"Plane {number} should have {spec.nbytes} bytes, but has {size}.",
                request_id=fields["id"],
            )
