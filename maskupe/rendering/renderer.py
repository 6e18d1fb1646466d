"""The full-size stage: applies a low-resolution proposal to the pixels of a region, in one pass."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from maskupe.areas.coverage import Coverage, full_coverage
from maskupe.areas.transition import Areas
from maskupe.blending.weights import BlendCurve
from maskupe.denoise import CleanRows
from maskupe.errors import InputError
from maskupe.maps import Maps, Window
from maskupe.parallel import StripFunction, machine_threads, parallel_rows, rows_of
from maskupe.rendering import cuda_backend, native_backend, numpy_backend
from maskupe.rendering.choice import MOST_SLOTS, Choice, card_in_use
from maskupe.rendering.job import Job, Pixels, make_job

#: Names a backend to use where the caller names none; "numpy" keeps the compiled kernel out.
BACKEND_VARIABLE = "MASKUPE_RENDERER"


def default_backend() -> str:
    """The backend that is used where none is asked for: ``native`` if it loads, or ``numpy``.

    A card renders in its place where that is faster for the job: :mod:`maskupe.rendering.choice`.
    """
    chosen = os.environ.get(BACKEND_VARIABLE)
    if chosen:
        return chosen
    return _own_backend()


def _own_backend() -> str:
    return "native" if native_backend.available() else "numpy"


def processor_backend() -> str:
    """Return the default backend, but on the processor where that one is on a graphics card."""
    chosen = default_backend()
    if chosen.startswith("torch"):
        return "torch"
    return _own_backend() if chosen.startswith("cuda") else chosen


def render(
    maps: Maps,
    image: Pixels,
    areas: Areas | Coverage,
    window: Window,
    *,
    strength: float = 1.0,
    saturation: float = 0.0,
    weight: npt.NDArray[np.float32] | None = None,
    fade: BlendCurve | None = None,
    clean: CleanRows | None = None,
    out: Pixels | None = None,
    threads: int | None = None,
    backend: str | None = None,
    strip_pixels: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Pixels:
    """Render out = I + w · (enhanced(D) - I) at full size, in the display encoding.

    D is I, or what ``clean`` has in its place; pixels that ``clean`` lifts less take only a share
    of enhanced(D) - D.

    Where w is 0 or alpha is 0 a pixel keeps its bits, and alpha always does. Values outside 0…1
    survive: the difference that the map makes to the value clipped to 0…1 is added to them. NaN
    stays NaN and counts as 0 where other channels depend on it. Gray is treated as r = g = b, its
    result is the luma (0.299, 0.587, 0.114) of the enhanced colour.

    Args:
        maps: the proposal, see :mod:`maskupe.maps`.
        image: the region's pixels, (h, w) or (h, w, 1) gray, (h, w, 2) gray and alpha, (h, w, 3)
            RGB or (h, w, 4) RGBA; uint8, uint16 or float32 (nominally 0…1).
        areas: the region's areas, (h, w).
        window: where the region lies in the layer that the maps cover.
        strength: t of :mod:`maskupe.maps`; 0 is the exact identity.
        saturation: of what is brightened, -1…1, see :mod:`maskupe.rendering.saturation`.
        weight: float32 (h, w) in 0…1, in place of the areas' own weight; counted in 65535ths.
        fade: from that weight and a pixel's tone to the blend weight w; the same if left out.
        clean: gives the rows of D where they are not those of I, see
            :func:`maskupe.denoise.clean_source`.
        out: where to write; an array like ``image``, may be ``image`` itself.
        threads: the most threads to use; all that the process may use if left out.
        backend: ``"native"``, ``"numpy"``, ``"cuda"``, ``"cuda:NUMBER"``, ``"torch"`` or
            ``"torch:DEVICE"``; the environment variable MASKUPE_RENDERER, or else the fastest
            that is there, if left out.
        strip_pixels: about how many pixels to render at a time, whole rows and at least one; the
            backend's own number if left out. Fewer need less memory, on a graphics card above all;
            the result is the same.
        progress: called in the caller's thread with the finished share, 0…1; if it raises, the
            work stops and the exception goes to the caller. ``out`` is then half done.

    Returns:
        ``out``, or a new array, of the image's shape and dtype; integers are rounded to nearest.

    Raises:
        InputError: for arguments that do not fit together, or an unknown backend.
        RenderingError: if the backend that was asked for cannot be loaded.
    """
    job = make_job(maps, image, areas, window, strength, weight, fade, out, clean, saturation)
    threads = machine_threads() if threads is None else max(1, threads)
    if backend is None:
        backend = _fastest(job)
    strip, rows = _prepare(job, backend)
    threads = _useful(threads, backend)
    if strip_pixels is not None:
        rows = rows_of(strip_pixels, job.width)
    if job.strength == 0:
        strip = _copy(job)
    parallel_rows(strip, job.height, rows, threads, progress)
    return job.out.reshape(image.shape) if out is None else out


def render_small(
    maps: Maps, image: npt.NDArray[np.float32], window: Window
) -> npt.NDArray[np.float32]:
    """Return what maps make of all of a small picture, as the network saw it; by the processor.

    Args:
        maps: the model's.
        image: float32 (h, w, 3), 0…1.
        window: where it lies in its layer.
    """
    everything = full_coverage(*image.shape[:2])
    backend = processor_backend()
    result: npt.NDArray[np.float32] = render(
        maps, image, everything, window, threads=1, backend=backend
    )
    return result


def _fastest(job: Job) -> str:
    """Return the backend for a job whose caller names none."""
    usual = default_backend()
    if os.environ.get(BACKEND_VARIABLE) or job.strength == 0:
        return usual
    return "cuda" if card().on_card(job, usual) else usual


def _useful(threads: int, backend: str) -> int:
    """Return how many of so many threads can be of use to a backend."""
    return min(threads, MOST_SLOTS) if backend.startswith("cuda") else threads


@functools.cache
def card() -> Choice:
    """Whether the graphics card is the faster renderer, as far as it is known in this process."""

    def run(job: Job, backend: str) -> None:
        strip, rows = _prepare(job, backend)
        parallel_rows(strip, job.height, rows, _useful(machine_threads(), backend), None)

    return Choice(run, card_in_use)


def _copy(job: Job) -> StripFunction:
    def strip(first: int, last: int) -> None:
        job.out[first:last] = job.image[first:last]

    return strip


def _prepare(job: Job, backend: str) -> tuple[StripFunction, int]:
    name, _, device = backend.partition(":")
    if name == "native":
        return native_backend.prepare(job)
    if name == "numpy":
        return numpy_backend.prepare(job)
    if name == "torch":
        from maskupe.rendering import torch_backend

        return torch_backend.prepare(job, device or "cpu")
    if name == "cuda":
        return cuda_backend.prepare(job, backend)
    raise InputError(
        f"There is no rendering backend called {backend!r}.", "Use native, numpy, cuda or torch."
    )
