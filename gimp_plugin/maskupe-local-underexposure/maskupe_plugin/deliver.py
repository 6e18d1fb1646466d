"""Putting the answer where the user wants it: into the layer, or above it."""

from __future__ import annotations

from gi.repository import Gimp

from maskupe_plugin.encoding import Encoding, float_encoding, mask_encoding
from maskupe_plugin.job import Answer, Job
from maskupe_plugin.outputs import ILLUMINATION, MASKED_LAYER, THIS_LAYER
from maskupe_plugin.pixels import Report, write_bands
from maskupe_plugin.region import Box
from maskupe_plugin.words import _
from maskupe_plugin.write_back import one_undo_step, replace_region

#: The daemon's ``areas`` (0, 1, 2) as a mask: all of A and B is shown.
_AS_MASK = bytes(255 * (value > 0) for value in range(256))


def wanted_planes(job: Job) -> tuple[str, ...]:
    """Which planes the daemon has to answer with."""
    output = job.settings.output
    if output == ILLUMINATION:
        return ("illumination",)
    if output == MASKED_LAYER or (output == THIS_LAYER and not job.encoding.native):
        return ("image", "areas")
    return ("image",)


def deliver(job: Job, answer: Answer, report: Report) -> None:
    """Writes the result as one undo step."""
    if job.settings.output == THIS_LAYER:
        touched = None if job.encoding.native else bytes(answer.planes["areas"])
        replace_region(
            job.image,
            job.drawable,
            job.box,
            job.encoding,
            answer.planes["image"],
            touched,
            report,
        )
        return
    with one_undo_step(job.image):
        if job.settings.output == ILLUMINATION:
            _add_illumination(job, answer.planes["illumination"], report)
        else:
            layer = _add_layer(job, _("{name}, lit up"), job.drawable.type())
            _fill(layer, job.encoding, answer.planes["image"], report)
            if job.settings.output == MASKED_LAYER:
                _add_mask(layer, bytes(answer.planes["areas"]))
    Gimp.displays_flush()


def _add_layer(job: Job, name: str, kind: Gimp.ImageType) -> Gimp.Layer:
    """An empty layer of the region's size and place, right above the one worked on."""
    image, drawable, box = job.image, job.drawable, job.box
    title = name.format(name=drawable.get_name())
    mode = Gimp.LayerMode.NORMAL
    layer = Gimp.Layer.new(image, title, box.width, box.height, kind, 100.0, mode)
    image.insert_layer(layer, drawable.get_parent(), image.get_item_position(drawable))
    _found, offset_x, offset_y = drawable.get_offsets()
    layer.set_offsets(box.x + offset_x, box.y + offset_y)
    return layer


def _fill(layer: Gimp.Drawable, encoding: Encoding, pixels: memoryview, report: Report) -> None:
    whole = Box(0, 0, layer.get_width(), layer.get_height())
    write_bands(layer.get_buffer(), whole, encoding, pixels, report)
    layer.update(*whole)


def _add_mask(layer: Gimp.Layer, areas: bytes) -> None:
    """A mask that shows where the effect reaches; the transition is in the pixels already."""
    mask = layer.create_mask(Gimp.AddMaskType.WHITE)
    layer.add_mask(mask)
    _fill(mask, mask_encoding(mask), memoryview(areas.translate(_AS_MASK)), lambda _part: None)


def _add_illumination(job: Job, illumination: memoryview, report: Report) -> None:
    """A layer by which GIMP divides: the layer below, divided by it, is the result."""
    gray = job.drawable.is_gray()
    kind = Gimp.ImageType.GRAY_IMAGE if gray else Gimp.ImageType.RGB_IMAGE
    layer = _add_layer(job, _("Light of {name}"), kind)
    layer.set_mode(Gimp.LayerMode.DIVIDE)
    # The daemon divided the encoded values, and so has GIMP to, with the same curve.
    spaces = Gimp.LayerColorSpace
    own_curve = "'" in job.encoding.colour
    layer.set_blend_space(spaces.RGB_NON_LINEAR if own_curve else spaces.RGB_PERCEPTUAL)
    _fill(layer, float_encoding(job.drawable), illumination, report)
