"""What a photograph file holds besides the file format's own bookkeeping."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from maskupe.io.colour import Transfer

Format = Literal["PNG", "JPEG", "TIFF", "WebP", "AVIF", "JPEG XL", "HEIC"]


#: Said of a file that holds more than one picture.
LOST_BESIDE = (
    "The result is the picture alone: the HDR gain map, depth map, preview or film that the "
    "photo's file holds beside it is not carried over."
)


@dataclass(frozen=True)
class Metadata:
    """What passes from the photo to the result untouched.

    Attributes:
        icc: the ICC profile's bytes, empty if there is none.
        colour: a profile made from what the file says of its colours in another way (PNG's cICP,
            gAMA and cHRM, TIFF's chromaticities), for formats that cannot say it so; else empty.
            An ICC profile counts more.
        exif: the EXIF block from its byte-order mark on, orientation already 1; empty if none.
        xmp: the XMP packet, empty if none.
        xmp_extension: (identifier, packet) of what did not fit into a JPEG's first packet.
        photoshop: Photoshop's image resources, IPTC among them; empty if none.
        resolution: (horizontal, vertical) in pixels per inch, ``None`` if the file names none.
        extras: further pieces that only the same format can hold, as (type, payload): PNG chunks
            (text, gAMA, cHRM …), JPEG segments (comments), what a TIFF's further channel is.
        planes: further channels of a TIFF, (H, W, N), saved selections say; ``None`` if none.
        lost: sentences about what was in the file and cannot be in any result.
    """

    icc: bytes = b""
    colour: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    xmp_extension: tuple[bytes, bytes] | None = None
    photoshop: bytes = b""
    resolution: tuple[float, float] | None = None
    extras: tuple[tuple[bytes, bytes], ...] = ()
    planes: npt.NDArray[Any] | None = None
    lost: tuple[str, ...] = ()

    @property
    def profile(self) -> bytes:
        """The colour space as an ICC profile, empty for sRGB and where nothing is said."""
        return self.icc or self.colour


@dataclass(frozen=True)
class Photo:
    """A photograph as it is displayed: its orientation is baked into the pixels.

    Attributes:
        pixels: (H, W) gray, (H, W, 2) gray and alpha, (H, W, 3) RGB or (H, W, 4) RGB and alpha;
            uint8, uint16 or float32, display-encoded in the photo's own colour space, not
            multiplied by alpha. All are numbers.
        format: the file format that it was read from.
        metadata: what to write back beside the pixels.
        kept: the pixels as the file has them, where that is not ``pixels``: in linear light, or
            with some that are no numbers.
        transfer: how ``kept`` is encoded, ``None`` if as ``pixels``.
        path: the file that it was read from, ``None`` if from none.
    """

    pixels: npt.NDArray[Any]
    format: Format
    metadata: Metadata = field(default_factory=Metadata)
    kept: npt.NDArray[Any] | None = None
    transfer: Transfer | None = None
    path: Path | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is transparency."""
        return self.pixels.ndim == 3 and self.pixels.shape[2] in (2, 4)

    @property
    def depth(self) -> np.dtype[Any]:
        """The dtype of the pixels in the file."""
        dtype: np.dtype[Any] = (self.pixels if self.kept is None else self.kept).dtype
        return dtype

    def as_stored(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a result's pixels in the encoding and depth of the photo's file.

        What the result left as it was keeps its bits, also where they are no number.

        Args:
            pixels: of the shape and dtype of ``self.pixels``.
        """
        if self.kept is None:
            return pixels
        changed = pixels != self.pixels
        if self.depth == np.float32:
            changed &= np.isfinite(self.kept)
        stored = pixels if self.transfer is None else self.transfer.stored(pixels, self.has_alpha)
        if self.depth != np.float32:
            top = np.float32(np.iinfo(self.depth).max)
            stored = np.rint(np.clip(stored, 0.0, 1.0) * top).astype(self.depth)
        return np.where(changed, stored, self.kept)
