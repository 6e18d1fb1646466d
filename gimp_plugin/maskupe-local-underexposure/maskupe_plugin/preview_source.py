"""The small stand-in of the layer that the preview is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gi.repository import Gegl

from maskupe_client.client import EnhanceRequest, PlaneSpec
from maskupe_plugin import pixels
from maskupe_plugin.context import read_context, ready_to_scale
from maskupe_plugin.job import Job
from maskupe_plugin.region import AUTO, Box, padded, reach, scaled
from maskupe_plugin.settings import Settings

_FORMAT = "R'G'B'A u16"
_CHANNELS = 4


@dataclass(frozen=True)
class Proxy:
    """A part of the layer, scaled down.

    Attributes:
        view: the part, in layer coordinates.
        scale: preview pixels per layer pixel, at most 1.
        box: the part in scaled coordinates.
        layer: height and width of the scaled layer.
        before: the pixels, RGBA with 16 bits.
        selection: the selection, one byte per pixel; None without one.
        context: the whole layer scaled down; None if the view is all of it.
    """

    view: Box
    scale: float
    box: Box
    layer: tuple[int, int]
    before: bytes
    selection: bytes | None
    context: tuple[PlaneSpec, bytes] | None

    def request(self, settings: Settings, weight: bool) -> EnhanceRequest:
        """Return what the daemon is asked for.

        Args:
            settings: the user's.
            weight: whether the blend weight is wanted too.
        """
        size = (self.box.height, self.box.width)
        return EnhanceRequest(
            image=PlaneSpec((*size, _CHANNELS), "u16"),
            layer=self.layer,
            origin=(self.box.y, self.box.x),
            selection=PlaneSpec(size, "u8") if self.selection is not None else None,
            context=self.context[0] if self.context else None,
            model=settings.model,
            strength=settings.strength,
            denoise=settings.denoise,
            warmth=settings.warmth,
            saturation=settings.saturation,
            width=scaled(settings.width, self.scale),
            side=settings.side,
            edges=scaled(settings.edges, self.scale),
            outputs=("image", "areas", "weight") if weight else ("image", "areas"),
        )

    def planes(self) -> list[Any]:
        """Return the planes of the request."""
        context = self.context[1] if self.context else None
        return [plane for plane in (self.before, self.selection, context) if plane is not None]


def view_of(job: Job, zoomed: bool) -> Box:
    """Return what the preview shows: the selection with its surroundings, or the whole layer.

    The surroundings have room for the automatic transition, whatever the transition is: the view
    does not move while the settings are tried.
    """
    if not zoomed or job.bounds is None:
        return job.layer
    bounds, width, height = job.bounds, job.layer.width, job.layer.height
    band = reach(AUTO, "outside", AUTO, bounds, min(width, height))
    around = max(16, round(0.1 * max(bounds.width + 2 * band, bounds.height + 2 * band)))
    return padded(bounds, band + around, width, height)


def read_proxy(job: Job, view: Box, size: tuple[int, int]) -> Proxy:
    """Read what is needed for a view from GIMP.

    Args:
        job: what is planned.
        view: the part of the layer to show.
        size: width and height in pixels of the screen, within which the picture keeps its shape.
    """
    ready_to_scale()
    scale = min(1.0, size[0] / view.width, size[1] / view.height)
    layer = Box(
        0, 0, max(1, round(job.layer.width * scale)), max(1, round(job.layer.height * scale))
    )
    left, top = int(view.x * scale), int(view.y * scale)
    right, bottom = -int(-view.right * scale // 1), -int(-view.bottom * scale // 1)
    box = Box(left, top, right - left, bottom - top).within(layer)
    buffer = job.drawable.get_buffer()
    before = buffer.get(pixels.rectangle(box), scale, _FORMAT, Gegl.AbyssPolicy.CLAMP)
    selection = None
    if job.selected:
        _, x, y = job.drawable.get_offsets()
        place = pixels.rectangle(box.moved(round(x * scale), round(y * scale)))
        mask = job.image.get_selection().get_buffer()
        selection = mask.get(place, scale, "Y u8", Gegl.AbyssPolicy.NONE)
    context = None
    if box != layer:
        context = read_context(job.drawable, buffer, job.encoding)
    return Proxy(view, scale, box, (layer.height, layer.width), before, selection, context)
