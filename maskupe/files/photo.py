"""What a photograph file holds besides the file format's own bookkeeping."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy.typing as npt

Format = Literal["PNG", "JPEG", "TIFF"]


@dataclass(frozen=True)
class Metadata:
    """What passes from the photo to the result untouched.

    Attributes:
        icc: the ICC profile's bytes, empty if there is none.
        exif: the EXIF block from its byte-order mark on, orientation already 1; empty if none.
        xmp: the XMP packet, empty if none.
        resolution: (horizontal, vertical) in pixels per inch, ``None`` if the file names none.
        extras: further pieces that only the same format can hold, as (kind, payload): PNG chunks
            (text, gAMA, cHRM …), JPEG segments (IPTC, comments), what a TIFF's further channel is.
    """

    icc: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    resolution: tuple[float, float] | None = None
    extras: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True)
class Photo:
    """A photograph as it is displayed: its orientation is baked into the pixels.

    Attributes:
        pixels: (H, W) gray, (H, W, 2) gray and alpha, (H, W, 3) RGB or (H, W, 4) RGB and alpha;
            uint8, uint16 or float32, display-encoded in the photo's own colour space, not
            multiplied by alpha.
        format: the file format that it was read from.
        metadata: what to write back beside the pixels.
    """

    pixels: npt.NDArray[Any]
    format: Format
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is transparency."""
        return self.pixels.ndim == 3 and self.pixels.shape[2] in (2, 4)
