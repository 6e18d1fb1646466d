"""Timing on a machine that is never quiet: everything is a ratio to a copy in the same round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from maskupe.maps import Array


@dataclass
class Samples:
    """Seconds of one case, one entry a round.

    Attributes:
        wall: elapsed time.
        cpu: time of all threads of the process.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Ratio:
    """A case in units of the reference.

    Attributes:
        median: median over the rounds of wall / wall of the reference in the same round.
        best: shortest wall / shortest wall of the reference.
        cpu: least processor time / least processor time of the reference.
        milliseconds: the shortest wall time.
    """

    median: float
    best: float
    cpu: float
    milliseconds: float


def interleave(cases: dict[str, Callable[[], object]], rounds: int) -> dict[str, Samples]:
    """Run every case once to warm up, then all of them in turn, ``rounds`` times."""
    for run in cases.values():
        run()
    samples = {name: Samples() for name in cases}
    for _ in range(rounds):
        for name, run in cases.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            samples[name].wall.append(time.perf_counter() - wall)
            samples[name].cpu.append(time.process_time() - cpu)
    return samples


def ratios(samples: dict[str, Samples], reference: str) -> dict[str, Ratio]:
    """Return all cases in units of the case called ``reference``."""
    base = samples[reference]
    return {
        name: Ratio(
            median=statistics.median(
                mine / its for mine, its in zip(case.wall, base.wall, strict=True)
            ),
            best=min(case.wall) / min(base.wall),
            cpu=min(case.cpu) / min(base.cpu),
            milliseconds=min(case.wall) * 1e3,
        )
        for name, case in samples.items()
    }


def copier(image: Array, threads: int) -> Callable[[], None]:
    """Copy a float32 image to memory that exists, on that many threads: the unit of time."""
    to = np.zeros_like(image)
    edges = np.linspace(0, image.shape[0], threads + 1).astype(int)
    pool = ThreadPoolExecutor(threads)

    def part(first: int, last: int) -> None:
        np.copyto(to[first:last], image[first:last])

    def run() -> None:
        list(pool.map(part, edges[:-1], edges[1:]))

    return run
