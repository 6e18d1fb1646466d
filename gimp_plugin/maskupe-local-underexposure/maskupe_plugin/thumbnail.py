"""GIMP's own thumbnail of a layer: the whole layer scaled down, without its tiles.

GIMP scales where the pixels are and remembers the result, so this takes milliseconds where handing
over all tiles takes a fifth of a second. It averages in linear light and rounds to eight bits;
in what the network makes of its context that is hardly seen.
"""

from __future__ import annotations

from gi.repository import Gimp

from maskupe_client.client import PlaneSpec
from maskupe_plugin.encoding import Encoding


def read_thumbnail(
    drawable: Gimp.Drawable, encoding: Encoding, long_edge: int
) -> tuple[PlaneSpec, bytes] | None:
    """A colour layer's thumbnail in sRGB, u8 (h, w, 3), or None where it would not show its pixels.

    That is for gray layers and masks, whose thumbnails differ between GIMP's versions; before
    GIMP 3.2, which converts them, for whatever is not stored as bytes in sRGB; with effects on the
    layer, which a thumbnail shows and the pixels do not have; and while previews of layers are
    switched off, when GIMP makes none.

    Args:
        drawable: the layer.
        encoding: how its pixels travel.
        long_edge: in pixels; GIMP makes none of more than 1024.
    """
    in_bytes = encoding.native and encoding.dtype == "u8" and encoding.in_srgb
    if not encoding.colour.startswith("R") or not (in_bytes or Gimp.MINOR_VERSION >= 2):
        return None
    if drawable.get_filters():
        return None
    data, width, height, channels = drawable.get_thumbnail_data(long_edge, long_edge)
    if data is None or channels not in (3, 4) or data.get_size() != width * height * channels:
        return None
    pixels = data.get_data()
    return PlaneSpec((height, width, 3), "u8"), pixels if channels == 3 else _without_alpha(pixels)


def _without_alpha(pixels: bytes) -> bytes:
    colours = bytearray(len(pixels) // 4 * 3)
    for channel in range(3):
        colours[channel::3] = pixels[channel::4]
    return bytes(colours)
