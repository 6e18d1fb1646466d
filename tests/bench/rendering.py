"""The cases: every kind of map at every depth, sizes, and other ways to do the same."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import cv2
import numpy as np

from maskupe.areas import Areas
from maskupe.maps import Maps, Window
from maskupe.rendering import render
from tests.bench.measure import Ratio, copier, interleave, ratios
from tests.bench.scene import (
    DEPTHS,
    at_depth,
    disc,
    everything,
    example_maps,
    photograph,
    white_noise,
)

REFERENCE = "float32 copy"
#: Slow ways are compared at no more megapixels than this.
EXTRAS = 6.0
#: The share of the picture that the selection with a band covers.
DISC = 0.37


def job(
    maps: Maps, image: np.ndarray, areas: Areas, threads: int, strength: float = 1.0,
    backend: str | None = None,
) -> Callable[[], object]:  # fmt: skip
    """A call that renders into memory that exists, as the copy does."""
    out = np.zeros_like(image)
    height, width = image.shape[:2]

    def run() -> object:
        return render(
            maps, image, areas, Window(0, 0, width, height),
            out=out, threads=threads, strength=strength, backend=backend,
        )  # fmt: skip

    return run


def kinds(
    megapixels: float, threads: int, rounds: int, noise: bool, strength: float
) -> dict[str, Ratio]:
    """Every kind × depth for the whole picture, and for a disc with a band at u8 and f32."""
    scene = white_noise(megapixels) if noise else photograph(megapixels)
    height, width = scene.shape[:2]
    whole, part = everything(height, width), disc(height, width, DISC)
    pictures = {depth: at_depth(scene, depth) for depth in DEPTHS}
    result: dict[str, Ratio] = {}
    for kind, maps in example_maps().items():
        cases: dict[str, Callable[[], object]] = {REFERENCE: copier(scene, threads)}
        for depth, image in pictures.items():
            cases[f"{kind} {depth}"] = job(maps, image, whole, threads, strength)
            if depth != "u16":
                name = f"{kind} {depth}, disc of {DISC:.0%} and its band"
                cases[name] = job(maps, image, part, threads, strength)
        rows = ratios(interleave(cases, rounds), REFERENCE)
        result |= {name: row for name, row in rows.items() if name not in result}
    return result


def scaling(megapixels: float, threads: int, rounds: int, noise: bool) -> dict[str, Ratio]:
    """Our own kind of map at one size, and selections of 1, 5 and 25 %."""
    scene = white_noise(megapixels) if noise else photograph(megapixels)
    height, width = scene.shape[:2]
    maps = example_maps()["ToneCurves"]
    image = at_depth(scene, "u8")
    cases: dict[str, Callable[[], object]] = {
        REFERENCE: copier(scene, threads),
        "whole picture": job(maps, image, everything(height, width), threads),
    }
    for share in (0.01, 0.05, 0.25):
        cases[f"disc of {share:.0%}"] = job(maps, image, disc(height, width, share), threads)
    return ratios(interleave(cases, rounds), REFERENCE)


def compare(megapixels: float, threads: int, rounds: int, noise: bool) -> dict[str, Ratio]:
    """The kernel against its fallback, torch eager, and OpenCV's CLAHE on the luma."""
    scene = white_noise(megapixels) if noise else photograph(megapixels)
    image = at_depth(scene, "u8")
    areas = everything(*scene.shape[:2])
    backends = ["native", "numpy"] + (["torch"] if importlib.util.find_spec("torch") else [])
    cases: dict[str, Callable[[], object]] = {REFERENCE: copier(scene, threads)}
    for kind, maps in example_maps().items():
        for backend in backends:
            cases[f"{kind} u8, {backend}"] = job(maps, image, areas, threads, backend=backend)
    cases["OpenCV CLAHE on the luma, u8"] = lambda: clahe(image)
    return ratios(interleave(cases, max(2, rounds // 2)), REFERENCE)


def clahe(image: np.ndarray) -> np.ndarray:
    """What photo scripts do: equalise the lightness locally (8 × 8 tiles, clip limit 2)."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[:, :, 0] = cv2.createCLAHE(2.0, (8, 8)).apply(lab[:, :, 0])
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
