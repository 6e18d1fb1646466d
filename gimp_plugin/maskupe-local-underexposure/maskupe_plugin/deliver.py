"""Putting the answer where the user wants it: into the layer, or above it."""

from __future__ import annotations

from maskupe_plugin.job import Answer, Job
from maskupe_plugin.pixels import Report
from maskupe_plugin.write_back import replace_region


def wanted_planes(job: Job) -> tuple[str, ...]:
    """Which planes the daemon has to answer with."""
    return ("image",) if job.encoding.native else ("image", "areas")


def deliver(job: Job, answer: Answer, report: Report) -> None:
    """Writes the result as one undo step."""
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
