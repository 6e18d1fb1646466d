"""Putting the enhanced region into the layer: one undo step, the selection applied nowhere again.

GIMP blends a plug-in's pixels through the selection, in linear light. The daemon has already
blended by its areas, so the selection is replaced by the region's rectangle for a moment. That
happens inside an undo group and is undone whatever goes wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gi.repository import Gimp

from maskupe_plugin.encoding import Encoding, has_doubles
from maskupe_plugin.job import Job
from maskupe_plugin.pixels import BandWriter, Report, copy_pixels, write_touched
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
    """Select nothing but the box (image coordinates), or nothing at all, for the time being.

    Afterwards the selection has its old bits. GIMP keeps them in a copy that belongs to no
    image: adding one to the image and removing it changes which layers are active when the user
    undoes it (GIMP 3.2 ends up with none).
    """
    empty = Gimp.Selection.is_empty(image)
    if empty and box is None:
        yield
        return
    selection = image.get_selection()
    kept = None if empty else selection.copy()
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
            if has_doubles(image):
                # Combining goes through float, by a way that babl takes for exact enough.
                canvas = Box(0, 0, image.get_width(), image.get_height())
                copy_pixels(kept.get_buffer(), canvas, selection.get_buffer(), canvas)
            kept.delete()


def writer(job: Job, report: Report) -> BandWriter:
    """Take the region's pixels into GIMP's shadow buffer, where they wait for :func:`merge`.

    Until then the drawable is as it was. What lies in the shadow is gone when the plug-in ends.
    """
    shadow = job.drawable.get_shadow_buffer()
    merged = _merged_box(job)
    if merged != job.box:
        copy_pixels(job.drawable.get_buffer(), merged, shadow, merged)
    return BandWriter(shadow, job.box, job.encoding, report)


def write_where(touched: bytes, job: Job, pixels: memoryview, report: Report) -> None:
    """Take only those pixels into the shadow that are not 0 in ``touched``, a byte for each.

    The others keep their bits where the encoding is not the drawable's own.
    """
    shadow = job.drawable.get_shadow_buffer()
    merged = _merged_box(job)
    copy_pixels(job.drawable.get_buffer(), merged, shadow, merged)
    write_touched(shadow, job.box, job.encoding, pixels, touched, report)


def merge(job: Job) -> None:
    """Replace the drawable's pixels in the region by those in the shadow, as one undo step."""
    image, drawable = job.image, job.drawable
    merged = _merged_box(job)
    whole = merged == job.layer
    with one_undo_step(image), only_rectangle(image, None if whole else _placed(job)):
        drawable.merge_shadow(True)
        if not _merges_exactly(image, job.encoding) and _all_writable(image, drawable):
            # Merging went through linear light, which moved even pixels that were merely copied.
            # The undo step is made: now the shadow's bits can go straight into the layer.
            shadow = drawable.get_shadow_buffer()
            copy_pixels(shadow, merged, drawable.get_buffer(), merged)
    drawable.update(*job.box)
    Gimp.displays_flush()


def _placed(job: Job) -> Box:
    """Return the region in the image's coordinates."""
    _, offset_x, offset_y = job.drawable.get_offsets()
    return job.box.moved(offset_x, offset_y)


def _merged_box(job: Job) -> Box:
    """What is merged: the region, or the layer where no selection can hold the region alone."""
    canvas = job.image.get_width(), job.image.get_height()
    return job.box if _placed(job).inside(*canvas) else job.layer


def _merges_exactly(image: Gimp.Image, encoding: Encoding) -> bool:
    """Whether GIMP's merging gives back every bit: integers with sRGB's curve, as measured."""
    return encoding.native and image.get_color_profile() is None


def _all_writable(image: Gimp.Image, drawable: Gimp.Drawable) -> bool:
    """Return whether no colour channel is switched off: merging respects that, writing does not.

    Alpha need not be asked for, whether locked or switched off: it comes back as it was.
    """
    if isinstance(drawable, Gimp.Channel):
        return True
    kinds = Gimp.ChannelType
    colours = (kinds.GRAY,) if drawable.is_gray() else (kinds.RED, kinds.GREEN, kinds.BLUE)
    return all(image.get_component_active(kind) for kind in colours)
