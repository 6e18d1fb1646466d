"""Reading a region of a drawable and writing it back, in bands of rows.

One bytes object of a whole photograph costs more in page faults than the pixels themselves, so
both ways go band by band; only the region is ever touched.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future

from gi.repository import Gegl, Gimp

from maskupe_plugin import tile_io
from maskupe_plugin.encoding import Encoding, selection_format
from maskupe_plugin.region import Box

#: Rows of a band: as many as GIMP's tiles have, so that a band fills whole rows of tiles.
BAND = 128
_NO_ABYSS = Gegl.AbyssPolicy.NONE
_RUN = re.compile(rb"[^\0]+")

Report = Callable[[float], None]


def rectangle(box: Box) -> Gegl.Rectangle:
    """Return the box as GEGL wants it."""
    return Gegl.Rectangle.new(box.x, box.y, box.width, box.height)


def bands(box: Box) -> Iterator[Box]:
    """Yield the box in strips of full width, from top to bottom, that end where GIMP's tiles do.

    A tile that is written in two pieces has to be fetched from GIMP first.
    """
    top = box.y
    while top < box.bottom:
        below = min((top // BAND + 1) * BAND, box.bottom)
        yield Box(box.x, top, box.width, below - top)
        top = below


def region_bands(buffer: Gegl.Buffer, box: Box, encoding: Encoding) -> Iterator[bytes]:
    """Return the pixels of the box (layer coordinates), row by row, in bands."""
    return _read(buffer, box, encoding.format)


def selection_bands(image: Gimp.Image, box: Box, dtype: str) -> Iterator[bytes]:
    """Return the selection in the box (image coordinates), in bands.

    Outside of the canvas it is 0.
    """
    return _read(image.get_selection().get_buffer(), box, selection_format(dtype))


def _read(buffer: Gegl.Buffer, box: Box, babl: str) -> Iterator[bytes]:
    def read(band: Box) -> bytes:
        return buffer.get(rectangle(band), 1.0, babl, _NO_ABYSS)

    return tile_io.in_order(read, bands(box))


def copy_pixels(source: Gegl.Buffer, place: Box, target: Gegl.Buffer, where: Box) -> None:
    """Copy a box of pixels to another buffer: bit for bit if both are of one format."""
    source.copy(rectangle(place), _NO_ABYSS, target, rectangle(where))
    target.flush()


class BandWriter:
    """Writes the pixels of a box into a buffer, band by band as they arrive.

    It is a :class:`maskupe_client.client.Taker`.

    Args:
        buffer: where to.
        box: the box, in the buffer's coordinates.
        encoding: how the pixels are encoded.
        report: called with 0…1.
    """

    def __init__(self, buffer: Gegl.Buffer, box: Box, encoding: Encoding, report: Report) -> None:
        self._buffer = buffer
        self._box = box
        self._encoding = encoding
        self._report = report
        self._left: Iterator[Box] = iter(())
        self._writing: deque[Future[None]] = deque()

    def begin(self) -> list[int]:
        """Start at the top; how many bytes each band has."""
        tile_io.wait_idle()  # an attempt before, which broke off
        self._writing.clear()
        row = self._box.width * self._encoding.pixel_bytes
        self._left = bands(self._box)
        return [band.height * row for band in bands(self._box)]

    def take(self, piece: memoryview) -> None:
        """Write the next band; with the last one all are written."""
        band = next(self._left)
        # Only bytes are handed over as a whole; from a memoryview PyGObject takes byte by byte.
        self._writing.append(tile_io.start(self._put, band, bytes(piece)))
        last = band.bottom == self._box.bottom
        while self._writing and (last or len(self._writing) == tile_io.AHEAD):
            self._writing.popleft().result()
        self._report((band.bottom - self._box.y) / self._box.height)

    def _put(self, band: Box, data: bytes) -> None:
        self._buffer.set(rectangle(band), self._encoding.format, data)
        self._buffer.flush()


def write_touched(
    buffer: Gegl.Buffer,
    box: Box,
    encoding: Encoding,
    pixels: memoryview,
    touched: bytes,
    report: Report,
) -> None:
    """Write only the pixels that are not 0 in ``touched`` (one byte per pixel of the box).

    For layers whose own format cannot be named: what is not written is not converted either, so
    it keeps its bits.
    """
    size = encoding.pixel_bytes
    for y in range(box.height):
        for run in _RUN.finditer(touched, y * box.width, (y + 1) * box.width):
            first, last = run.span()
            place = Gegl.Rectangle.new(box.x + first - y * box.width, box.y + y, last - first, 1)
            buffer.set(place, encoding.format, bytes(pixels[first * size : last * size]))
        if y % BAND == 0:
            report(y / box.height)
    buffer.flush()
