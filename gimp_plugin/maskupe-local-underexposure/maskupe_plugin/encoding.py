"""In which form a drawable's pixels travel, chosen so that nothing is lost on the way.

A babl format named without a space means sRGB, and GIMP converts from the image's profile and
back. At 8 and 16 bits that clips the colours of wider profiles (errors of over 100 levels were
measured), as float it does not: so only sRGB layers travel as integers.
"""

from __future__ import annotations

from dataclasses import dataclass

from gi.repository import Gimp

_BABL = {"u8": "u8", "u16": "u16", "f32": "float"}
_BYTES = {"u8": 1, "u16": 2, "f32": 4}


@dataclass(frozen=True)
class Encoding:
    """How pixels are read, sent and written.

    Attributes:
        colour: babl's name of the colour channels: ``R'G'B'``, ``Y'``, or ``Y`` for a mask.
        alpha: whether an alpha channel travels with them.
        dtype: ``u8``, ``u16`` or ``f32``, as the daemon names them.
        native: whether this is how GIMP stores the pixels, so that nothing is ever converted.
    """

    colour: str
    alpha: bool
    dtype: str
    native: bool

    @property
    def format(self) -> str:
        """The babl format of the region."""
        return f"{self.colour}{'A' if self.alpha else ''} {_BABL[self.dtype]}"

    @property
    def channels(self) -> int:
        """Channels per pixel of the region, alpha included."""
        return (3 if self.colour.startswith("R") else 1) + int(self.alpha)

    @property
    def pixel_bytes(self) -> int:
        """Bytes per pixel of the region."""
        return self.channels * _BYTES[self.dtype]

    def context(self) -> Encoding:
        """How the context travels: colours only, as float, for it is an average."""
        return Encoding(self.colour, False, "f32", False)


def encoding_of(image: Gimp.Image, drawable: Gimp.Drawable) -> Encoding:
    """The encoding in which this drawable's pixels travel."""
    alpha = drawable.has_alpha()
    if isinstance(drawable, Gimp.Channel):  # layer masks are channels too
        dtype = _depth(image.get_precision())
        # A mask's numbers are linear and taken as they are, whatever the image's profile.
        return Encoding("Y", alpha, dtype, dtype != "f32")
    colour = "Y'" if drawable.is_gray() else "R'G'B'"
    dtype = _depth(image.get_precision())
    exact = dtype != "f32" and not _is_linear(image.get_precision()) and is_srgb(image)
    return Encoding(colour, alpha, dtype if exact else "f32", exact)


def selection_dtype(image: Gimp.Image) -> str:
    """How the selection travels: as bytes where GIMP holds it so, else as float."""
    return "u8" if _depth(image.get_precision()) == "u8" else "f32"


def selection_format(dtype: str) -> str:
    """The babl format of a selection that travels so."""
    return f"Y {_BABL[dtype]}"


def _depth(precision: Gimp.Precision) -> str:
    p = Gimp.Precision
    if precision in (p.U8_LINEAR, p.U8_NON_LINEAR, p.U8_PERCEPTUAL):
        return "u8"
    if precision in (p.U16_LINEAR, p.U16_NON_LINEAR, p.U16_PERCEPTUAL):
        return "u16"
    return "f32"


def _is_linear(precision: Gimp.Precision) -> bool:
    p = Gimp.Precision
    return precision in (p.U8_LINEAR, p.U16_LINEAR)


def is_srgb(image: Gimp.Image) -> bool:
    """Whether the image's numbers are sRGB's, so that babl converts nothing."""
    profile = image.get_color_profile()
    if profile is None:
        return True
    known = Gimp.ColorProfile.new_rgb_srgb(), Gimp.ColorProfile.new_d65_gray_srgb_trc()
    return any(profile.is_equal(other) for other in known)
