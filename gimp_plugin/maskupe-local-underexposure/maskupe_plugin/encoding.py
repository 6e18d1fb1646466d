"""In which form a drawable's pixels travel, chosen so that nothing is lost on the way.

A babl format named without a space means sRGB: GIMP would convert from the image's profile and
back, clipping wide colours and moving others by up to half a percent. So pixels are read and
written in the image's own space, by the full name that babl gives such a format.
"""

from __future__ import annotations

from dataclasses import dataclass

import gi

gi.require_version("Babl", "0.1")
from gi.repository import Babl, Gimp  # noqa: E402

_BABL = {"u8": "u8", "u16": "u16", "f32": "float"}
_BYTES = {"u8": 1, "u16": 2, "f32": 4}


@dataclass(frozen=True)
class Encoding:
    """How pixels are read, sent and written.

    Attributes:
        colour: babl's name of the colour channels: ``R'G'B'`` with the profile's own curve,
            ``R~G~B~`` with sRGB's, ``Y'`` and ``Y~`` likewise for gray, ``Y`` for a mask.
        alpha: whether an alpha channel travels with them.
        dtype: ``u8``, ``u16`` or ``f32``, as the daemon names them.
        native: whether this is just how GIMP stores the pixels, as integers, so that unchanged
            ones keep their bits on the way.
        format: the babl format of the region, in the image's own space.
    """

    colour: str
    alpha: bool
    dtype: str
    native: bool
    format: str

    @property
    def channels(self) -> int:
        """Channels per pixel, alpha included."""
        return (3 if self.colour.startswith("R") else 1) + int(self.alpha)

    @property
    def pixel_bytes(self) -> int:
        """Bytes per pixel."""
        return self.channels * _BYTES[self.dtype]

    @property
    def in_srgb(self) -> bool:
        """Whether the image's own space is sRGB: babl's names of formats then say no space."""
        return self.format == _name(self.colour, self.alpha, self.dtype)


def encoding_of(drawable: Gimp.Drawable) -> Encoding:
    """Return the encoding in which this drawable's pixels travel."""
    stored = Babl.format_get_encoding(drawable.get_format())
    model, depth = stored.rsplit(" ", 1)
    alpha = drawable.has_alpha()
    colour = _colour(drawable, model)
    for dtype in ("u8", "u16"):
        if depth == dtype and model == f"{colour}{'A' if alpha else ''}":
            return _encoding(drawable, colour, alpha, dtype, True)
    return _encoding(drawable, colour, alpha, "f32", False)


def float_encoding(drawable: Gimp.Drawable) -> Encoding:
    """The same colours without alpha, as float: for what the daemon computes about the pixels."""
    return _encoding(drawable, encoding_of(drawable).colour, False, "f32", False)


def byte_encoding(drawable: Gimp.Drawable) -> Encoding:
    """Return the same colours without alpha, as bytes: for a look at them."""
    return _encoding(drawable, encoding_of(drawable).colour, False, "u8", False)


def mask_encoding(mask: Gimp.Drawable) -> Encoding:
    """Return numbers of a mask, 0…1."""
    return _encoding(mask, "Y", False, "f32", False)


def context_format(encoding: Encoding) -> tuple[int, str, str]:
    """Return how the context is read, in sRGB, for the network to look at.

    Returns:
        Channels, the babl format to read, and one that takes the same numbers for linear ones.
        Both have the pixels' own bits where these are sRGB already, and are float otherwise.
    """
    # Of several ways to convert a curve or a space to whole numbers babl takes the one that it
    # finds quickest in this process, and they round differently: the next run would see another
    # context, and its result would differ.
    depth = _BABL[encoding.dtype] if encoding.in_srgb else "float"
    if encoding.colour.startswith("R"):
        return 3, f"R'G'B' {depth}", f"RGB {depth}"
    curve = "" if encoding.colour == "Y" else "'"
    return 1, f"Y{curve} {depth}", f"Y {depth}"


def has_8_bits(image: Gimp.Image) -> bool:
    """Return whether the image's layers hold bytes."""
    p = Gimp.Precision
    return image.get_precision() in (p.U8_LINEAR, p.U8_NON_LINEAR, p.U8_PERCEPTUAL)


def has_doubles(image: Gimp.Image) -> bool:
    """Return whether the image's layers and masks hold numbers of 64 bits."""
    p = Gimp.Precision
    return image.get_precision() in (p.DOUBLE_LINEAR, p.DOUBLE_NON_LINEAR, p.DOUBLE_PERCEPTUAL)


def selection_dtype(image: Gimp.Image) -> str:
    """Return how the selection travels: as bytes where GIMP holds it so, else as float."""
    return "u8" if has_8_bits(image) else "f32"


def selection_format(dtype: str) -> str:
    """Return the babl format of a selection that travels so."""
    return f"Y {_BABL[dtype]}"


def _colour(drawable: Gimp.Drawable, model: str) -> str:
    """The name of display-encoded colours, with the curve that GIMP stores them with if it does."""
    gray = drawable.is_gray() or isinstance(drawable, Gimp.Channel)
    for stored in ("Y'", "Y~") if gray else ("R'G'B'", "R~G~B~"):
        if model.startswith(stored):
            return stored
    # A mask's numbers are linear and taken as they are.
    if isinstance(drawable, Gimp.Channel):
        return "Y"
    # Linear layers take sRGB's curve: babl computes that one exactly, others only nearly.
    return "Y~" if gray else "R~G~B~"


def _encoding(
    drawable: Gimp.Drawable, colour: str, alpha: bool, dtype: str, native: bool
) -> Encoding:
    name = _name(colour, alpha, dtype)
    spaced = Babl.get_name(Babl.format_with_space(name, drawable.get_format()))
    return Encoding(colour, alpha, dtype, native, spaced)


def _name(colour: str, alpha: bool, dtype: str) -> str:
    return f"{colour}{'A' if alpha else ''} {_BABL[dtype]}"
