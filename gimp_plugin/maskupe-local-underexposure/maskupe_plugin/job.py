"""One run: from the drawable and the selection to a request, and from the answer to pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gi.repository import Gegl, Gimp

from maskupe_client.client import (
    ChunkedFrame,
    Client,
    EnhanceRequest,
    FrameSink,
    PlaneSpec,
    Progress,
)
from maskupe_plugin import pixels
from maskupe_plugin.checks import possible_outputs, selected_box, the_drawable
from maskupe_plugin.context import read_context
from maskupe_plugin.encoding import Encoding, encoding_of, selection_dtype
from maskupe_plugin.region import Box, padded, reach
from maskupe_plugin.settings import Settings

# Buffers keep the tiles that were read. Giving back that memory takes time which GIMP would wait
# for; the process ends right after it has answered, and does it then.
_kept: list[Gegl.Buffer] = []


@dataclass(frozen=True)
class Job:
    """What is to be done, before anything is read.

    Attributes:
        image: the image.
        drawable: the layer, mask or channel.
        settings: what the user asks for.
        box: the region in layer coordinates.
        bounds: the selection's bounds within the layer; None without a selection, when everything
            is lit up.
        encoding: how the pixels travel.
    """

    image: Gimp.Image
    drawable: Gimp.Drawable
    settings: Settings
    box: Box
    bounds: Box | None
    encoding: Encoding

    @property
    def selected(self) -> bool:
        """Whether there is a selection."""
        return self.bounds is not None

    @property
    def layer(self) -> Box:
        """The whole layer, in its own coordinates."""
        return Box(0, 0, self.drawable.get_width(), self.drawable.get_height())


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        planes: the pixels by name, without what was taken already.
        seconds: how long the daemon worked.
        width: the width of the transition that was used, in pixels.
        notes: what the daemon wants the person to know.
    """

    planes: dict[str, memoryview]
    seconds: float
    width: float
    notes: tuple[str, ...]


def plan(image: Gimp.Image, drawables: list[Gimp.Drawable], settings: Settings) -> Job:
    """Check what the procedure was called on and finds the region.

    Raises:
        UserError: if it cannot be worked on.
    """
    drawable = the_drawable(drawables)
    outputs, forbidden = possible_outputs(drawable)
    if forbidden is not None and settings.output not in outputs:
        raise forbidden
    width, height = drawable.get_width(), drawable.get_height()
    bounds = selected_box(drawable)
    if bounds is None:
        box = Box(0, 0, width, height)
    else:
        margin = reach(settings.width, settings.side, settings.edges, bounds, min(width, height))
        box = padded(bounds, margin, width, height)
    return Job(image, drawable, settings, box, bounds, encoding_of(drawable))


def send(
    client: Client,
    job: Job,
    outputs: tuple[str, ...],
    report: Callable[[Progress], None],
    takers: Mapping[str, FrameSink],
) -> Answer:
    """Send the region, waits for the result.

    The pixels are read from GIMP while they are sent, band by band, and what ``takers`` take is
    written to it while it arrives.

    Raises:
        ClientError: if the daemon is gone, cannot do it, or refuses.
    """
    box, encoding = job.box, job.encoding
    context = None
    # One buffer for both, which keeps the tiles that it may have got for the context.
    buffer = job.drawable.get_buffer()
    _kept.append(buffer)
    size = box.width * box.height * encoding.pixel_bytes
    planes: list[object] = [ChunkedFrame(size, lambda: pixels.region_bands(buffer, box, encoding))]
    if job.selected:
        _, offset_x, offset_y = job.drawable.get_offsets()
        plane = PlaneSpec((box.height, box.width), selection_dtype(job.image))
        planes.append(_selection_plane(job.image, box.moved(offset_x, offset_y), plane))
    if box != job.layer:
        context, data = read_context(job.drawable, buffer, encoding)
        planes.append(data)
    request = request_of(job, context, outputs)
    header, found = client.enhance(request, planes, report, takers=takers)
    return Answer(found, header["seconds"], header["width"], header["notes"])


def request_of(
    job: Job,
    context: PlaneSpec | None,
    outputs: tuple[str, ...],
    part: tuple[int, int, int, int] | None = None,
) -> EnhanceRequest:
    """Return what the daemon is asked for.

    Args:
        job: what to do.
        context: of the layer scaled down; None if the region is all of it.
        outputs: which planes are wanted back.
        part: row, column, height and width of the only part of the region that is wanted back.
    """
    box, encoding, settings = job.box, job.encoding, job.settings
    selection = PlaneSpec((box.height, box.width), selection_dtype(job.image))
    return EnhanceRequest(
        image=PlaneSpec((box.height, box.width, encoding.channels), encoding.dtype),
        layer=(job.layer.height, job.layer.width),
        origin=(box.y, box.x),
        selection=selection if job.selected else None,
        context=context,
        model=settings.model,
        strength=settings.strength,
        denoise=settings.denoise,
        warmth=settings.warmth,
        saturation=settings.saturation,
        width=settings.width,
        side=settings.side,
        edges=settings.edges,
        outputs=outputs,
        part=part,
    )


def _selection_plane(image: Gimp.Image, box: Box, plane: PlaneSpec) -> ChunkedFrame:
    return ChunkedFrame(plane.nbytes, lambda: pixels.selection_bands(image, box, plane.dtype))
