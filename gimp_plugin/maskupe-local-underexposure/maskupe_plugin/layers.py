"""New layers for what came back."""

from __future__ import annotations

from gi.repository import Gimp

from maskupe_client.client import feed
from maskupe_plugin.encoding import Encoding
from maskupe_plugin.job import Job
from maskupe_plugin.pixels import BandWriter, Report
from maskupe_plugin.region import Box


def add_layer(job: Job, name: str, kind: Gimp.ImageType) -> Gimp.Layer:
    """Return an empty layer of the region's size and place, right above the one worked on."""
    image, drawable, box = job.image, job.drawable, job.box
    title = name.format(name=drawable.get_name())
    mode = Gimp.LayerMode.NORMAL
    layer = Gimp.Layer.new(image, title, box.width, box.height, kind, 100.0, mode)
    image.insert_layer(layer, drawable.get_parent(), image.get_item_position(drawable))
    _found, offset_x, offset_y = drawable.get_offsets()
    layer.set_offsets(box.x + offset_x, box.y + offset_y)
    return layer


def fill(layer: Gimp.Drawable, encoding: Encoding, pixels: memoryview, report: Report) -> None:
    """Write all pixels of a layer or mask."""
    whole = Box(0, 0, layer.get_width(), layer.get_height())
    feed(BandWriter(layer.get_buffer(), whole, encoding, report), pixels)
    layer.update(*whole)


def in_own_curve(job: Job, layer: Gimp.Layer) -> None:
    """Have GIMP mix the layer with what is below in the encoded values, as the daemon does."""
    spaces = Gimp.LayerColorSpace
    space = spaces.RGB_NON_LINEAR if "'" in job.encoding.colour else spaces.RGB_PERCEPTUAL
    layer.set_blend_space(space)
    layer.set_composite_space(space)
