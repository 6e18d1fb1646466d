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


def apply_result(job: Job, answer: Answer, report: Report) -> None:
    """Write the result as one undo step; what :func:`takers` took is merely shown."""
    output = job.settings.output
    if output == THIS_LAYER:
        if "image" in answer.planes:
            touched = bytes(answer.planes["areas"])
            write_back.write_where(touched, job, answer.planes["image"], report)
        write_back.merge(job)
        return
    with write_back.one_undo_step(job.image):
        if output == ILLUMINATION:
            add_light(job, answer, report)
        else:
            layer = add_layer(job, _("{name}, lit up"), job.drawable.type())
            masked = output == MASKED_LAYER
            fill(layer, job.encoding, answer.planes["enhanced" if masked else "image"], report)
            if masked:
                _add_mask(job, layer, answer.planes["weight"])
    Gimp.displays_flush()


def _add_mask(job: Job, layer: Gimp.Layer, weight: memoryview) -> None:
    """A mask that holds the transition, over pixels that are fully lit wherever it is painted."""
    in_own_curve(job, layer)
    mask = layer.create_mask(Gimp.AddMaskType.WHITE)
    layer.add_mask(mask)
    fill(mask, mask_encoding(mask), weight, lambda _part: None)
    # GIMP goes on with the new mask, where the next filter would do something else than here.
    layer.set_edit_mask(False)
