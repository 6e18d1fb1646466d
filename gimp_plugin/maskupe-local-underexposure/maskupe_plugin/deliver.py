"""Putting the answer where the user wants it: into the layer, or above it."""

from __future__ import annotations

from gi.repository import Gimp

from maskupe_plugin.encoding import mask_encoding
from maskupe_plugin.job import Answer, Job
from maskupe_plugin.layers import add_layer, fill, in_own_curve
from maskupe_plugin.light import add_light
from maskupe_plugin.outputs import ILLUMINATION, MASKED_LAYER, THIS_LAYER
from maskupe_plugin.pixels import Report
from maskupe_plugin.words import _
from maskupe_plugin.write_back import one_undo_step, replace_region


def wanted_planes(job: Job) -> tuple[str, ...]:
    """Which planes the daemon has to answer with."""
    output = job.settings.output
    if output == ILLUMINATION:
        return ("illumination", "image")
    if output == MASKED_LAYER:
        return ("enhanced", "weight")
    if output == THIS_LAYER and not job.encoding.native:
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
            add_light(job, answer, report)
        else:
            layer = add_layer(job, _("{name}, lit up"), job.drawable.type())
            masked = job.settings.output == MASKED_LAYER
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
