"""The whole layer scaled down, for the network to look at."""

from __future__ import annotations

import os

from gi.repository import Gegl, Gimp

from maskupe_client.client import PlaneSpec
from maskupe_plugin import tile_io
from maskupe_plugin.encoding import Encoding, context_format
from maskupe_plugin.pixels import BAND, bands, rectangle
from maskupe_plugin.region import Box, context_size
from maskupe_plugin.thumbnail import read_thumbnail

#: Long edge of the context in pixels at most; the network sees a quarter of that. GIMP's thumbnails
#: halve exactly and then leave pixels out, so smaller ones would be rougher after averaging.
CONTEXT_EDGE = 1024

_CLAMP = Gegl.AbyssPolicy.CLAMP
# Tiles of so few are handed over sooner than a thumbnail is made.
_FEW_PIXELS = 1 << 21


def ready_to_scale() -> None:
    """Have to be called before anything is scaled: else it comes out black, without a word.

    GEGL initialises itself in part only; what halves tiles is missing outside of a dialog. Its
    operations, which take long to load, are not needed here.
    """
    os.environ.setdefault("GEGL_PATH", os.devnull)
    Gegl.init(None)


def read_context(
    drawable: Gimp.Drawable, buffer: Gegl.Buffer, encoding: Encoding
) -> tuple[PlaneSpec, bytes]:
    """Return a whole drawable scaled down, its colours in sRGB.

    Args:
        drawable: the layer, mask or channel.
        buffer: its pixels; keeps the tiles that are read, if they have to be.
        encoding: how the pixels travel.
    """
    extent = buffer.get_extent()
    large = extent.width * extent.height > _FEW_PIXELS
    found = read_thumbnail(drawable, encoding, CONTEXT_EDGE) if large else None
    return found or scale_tiles(buffer, encoding)


def scale_tiles(buffer: Gegl.Buffer, encoding: Encoding) -> tuple[PlaneSpec, bytes]:
    """Return the same as u16 from the drawable's tiles, all of which GIMP has to hand over.

    GEGL averages in linear light, but the command line (and training) averages the encoded
    numbers. So they are copied, strip by strip, into a buffer that calls them linear. Halving it
    again and again is exact then, and 16 bits are enough for the rounding not to add up. Bytes
    are read as bytes: widening linear ones is exact too, and much faster than encoded ones.
    """
    ready_to_scale()
    extent = buffer.get_extent()
    width, height, step = context_size(extent.width, extent.height, CONTEXT_EDGE)
    channels, babl, linear = context_format(encoding)
    wide = "RGB u16" if channels == 3 else "Y u16"

    # A strip of more rows would not stay in the processor's cache.
    most = max(1, BAND // step)
    strips = [Box(0, top, width, min(most, height - top)) for top in range(0, height, most)]

    def read(strip: Box) -> list[tuple[Box, bytes]]:
        whole = Box(0, 0, width * step, strip.height * step)
        places = [(band, rectangle(band.moved(0, strip.y * step))) for band in bands(whole)]
        return [(band, buffer.get(place, 1.0, babl, _CLAMP)) for band, place in places]

    scaled = []
    for strip, pieces in zip(strips, tile_io.in_order(read, strips), strict=True):
        copy = Gegl.Buffer.new(wide, 0, 0, width * step, strip.height * step)
        for band, data in pieces:
            copy.set(rectangle(band), linear, data)
        # With a scale the rectangle is counted in scaled pixels.
        box = Gegl.Rectangle.new(0, 0, width, strip.height)
        scaled.append(copy.get(box, 1.0 / step, wide, _CLAMP))
    return PlaneSpec((height, width, channels), "u16"), b"".join(scaled)
