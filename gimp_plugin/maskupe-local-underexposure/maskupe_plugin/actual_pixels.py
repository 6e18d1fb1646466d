"""The preview at full size: what OK would send, of which the daemon answers only what is seen.

The daemon gets the same pixels, selection and context as for OK, so what is seen is what OK gives:
noise, blocks and edges included. GIMP hands over the region while the dialog has nothing else to
do, a band of rows at a time; it is kept until the dialog is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from gi.repository import Gegl, GLib

from maskupe_client.client import ChunkedFrame, EnhanceRequest, PlaneSpec
from maskupe_plugin import preview_image
from maskupe_plugin.checks import UserError
from maskupe_plugin.context import read_context
from maskupe_plugin.encoding import selection_dtype, selection_format
from maskupe_plugin.i18n import _
from maskupe_plugin.job import Job, request_of
from maskupe_plugin.outputs import THIS_LAYER
from maskupe_plugin.pixels import bands, rectangle
from maskupe_plugin.preview_worker import PreviewResult
from maskupe_plugin.region import Box, padded
from maskupe_plugin.settings import Settings
from maskupe_plugin.viewport import part_to_render

#: Most bytes of a region that are kept for the preview.
_MOST_BYTES = 1 << 30
#: So many pixels are rendered for a view of fewer, so that panning a little asks for nothing.
_AHEAD_PIXELS = 1_000_000
#: The format of the fitted view: babl takes long to find its way to another one.
_SHOWN = "R'G'B'A u16"
_NONE = Gegl.AbyssPolicy.NONE

_Context = tuple[PlaneSpec, bytes]


class _Plane:
    """A rectangle of values, in bands of rows.

    Args:
        pixel_bytes: bytes per pixel.
    """

    def __init__(self, pixel_bytes: int) -> None:
        self._pixel_bytes = pixel_bytes
        self._bands: list[tuple[Box, bytes]] = []

    def add(self, band: Box, data: bytes) -> None:
        """Append the next band."""
        self._bands.append((band, data))

    def frame(self, box: Box) -> ChunkedFrame:
        """Return a part of it, to be sent."""
        size = box.width * box.height * self._pixel_bytes
        return ChunkedFrame(size, lambda: self._cut(box))

    def _cut(self, box: Box) -> Iterator[bytes]:
        for band, data in self._bands:
            part = box.within(band)
            if part.height:
                row, wide = band.width * self._pixel_bytes, part.width * self._pixel_bytes
                first = (part.y - band.y) * row + (part.x - band.x) * self._pixel_bytes
                starts = range(first, first + part.height * row, row)
                yield b"".join(data[at : at + wide] for at in starts)


class _RegionCopy:
    """The pixels of a region and its selection, read step by step.

    Args:
        job: what is planned; more than its region is read, so that a wider transition fits too.

    Attributes:
        box: what is read, in layer coordinates.
        buffer: the layer's pixels; keeps those that were read before.

    Raises:
        UserError: if the region is too large.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self.box = job.layer
        if job.bounds is not None:
            margin = 2 * max(job.bounds.x - job.box.x, job.box.right - job.bounds.right, 16)
            self.box = padded(job.bounds, margin, job.layer.width, job.layer.height)
        size = self.box.width * self.box.height * job.encoding.pixel_bytes
        if size > _MOST_BYTES:
            raise UserError(
                _("The selection is too large to show its actual pixels: the preview is magnified.")
            )
        self.buffer = job.drawable.get_buffer()
        self._pixels = _Plane(job.encoding.pixel_bytes)
        self._selection: _Plane | None = None
        self._context: _Context | None = None
        self._steps = self._read()

    def serves(self, job: Job) -> bool:
        """Return whether it holds what a job needs."""
        own = self._job
        same = (job.drawable, job.bounds, job.layer, job.encoding)
        kept = (own.drawable, own.bounds, own.layer, own.encoding)
        return same == kept and self.box.holds(job.box)

    def step(self) -> bool:
        """Read the next band; return whether there are more."""
        return next(self._steps, False)

    def _read(self) -> Iterator[bool]:
        job = self._job
        for band in bands(self.box):
            data = self.buffer.get(rectangle(band), 1.0, job.encoding.format, _NONE)
            self._pixels.add(band, data)
            yield True
        if not job.selected:
            return
        dtype = selection_dtype(job.image)
        self._selection = _Plane(PlaneSpec((1, 1), dtype).nbytes)
        mask, babl = job.image.get_selection().get_buffer(), selection_format(dtype)
        _, x, y = job.drawable.get_offsets()
        for band in bands(self.box):
            place = rectangle(band.moved(x, y))
            self._selection.add(band, mask.get(place, 1.0, babl, _NONE))
            yield True

    def request(
        self, job: Job, part: Box, outputs: tuple[str, ...], context: _Context | None
    ) -> tuple[EnhanceRequest, list[Any]]:
        """Return what to ask the daemon for, and its planes.

        Args:
            job: which it serves.
            part: what is wanted back, in layer coordinates.
            outputs: which planes of it.
            context: the layer scaled down, if it was read already.
        """
        planes: list[Any] = [self._pixels.frame(job.box)]
        if self._selection is not None:
            planes.append(self._selection.frame(job.box))
        spec = None
        if job.box != job.layer:
            self._context = (
                self._context or context or read_context(job.drawable, self.buffer, job.encoding)
            )
            spec = self._context[0]
            planes.append(self._context[1])
        place = (part.y - job.box.y, part.x - job.box.x, part.height, part.width)
        return request_of(job, spec, outputs, place), planes


