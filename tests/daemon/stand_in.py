"""A daemon whose models need no weights and take as long as a test wants.

Everything but the network and the renderer is the real thing: sockets, queue, worker, areas. Run
as ``python -m tests.daemon.stand_in run ...`` with the arguments of ``maskupe-daemon``.

Environment variables make a machine what a test needs: ``MASKUPE_TEST_TOTAL_BYTES`` and
``MASKUPE_TEST_FREE_BYTES`` of memory, ``MASKUPE_TEST_CLOCK=jumps`` for a mad wall clock, and those
of :mod:`tests.daemon.hurry`.

The models: ``quick``; ``slow-N`` takes N strips of 50 ms; ``full-gpu`` runs out of memory on every
device but the CPU, ``tight-gpu`` there unless it works in small strips; ``hungry`` raises
MemoryError; ``broken`` raises; ``panicking`` does so as compiled Rust does; ``damaged`` has no
weights; ``latin-1`` has some in a folder whose name is not in UTF-8.
"""

import os
import random
import sys
import time
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np

from maskupe.areas.coverage import full_coverage, make_coverage
from maskupe.areas.partition import make_areas
from maskupe.errors import UnknownModelError, WeightsError
from maskupe.pipeline import RegionResult
from maskupe.rendering.illumination import illumination
from maskupe_daemon import app, cli, memory
from tests.daemon.hurry import hurried

STRIP = 0.05
NAMES = (
    "quick",
    "slow-4",
    "slow-20",
    "slow-60",
    "slow-200",
    "full-gpu",
    "tight-gpu",
    "hungry",
    "broken",
    "panicking",
    "damaged",
    "latin-1",
)


def enhanced(image, selection, strength=1.0, transition=None, layer=None):
    """What the stand-in makes of a region: colours moved towards white by strength and weight."""
    if selection is None:
        areas = make_areas(np.ones(image.shape[:2], bool), transition)
    else:
        areas = make_areas(selection, transition, short_side=min(layer or selection.shape))
    top = np.float32(np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1.0)
    share = (areas.weight * np.float32(strength * 0.25))[..., None]
    change = share * (top - image.astype(np.float32))
    moved = image.astype(np.float32) + change
    moved = np.rint(moved) if image.dtype.kind == "u" else moved
    result = np.where(areas.c[..., None], image, moved.astype(image.dtype))
    if image.shape[2] in (2, 4):
        result[..., -1] = image[..., -1]
    return result, areas


class PanicError(BaseException):
    """What a panic in Rust looks like from Python: not an ``Exception``."""


class StandIn:
    """One loaded stand-in model."""

    def __init__(self, name, device):
        self.name = name
        self.device = "cpu" if device in ("auto", "cpu") else device
        self.predictor = SimpleNamespace(device=self.device, backend="stand-in")

    def enhance_region(
        self,
        region,
        selection,
        context,
        *,
        window,
        strength,
        denoise,
        warmth,
        saturation,
        transition,
        outputs,
        part,
        strip_pixels,
        backend,
        progress,
    ):
        strips = int(self.name.split("-")[1]) if self.name.startswith("slow") else 1
        for strip in range(strips):
            if self.name.startswith("slow"):
                time.sleep(STRIP)
            progress((strip + 1) / strips)
        fits = self.name != "full-gpu" and (self.name != "tight-gpu" or strip_pixels)
        if not fits and self.device != "cpu":
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        if self.name == "hungry":
            raise MemoryError
        if self.name == "broken":
            raise KeyError("a fault of the test")
        if self.name == "panicking":
            raise PanicError("a fault of the test")
        layer = (window.layer_height, window.layer_width)
        image, areas = enhanced(region, selection, strength, transition, layer)
        light = illumination(region, image) if "illumination" in outputs else None
        full = None
        if "enhanced" in outputs:
            full, _everything = enhanced(region, None, strength, transition, layer)
        if selection is None:
            covered = full_coverage(*region.shape[:2])
        else:
            covered = make_coverage(selection, transition, short_side=min(layer))
        return RegionResult(image, covered, areas.weight, light, full, backend or "stand-in")


class StandIns:
    """The stand-ins' library."""

    def prepare(self, device):
        pass

    def loads_ahead(self, device):
        return False

    def names(self):
        return list(NAMES)

    def resolve(self, name):
        name = "quick" if name == "default" else name
        if name not in NAMES:
            raise UnknownModelError(
                f"There is no model {name!r}.", f"There are {', '.join(NAMES)}."
            )
        return name

    def load(self, name, device):
        if name == "damaged":
            raise WeightsError("The weight file of 'damaged' is damaged.", "Install it again.")
        if name == "latin-1":
            path = os.fsdecode(b"/srv/j\xf6rg/weights")
            raise WeightsError(f"The weight file {path} is damaged.", f"Remove {path}.")
        return StandIn(name, device)


def mad_clock():
    """A wall clock that is months off in either direction at every look."""
    return random.uniform(0.5e9, 3e9)


def main():
    with hurried() as stack:
        stack.enter_context(patch.object(app, "Library", StandIns))
        stack.enter_context(patch.object(app, "_check_device", lambda device: None))
        for name in ("total_bytes", "free_bytes"):
            value = os.environ.get(f"MASKUPE_TEST_{name.upper()}")
            if value:
                stack.enter_context(patch.object(memory, name, lambda value=value: int(value)))
        if os.environ.get("MASKUPE_TEST_CLOCK") == "jumps":
            stack.enter_context(patch.object(time, "time", mad_clock))
        return cli.main()


if __name__ == "__main__":
    sys.exit(main())
