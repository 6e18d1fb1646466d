"""Reading a region of a drawable and writing it back, in bands of rows.

One bytes object of a whole photograph costs more in page faults than the pixels themselves, so
both ways go band by band; only the region is ever touched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from gi.repository import Gegl, Gimp

from maskupe_plugin.encoding import Encoding, context_format, selection_format
from maskupe_plugin.region import Box, context_size

#: Rows of a band: as many as GIMP's tiles have, so that a band fills whole rows of tiles.
_BAND = 128
#: Strips that may wait to be scaled.
_AHEAD = 3
_NO_ABYSS = Gegl.AbyssPolicy.NONE
_CLAMP = Gegl.AbyssPolicy.CLAMP
_RUN = re.compile(rb"[^\0]+")

Report = Callable[[float], None]


def rectangle(box: Box) -> Gegl.Rectangle:
    """The box as GEGL wants it."""
    return Gegl.Rectangle.new(box.x, box.y, box.width, box.height)


def bands(box: Box) -> Iterator[Box]:
    """The box in strips of full width, from top to bottom, that end where GIMP's tiles do.

    A tile that is written in two pieces has to be fetched from GIMP first.
    """
    top = box.y
    while top < box.bottom:
        below = min((top // _BAND + 1) * _BAND, box.bottom)
        yield Box(box.x, top, box.width, below - top)
        top = below


def region_bands(buffer: Gegl.Buffer, box: Box, encoding: Encoding) -> Iterator[bytes]:
    """The pixels of the box (layer coordinates), row by row, in bands."""
    for band in bands(box):
        yield buffer.get(rectangle(band), 1.0, encoding.format, _NO_ABYSS)


def selection_bands(image: Gimp.Image, box: Box, dtype: str) -> Iterator[bytes]:
    """The selection in the box (image coordinates), in bands; outside of the canvas it is 0."""
    buffer = image.get_selection().get_buffer()
    babl = selection_format(dtype)
    for band in bands(box):
        yield buffer.get(rectangle(band), 1.0, babl, _NO_ABYSS)


def ready_to_scale() -> None:
    """Has to be called before anything is scaled: else it comes out black, without a word.

    GEGL initialises itself in part only; what halves tiles is missing outside of a dialog. Its
    operations, which take long to load, are not needed here.
    """
    os.environ.setdefault("GEGL_PATH", os.devnull)
    Gegl.init(None)


def read_context(
    buffer: Gegl.Buffer, encoding: Encoding, long_edge: int
) -> tuple[tuple[int, int, int], bytes]:
    """A drawable's whole buffer scaled down: height, width and channels, and the pixels as u16.

    GEGL averages in linear light, but the command line (and training) averages the encoded
    numbers. So they are copied, strip by strip, into a buffer that calls them linear. Halving it
    again and again is exact then, and 16 bits are enough for the rounding not to add up. Bytes
    are read as bytes: widening linear ones is exact too, and much faster than encoded ones.
    While the next strip is read from GIMP, which only this thread may do, another halves the last.
    """
    ready_to_scale()
    extent = buffer.get_extent()
    width, height, step = context_size(extent.width, extent.height, long_edge)
    channels, babl, linear = context_format(encoding)
    wide = "RGB u16" if channels == 3 else "Y u16"

    def halved(pieces: list[tuple[Box, bytes]], rows: int) -> bytes:
        strip = Gegl.Buffer.new(wide, 0, 0, width * step, rows * step)
        for band, piece in pieces:
            strip.set(rectangle(band), linear, piece)
        # With a scale the rectangle is counted in scaled pixels.
        return strip.get(Gegl.Rectangle.new(0, 0, width, rows), 1.0 / step, wide, _CLAMP)

    # A strip of more rows would not stay in the processor's cache.
    rows = max(1, _BAND // step)
    scaled: list[Future[bytes]] = []
    with ThreadPoolExecutor(1) as beside:
        for top in range(0, height, rows):
            count = min(rows, height - top)
            pieces = []
            for band in bands(Box(0, 0, width * step, count * step)):
                place = rectangle(band.moved(0, top * step))
                pieces.append((band, buffer.get(place, 1.0, babl, _CLAMP)))
            if len(scaled) >= _AHEAD:
                scaled[-_AHEAD].result()
            scaled.append(beside.submit(halved, pieces, count))
    return (height, width, channels), b"".join(strip.result() for strip in scaled)


def copy_pixels(source: Gegl.Buffer, place: Box, target: Gegl.Buffer, where: Box) -> None:
    """Copies a box of pixels to another buffer: bit for bit if both are of one format."""
    source.copy(rectangle(place), _NO_ABYSS, target, rectangle(where))
    target.flush()


def write_bands(
    buffer: Gegl.Buffer, box: Box, encoding: Encoding, pixels: memoryview, report: Report
) -> None:
    """Writes all pixels of the box."""
    row = box.width * encoding.pixel_bytes
    for band in bands(box):
        at = (band.y - box.y) * row
        data = pixels[at : at + band.height * row]
        buffer.set(rectangle(band), encoding.format, bytes(data))
        report((band.bottom - box.y) / box.height)
    buffer.flush()


def write_touched(
    buffer: Gegl.Buffer,
    box: Box,
    encoding: Encoding,
    pixels: memoryview,
    touched: bytes,
    report: Report,
) -> None:
    """Writes only the pixels that are not 0 in ``touched`` (one byte per pixel of the box).

    For layers whose own format cannot be named: what is not written is not converted either, so
    it keeps its bits.
    """
    size = encoding.pixel_bytes
    for y in range(box.height):
        for run in _RUN.finditer(touched, y * box.width, (y + 1) * box.width):
            first, last = run.span()
            place = Gegl.Rectangle.new(box.x + first - y * box.width, box.y + y, last - first, 1)
            buffer.set(place, encoding.format, bytes(pixels[first * size : last * size]))
        if y % _BAND == 0:
            report(y / box.height)
    buffer.flush()