@dataclass(frozen=True)
class _Key:
    """What a rendered part was made from."""

    settings: Settings
    copy: _RegionCopy
    weight: bool


@dataclass(frozen=True)
class _Part:
    """A rendered part of the region.

    Attributes:
        key: what it was made from.
        box: where it is, in layer coordinates.
        picture: RGBA with 8 bits in sRGB.
        areas: one byte per pixel.
        weight: likewise, 255 is 1; None where it was not asked for.
    """

    key: _Key
    box: Box
    picture: bytes
    areas: bytes
    weight: bytes | None


class ActualPixels:
    """What a magnified preview shows, and the requests for it.

    Args:
        ask: hands a request to the daemon's thread, with something that comes back with the answer.
    """

    def __init__(self, ask: Callable[[EnhanceRequest, list[Any], Any], None]) -> None:
        self._ask = ask
        self._copy: _RegionCopy | None = None
        self._reading = 0
        self._latest: tuple[Job, Box, bool, _Context | None] | None = None
        self._asked: tuple[_Key, Box] | None = None
        self._part: _Part | None = None
        self._before: tuple[Box, bytes] | None = None

    def want(self, job: Job, view: Box, weight: bool, context: _Context | None) -> None:
        """See to it that what a view shows is rendered with the settings of a job.

        Args:
            job: what is planned.
            view: what is seen, in layer coordinates.
            weight: whether the blend weight is to be shown.
            context: the layer scaled down, if it was read already.

        Raises:
            UserError: if the region is too large.
        """
        if self._copy is None or not self._copy.serves(job):
            self.forget()
            self._copy = _RegionCopy(job)
            self._reading = GLib.idle_add(self._read_on)
        self._latest = job, view, weight, context
        if not self._reading:
            self._request()

    def _read_on(self) -> bool:
        if self._copy is not None and self._copy.step():
            return True
        self._reading = 0
        self._request()
        return False

    def _request(self) -> None:
        if self._copy is None or self._latest is None:
            return
        job, view, weight, context = self._latest
        key = _Key(replace(job.settings, output=THIS_LAYER), self._copy, weight)
        part = part_to_render(view, job.box, _AHEAD_PIXELS)
        if not part.width or not part.height:
            return
        if self._asked and self._asked[0] == key and self._asked[1].holds(view.within(job.box)):
            return
        outputs = ("image", "areas", "weight") if weight else ("image", "areas")
        self._asked = key, part
        request, planes = self._copy.request(job, part, outputs, context)
        self._ask(request, planes, (key, part, job.encoding))

    def arrived(self, result: PreviewResult) -> None:
        """Take the answer to a request."""
        key, box, encoding = result.about
        if key.copy is not self._copy:
            return
        weight = result.planes.get("weight")
        self._part = _Part(
            key,
            box,
            preview_image.high_bytes(
                _converted(result.planes["image"], box.width, box.height, encoding.format, _SHOWN)
            ),
            bytes(result.planes["areas"]),
            None if weight is None else weight_bytes(weight, box.width, box.height),
        )

    def failed(self) -> None:
        """Ask again next time, also for what was asked for: there may come no answer."""
        self._asked = None

    def covers(self, box: Box) -> bool:
        """Return whether a box of the layer is rendered, with these settings or earlier ones."""
        return self._part is not None and self._part.box.holds(box)

    def before(self, view: Box, job: Job) -> bytes:
        """Return the layer as it is in a view, RGBA with 8 bits."""
        if self._before is None or self._before[0] != view:
            buffer = self._copy.buffer if self._copy else job.drawable.get_buffer()
            pixels = buffer.get(rectangle(view), 1.0, _SHOWN, _NONE)
            self._before = view, preview_image.high_bytes(pixels)
        return self._before[1]

    def lay_over(self, shown: bytearray, view: Box) -> None:
        """Lay what is rendered over a picture of a view."""
        if self._part is not None:
            part = self._part
            preview_image.paste(part.picture, part.box, shown, view, preview_image.PIXEL)

    def areas(self, view: Box) -> bytes | None:
        """Return the areas in a view, a byte for each pixel; None while they are not known."""
        return self._plane(view, lambda part: part.areas)

    def weight(self, view: Box) -> bytes | None:
        """Return the blend weight in a view, likewise."""
        return self._plane(view, lambda part: part.weight)

    def _plane(self, view: Box, of: Callable[[_Part], bytes | None]) -> bytes | None:
        part = self._part
        plane = of(part) if part else None
        if part is None or plane is None:
            return None
        shown = bytearray(view.width * view.height)
        preview_image.paste(plane, part.box, shown, view, 1)
        return bytes(shown)

    def forget(self) -> None:
        """Stop reading, and free what was read."""
        if self._reading:
            GLib.source_remove(self._reading)
        self._reading = 0
        self._copy = self._part = self._asked = self._before = self._latest = None


def weight_bytes(plane: memoryview, width: int, height: int) -> bytes:
    """Return the daemon's weights as bytes, 255 for 1."""
    return _converted(plane, width, height, "Y float", "Y u8")


def _converted(plane: memoryview, width: int, height: int, babl: str, wanted: str) -> bytes:
    whole = Gegl.Rectangle.new(0, 0, width, height)
    buffer = Gegl.Buffer.new(babl, 0, 0, width, height)
    buffer.set(whole, babl, bytes(plane))
    return buffer.get(whole, 1.0, wanted, _NONE)
