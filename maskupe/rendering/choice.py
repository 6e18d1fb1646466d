"""Whether a graphics card renders a job faster than the processor: tried, not guessed.

A picture has to travel to the card and back. Whether that pays depends on the bus, on how many
cores the processor has, on the type of map and on the picture's size. So both are timed on
synthetic pictures of two sizes, once in a process for each kind of job, and a line through the two
times tells what any size will take. This is done in a thread of its own, when a second job of a
kind comes: until it is known the processor renders, and who only has one job waits for nothing.

Nothing here imports torch: a process that has not loaded a network onto the card has no use for a
renderer there, as starting that takes longer than any job.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from maskupe.areas.rows import FULL
from maskupe.maps import Window, shapes_of
from maskupe.rendering.job import Job
from maskupe.rendering.positions import Frame

#: Most strips that are under way at a time, and so threads that are of use: more of them only wait
#: for each other, as the memory's bandwidth is used up and Python's lock is one.
MOST_SLOTS = 8

_log = logging.getLogger(__name__)

#: Sides of the synthetic pictures, in pixels.
SIDES = (512, 2048)
#: Jobs of fewer pixels are done before a card has been told of them.
LEAST_PIXELS = 1 << 18
#: The card is taken where it is expected to need at most this share of the processor's time: both
#: vary, and a processor's other cores have other things to do.
LEAST_GAIN = 0.9
# Times each is timed; the shortest counts.
_ROUNDS = 3

#: Renders a job with the backend of that name.
Run = Callable[[Job, str], None]


@dataclasses.dataclass(frozen=True)
class Line:
    """Seconds that a backend takes: ``base + rate · pixels``."""

    base: float
    rate: float

    @classmethod
    def through(cls, few: tuple[int, float], many: tuple[int, float]) -> Line:
        """Return the line through two measurements (pixels, seconds)."""
        rate = max(0.0, (many[1] - few[1]) / (many[0] - few[0]))
        return cls(max(0.0, many[1] - rate * many[0]), rate)

    def seconds(self, pixels: int) -> float:
        """Return how long so many pixels take."""
        return self.base + self.rate * pixels


class Choice:
    """What is known of this process's machine. Safe to use from several threads.

    Args:
        run: renders a job with a backend.
        there: whether there is a card that this process uses already.
    """

    def __init__(self, run: Run, there: Callable[[], bool]) -> None:
        self._run = run
        self._there = there
        self._lock = threading.Lock()
        self._seen: set[Any] = set()
        self._known: dict[Any, dict[str, Line]] = {}

    def on_card(self, job: Job, other: str) -> bool:
        """Return whether to render a job on the card rather than with the backend ``other``."""
        pixels = job.height * job.width
        if pixels < LEAST_PIXELS or not self._there():
            return False
        key = (timing_key(job), other)
        with self._lock:
            lines = self._known.get(key)
            if lines is None:
                if key in self._seen:
                    # An empty answer until there is a true one: nobody else measures meanwhile.
                    self._known[key] = {}
                    threading.Thread(
                        target=self._find_out,
                        args=(key, without_pixels(job), other),
                        name="maskupe-measure",
                    ).start()
                self._seen.add(key)
                return False
        if not lines:
            return False
        return lines["cuda"].seconds(pixels) <= LEAST_GAIN * lines[other].seconds(pixels)

    def _find_out(self, key: Any, job: Job, other: str) -> None:
        try:
            lines = self.measure(job, other)
        except Exception as error:
            # No compiler for Triton, no memory left: whatever it is, the processor can do it.
            _log.info("the graphics card is not used for rendering: %s", error)
            return
        with self._lock:
            self._known[key] = lines

    def measure(self, job: Job, other: str) -> dict[str, Line]:
        """Time jobs like this one with the card and with another backend.

        Returns:
            With each backend's name what it takes.
        """
        jobs = [synthetic(job, side) for side in SIDES]
        lines = {}
        for backend in ("cuda", other):
            times = [(trial.height * trial.width, self._shortest(trial, backend)) for trial in jobs]
            lines[backend] = Line.through(*times)
        return lines

    def remember(self, job: Job, other: str) -> dict[str, Line]:
        """Measure now, in the caller's thread, and keep the answer."""
        lines = self.measure(job, other)
        with self._lock:
            self._known[timing_key(job), other] = lines
        return lines

    def _shortest(self, job: Job, backend: str) -> float:
        self._run(job, backend)
        times = []
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            self._run(job, backend)
            times.append(time.perf_counter() - began)
        return min(times)


def timing_key(job: Job) -> Any:
    """Return what jobs have in common that take the same time for each pixel."""
    maps = job.maps
    arrays = {name.partition(".")[0] for name in shapes_of(type(maps))}
    shapes = [getattr(maps, name).shape for name in sorted(arrays) if name != "guide"]
    masked = job.coverage.strides[0] != 0
    bound = job.fade.bound is not None
    clean = job.clean is not None
    pixels = job.image.dtype, job.image.shape[2]
    return type(maps), *shapes, *pixels, masked, bound, clean, job.saturation != 0


def without_pixels(job: Job) -> Job:
    """Return the same kind of job, which keeps no picture in memory."""
    image = np.zeros((2, 1, job.image.shape[2]), job.image.dtype)
    coverage = job.coverage if job.coverage.strides[0] == 0 else np.zeros((2, 1), np.uint16)
    return dataclasses.replace(job, image=image, out=image, coverage=coverage, clean=None)


def synthetic(job: Job, side: int) -> Job:
    """Return a job like another on a square picture: the same maps, depth and channels.

    Where the other's coverage differs from pixel to pixel, a third of this one is A, B and C each.
    """
    rng = np.random.default_rng(side)
    image: np.ndarray[Any, Any]
    shape = (side, side, job.image.shape[2])
    if job.image.dtype == np.float32:
        image = rng.random(shape, np.float32)
    else:
        image = rng.integers(0, np.iinfo(job.image.dtype).max + 1, shape, job.image.dtype)
    row = np.full(side, FULL, np.uint16)
    coverage = np.broadcast_to(row, (side, side))
    if job.coverage.strides[0] != 0:
        third = side // 3
        row[:third] = 0
        row[third : 2 * third] = np.linspace(1, FULL - 1, third)
        coverage = np.ascontiguousarray(coverage)
    frame = Frame(Window(0, 0, side, side), side)
    return dataclasses.replace(
        job, image=image, out=np.zeros_like(image), coverage=coverage, frame=frame
    )


def card_in_use() -> bool:
    """Return whether this process has work on an NVIDIA card already."""
    torch = sys.modules.get("torch")
    return (
        torch is not None and bool(torch.cuda.is_initialized()) and torch.version.cuda is not None
    )
