"""The illumination layer: the light alone, as something that can be painted on.

The layer below divided by it is the result, nearly: black stays black whatever it is divided by,
and in an 8-bit image one step of a small divisor moves the result by several. So a second layer
holds what is missing, a few levels either way. GIMP itself finds out what that is, in an image
that the user never sees. Such a layer of whole numbers moves a pixel by half of the range at most,
so where black is lifted further there is another one. All are in a group, to be shown, hidden,
faded or masked together.
"""

from __future__ import annotations

from gi.repository import Gimp

from maskupe_plugin.encoding import byte_encoding, float_encoding
from maskupe_plugin.i18n import _
from maskupe_plugin.job import Answer, Job
from maskupe_plugin.layers import add_layer, fill, in_own_curve
from maskupe_plugin.pixels import Report, copy_pixels, region_bands
from maskupe_plugin.region import Box

#: Each moves a pixel by almost half of the range: three are enough for all of it.
_MOST_REMAINDERS = 3
_NORMAL, _EXTRACT = Gimp.LayerMode.NORMAL, Gimp.LayerMode.GRAIN_EXTRACT


def add_light(job: Job, answer: Answer, report: Report) -> Gimp.GroupLayer:
    """Add the illumination layer above the one worked on; return its group."""
    group = Gimp.GroupLayer.new(job.image, "")
    place = job.image.get_item_position(job.drawable)
    job.image.insert_layer(group, job.drawable.get_parent(), place)
    group.set_name(_("Light of {name}").format(name=job.drawable.get_name()))
    # Passing through, its layers work on what lies below the group.
    group.set_mode(Gimp.LayerMode.PASS_THROUGH)
    divisor = _add_divisor(job, answer.planes["illumination"], report)
    job.image.reorder_item(divisor, group, 0)
    layers = [divisor]
    while len(layers) <= _MOST_REMAINDERS:
        remainder = _remainder(job, layers, answer.planes["image"])
        job.image.insert_layer(remainder, group, 0)
        remainder.set_offsets(*divisor.get_offsets()[1:])
        layers.append(remainder)
        if not _at_its_limits(remainder):
            break
    job.image.set_selected_layers([divisor])
    return group


def _add_divisor(job: Job, light: memoryview, report: Report) -> Gimp.Layer:
    layer = add_layer(job, _("Light"), _opaque(job))
    layer.set_mode(Gimp.LayerMode.DIVIDE)
    # The daemon divided the encoded values, and so has GIMP to, with the same curve.
    in_own_curve(job, layer)
    fill(layer, float_encoding(job.drawable), light, report)
    return layer


def _remainder(job: Job, layers: list[Gimp.Layer], result: memoryview) -> Gimp.Layer:
    """Return a layer in Grain Extract mode: what the layers give, less the result, around mid-gray.

    Extracted from what the layers give, it leaves the result.

    Args:
        job: what was done.
        layers: the divisor and earlier remainders, from the lowest.
        result: the pixels wanted.
    """
    width, height = layers[0].get_width(), layers[0].get_height()
    image = job.image
    hidden = Gimp.Image.new_with_precision(
        width, height, image.get_base_type(), image.get_precision()
    )
    try:
        hidden.undo_disable()
        profile = image.get_color_profile()
        if profile is not None:  # GIMP 3.0 shows an error message otherwise
            hidden.set_color_profile(profile)
        below, wanted = (_empty(job, hidden, mode) for mode in (_NORMAL, _EXTRACT))
        hidden.insert_layer(below, None, 0)
        # Alpha is left behind: both layers are opaque.
        whole = Box(0, 0, width, height)
        copy_pixels(job.drawable.get_buffer(), job.box, below.get_buffer(), whole)
        for layer in layers:
            above = Gimp.Layer.new_from_drawable(layer, hidden)
            hidden.insert_layer(above, None, 0)
            above.set_offsets(0, 0)
        hidden.insert_layer(wanted, None, 0)
        in_own_curve(job, wanted)
        fill(wanted, job.encoding, result, lambda _part: None)
        found = hidden.merge_visible_layers(Gimp.MergeType.CLIP_TO_IMAGE)
        layer = Gimp.Layer.new_from_drawable(found, image)
    finally:
        hidden.delete()
    layer.set_name(_("What division leaves over"))
    layer.set_mode(_EXTRACT)
    in_own_curve(job, layer)
    return layer


def _at_its_limits(layer: Gimp.Layer) -> bool:
    """Whether a number of a layer is the least or the largest, so that it may have been clipped."""
    if not layer.get_image().get_precision().value_nick.startswith("u"):
        return False  # floating point has no limits
    whole = Box(0, 0, layer.get_width(), layer.get_height())
    bands = region_bands(layer.get_buffer(), whole, byte_encoding(layer))
    return any(0 in band or 255 in band for band in bands)


def _opaque(job: Job) -> Gimp.ImageType:
    return Gimp.ImageType.GRAY_IMAGE if job.drawable.is_gray() else Gimp.ImageType.RGB_IMAGE


def _empty(job: Job, image: Gimp.Image, mode: Gimp.LayerMode) -> Gimp.Layer:
    width, height = image.get_width(), image.get_height()
    return Gimp.Layer.new(image, "", width, height, _opaque(job), 100.0, mode)
