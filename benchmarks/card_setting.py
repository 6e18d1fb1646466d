"""What the parts of :mod:`benchmarks.card` share: pictures, and how a thing is timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from benchmarks.scene import example_maps, large, selected_disc
from maskupe.areas.coverage import Coverage, full_coverage, make_coverage
from maskupe.maps import Window
from maskupe.parallel import machine_threads
from maskupe.rendering import render

#: Kinds of map in the order of their worth, should time run out.
KINDS = ("ToneCurves", "CurveMaps", "AffineGrid", "GainGrid", "LookUpTable")
#: The share of the picture that the selection with a band covers.
DISC = 0.37


class Bench:
    """Pictures, and where times go.

    Args:
        megapixels: of the pictures.
        rounds: how often a thing is timed.
        interpreted: whether the processor takes the card's part.
    """

    def __init__(self, megapixels: float, rounds: int, interpreted: bool) -> None:
        self.megapixels = megapixels
        self.rounds = rounds
        self.interpreted = interpreted
        self.threads = machine_threads()
        self.images = {depth: large(megapixels, depth) for depth in ("u8", "u16")}
        self.height, self.width = self.images["u8"].shape[:2]
        self.selection = selected_disc(self.height, self.width, DISC)
        self.disc = make_coverage(self.selection)
        self.whole = full_coverage(self.height, self.width)
        self.maps = example_maps()
        self.kinds = KINDS[:2] if interpreted else KINDS

    def time(self, run: Callable[[], object], rounds: int | None = None) -> dict[str, float]:
        """Return milliseconds of the first call, and best and median of the following."""
        began = time.perf_counter()
        run()
        first = time.perf_counter() - began
        times = []
        for _ in range(rounds or self.rounds):
            began = time.perf_counter()
            run()
            times.append(time.perf_counter() - began)
        return {
            "first": first * 1e3,
            "best": min(times) * 1e3,
            "median": statistics.median(times) * 1e3,
        }

    def job(
        self, kind: str, depth: str, areas: Coverage, backend: str, fresh: bool = False
    ) -> Callable[[], object]:
        """Return a call that renders, into memory that exists unless ``fresh``."""
        image, window = self.images[depth], Window(0, 0, self.width, self.height)
        out = None if fresh else np.zeros_like(image)
        return lambda: render(self.maps[kind], image, areas, window, out=out, backend=backend)
