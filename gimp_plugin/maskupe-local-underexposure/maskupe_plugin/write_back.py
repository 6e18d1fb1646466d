"""Putting the enhanced region into the layer: one undo step, the selection applied nowhere again.

GIMP blends a plug-in's pixels through the selection, in linear light. The daemon has already
blended by its areas, so the selection is replaced by the region's rectangle for a moment. That
happens inside an undo group and is undone whatever goes wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gi.repository import Gimp

from maskupe_plugin.encoding import Encoding
from maskupe_plugin.pixels import Report, copy_pixels, write_bands, write_touched
from maskupe_plugin.region import Box


@contextmanager
def one_undo_step(image: Gimp.Image) -> Iterator[None]:
    """Everything inside is one entry of the undo history."""
    image.undo_group_start()
    try:
        yield
    finally:
        image.undo_group_end()


@contextmanager
def only_rectangle(image: Gimp.Image, box: Box | None) -> Iterator[None]:
    """Selects nothing but the box (image coordinates), or nothing at all, for the time being.

    Afterwards the selection has its old bits. GIMP keeps them in a copy that belongs to no
    image: adding one to the image and removing it changes which layers are active when the user
    undoes it (GIMP 3.2 ends up with none).
    """
    if Gimp.Selection.is_empty(image) and box is None:
        yield
        return
    selection = image.get_selection()
    kept = None if Gimp.Selection.is_empty(image) else selection.copy()
    Gimp.context_push()
    try:
        if box is None:
            Gimp.Selection.none(image)
        else:
            Gimp.context_set_feather(False)
            Gimp.context_set_antialias(False)
            image.select_rectangle(Gimp.ChannelOps.REPLACE, box.x, box.y, box.width, box.height)
        yield
    finally:
        Gimp.context_pop()
        if kept is None:
            Gimp.Selection.none(image)
        else:
            selection.combine_masks(kept, Gimp.ChannelOps.REPLACE, 0, 0)
            kept.delete()


def replace_region(
    image: Gimp.Image,
    drawable: Gimp.Drawable,
    box: Box,
    encoding: Encoding,
    pixels: memoryview,
    touched: bytes | None,
    report: Report,
) -> None:
    """Replaces the pixels of the box (layer coordinates).

    Args:
        image: the image.
        drawable: the layer, mask or channel.
        box: where the pixels go.
        encoding: how they are encoded.
        pixels: all pixels of the box.
        touched: one byte per pixel, not 0 where the effect reaches; None writes all pixels, which
            is right where the encoding is the drawable's own and the others are unchanged anyway.
        report: called with 0…1.
    """
    _, offset_x, offset_y = drawable.get_offsets()
    placed = box.moved(offset_x, offset_y)
    layer = Box(0, 0, drawable.get_width(), drawable.get_height())
    fits = box == layer or placed.inside(image.get_width(), image.get_height())
    # A selection cannot reach beyond the canvas; then the whole layer goes through the shadow.
    merged = box if fits else layer
    with one_undo_step(image), only_rectangle(image, None if merged == layer else placed):
        shadow = drawable.get_shadow_buffer()
        if touched is None and merged == box:
            write_bands(shadow, box, encoding, pixels, report)
        else:
            copy_pixels(drawable.get_buffer(), merged, shadow, merged)
            if touched is None:
                write_bands(shadow, box, encoding, pixels, report)
            else:
                write_touched(shadow, box, encoding, pixels, touched, report)
        drawable.merge_shadow(True)
        if not _merges_exactly(image, encoding) and _all_writable(image, drawable):
            # Merging went through linear light, which moved even pixels that were merely copied.
            # The undo step is made: now the shadow's bits can go straight into the layer.
            copy_pixels(shadow, merged, drawable.get_buffer(), merged)
    drawable.update(box.x, box.y, box.width, box.height)
    Gimp.displays_flush()


def _merges_exactly(image: Gimp.Image, encoding: Encoding) -> bool:
    """Whether GIMP's merging gives back every bit: integers with sRGB's curve, as measured."""
    return encoding.native and image.get_color_profile() is None


def _all_writable(image: Gimp.Image, drawable: Gimp.Drawable) -> bool:
    """Whether no colour channel is switched off: merging respects that, writing does not.

    Alpha need not be asked for, whether locked or switched off: it comes back as it was.
    """
    if isinstance(drawable, Gimp.Channel):
        return True
    kinds = Gimp.ChannelType
    colours = (kinds.GRAY,) if drawable.is_gray() else (kinds.RED, kinds.GREEN, kinds.BLUE)
    return all(image.get_component_active(kind) for kind in colours)
