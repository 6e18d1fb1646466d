"""The compiled kernel: a small C library that is built with the wheel."""

from __future__ import annotations

from maskupe.errors import MaskUPEError
from maskupe.rendering.job import Job
from maskupe.rendering.strips import StripFunction


class RenderingError(MaskUPEError):
    """A rendering backend that was asked for cannot be used here."""

    code = "no-renderer"


def available() -> bool:
    """Whether the kernel loads on this machine."""
    return False


def prepare(job: Job) -> tuple[StripFunction, int]:
    """The function that renders a strip of rows, and how many rows to give it."""
    raise RenderingError("The compiled renderer is not part of this installation.")
