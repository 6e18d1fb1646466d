"""Putting the answer where the user wants it: into the layer, or above it."""

from __future__ import annotations

from gi.repository import Gimp

from maskupe_plugin import write_back
from maskupe_plugin.encoding import mask_encoding
from maskupe_plugin.i18n import _
from maskupe_plugin.illumination_layer import add_light
from maskupe_plugin.job import Answer, Job
from maskupe_plugin.layers import add_layer, fill, in_own_curve
from maskupe_plugin.outputs import ILLUMINATION, MASKED_LAYER, THIS_LAYER
from maskupe_plugin.pixels import BandWriter, Report
from maskupe_plugin.re_edit import MadeLayer, notes_on


def wanted_planes(job: Job) -> tuple[str, ...]:
    """Return which planes the daemon has to answer with."""
    output = job.settings.output
    if output == ILLUMINATION:
        return ("illumination", "image")
    if output == MASKED_LAYER:
        return ("enhanced", "weight")
    if output == THIS_LAYER and not job.encoding.native:
        return ("image", "areas")
    return ("image",)


def takers(job: Job, report: Report) -> dict[str, BandWriter]:
    """Who takes which plane while it arrives; it is written to a place where nobody sees it yet."""
    direct = job.settings.output == THIS_LAYER and job.encoding.native
    return {"image": write_back.writer(job, report)} if direct else {}


def apply_result(job: Job, answer: Answer, report: Report, made: MadeLayer | None = None) -> None:
    """Write the result as one undo step; what :func:`takers` took is merely shown.

    Args:
        job: what was done.
        answer: its result.
        report: called with 0…1.
        made: a layer of ours that the result replaces.
    """
    notes = None if job.settings.output == THIS_LAYER else notes_on(job)
    if made is not None:
        made.deselect()  # before the undo step begins, which would bring the selection back
    with write_back.one_undo_step(job.image):
        added = _replace(made, job, answer, report) if made else _write(job, answer, report)
        if added is not None and notes is not None:
            for item, note in zip((added, job.drawable), notes, strict=True):
                item.attach_parasite(note)
    Gimp.displays_flush()


def _write(job: Job, answer: Answer, report: Report) -> Gimp.Layer | None:
    """Write the result; return the new layer or group, if there is one."""
    output = job.settings.output
    added: Gimp.Layer
    if output == THIS_LAYER:
        if "image" in answer.planes:
            touched = bytes(answer.planes["areas"])
            write_back.write_where(touched, job, answer.planes["image"], report)
        write_back.merge(job)
        return None
    if output == ILLUMINATION:
        added = add_light(job, answer, report)
    else:
        added = add_layer(job, _("{name}, lit up"), job.drawable.type())
        masked = output == MASKED_LAYER
        fill(added, job.encoding, answer.planes["enhanced" if masked else "image"], report)
        if masked:
            _add_mask(job, added, answer.planes["weight"])
    return added


def _replace(made: MadeLayer, job: Job, answer: Answer, report: Report) -> Gimp.Layer | None:
    """Put the result where a layer of ours is; of the same kind, it looks as that was set to."""
    image, old = job.image, made.layer
    parent, position = old.get_parent(), image.get_item_position(old)
    name, visible, opacity, mode = (
        old.get_name(),
        old.get_visible(),
        old.get_opacity(),
        old.get_mode(),
    )
    # Before the new one comes, which may have its name then.
    image.remove_layer(old)
    new = _write(job, answer, report)
    if new is None:
        image.set_selected_layers([made.source])
        return None
    active = image.get_selected_layers()
    image.reorder_item(new, parent, position)
    image.set_selected_layers(active)
    if job.settings.output == made.settings.output:
        new.set_name(name)
        new.set_visible(visible)
        new.set_opacity(opacity)
        new.set_mode(mode)
    return new


def _add_mask(job: Job, layer: Gimp.Layer, weight: memoryview) -> None:
    """A mask that holds the transition, over pixels that are fully lit wherever it is painted."""
    in_own_curve(job, layer)
    mask = layer.create_mask(Gimp.AddMaskType.WHITE)
    layer.add_mask(mask)
    fill(mask, mask_encoding(mask), weight, lambda _part: None)
    # GIMP goes on with the new mask, where the next filter would do something else than here.
    layer.set_edit_mask(False)
