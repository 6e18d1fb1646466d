"""The renderer: every kind of map at every depth, and its other backends."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.measure import Ratio, copier, interleave, ratios
from benchmarks.scene import DEPTHS, at_depth, example_maps, photograph, selected_disc, white_noise
from maskupe.areas.coverage import Coverage, full_coverage, make_coverage
from maskupe.maps import Maps, Window
from maskupe.native import library
from maskupe.rendering import native_backend, render

REFERENCE = "float32 copy"
#: The share of the picture that the selection with a band covers.
DISC = 0.37


def job(
    maps: Maps, image: np.ndarray, areas: Coverage, threads: int, strength: float = 1.0,
    backend: str | None = None,
) -> Callable[[], object]:  # fmt: skip
    """Return a call that renders into memory that exists, as the copy does."""
    out = np.zeros_like(image)
    height, width = image.shape[:2]

    def run() -> object:
        return render(
            maps, image, areas, Window(0, 0, width, height),
            out=out, threads=threads, strength=strength, backend=backend,
        )  # fmt: skip

    return run


def kinds(
    megapixels: float, threads: int, rounds: int, noise: bool = False, strength: float = 1.0
) -> dict[str, Ratio]:
    """Return every kind × depth for the whole picture.

    On several threads also a disc with its band.
    """
    scene = white_noise(megapixels) if noise else photograph(megapixels)
    height, width = scene.shape[:2]
    whole = full_coverage(height, width)
    part = make_coverage(selected_disc(height, width, DISC))
    pictures = {depth: at_depth(scene, depth) for depth in DEPTHS}
    result: dict[str, Ratio] = {}
    for kind, maps in example_maps().items():
        cases: dict[str, Callable[[], object]] = {REFERENCE: copier(scene, threads)}
        for depth, image in pictures.items():
            cases[f"{kind} {depth}"] = job(maps, image, whole, threads, strength)
            if depth != "u16" and threads > 1:
                name = f"{kind} {depth}, disc of {DISC:.0%} and its band"
                cases[name] = job(maps, image, part, threads, strength)
        rows = ratios(interleave(cases, rounds), REFERENCE)
        result |= {name: row for name, row in rows.items() if name not in result}
    return result


def builds(megapixels: float, threads: int, rounds: int) -> dict[str, Ratio]:
    """Return every build of the compiled code that runs here, for every kind of map."""
    scene = photograph(megapixels)
    areas = full_coverage(*scene.shape[:2])
    found = [path for path in library.candidates() if path.is_file()]
    opened = {path.stem.partition("-")[2]: library.open_library(path) for path in found}
    usual = native_backend.load
    cases: dict[str, Callable[[], object]] = {REFERENCE: copier(scene, threads)}
    for kind, maps in example_maps().items():
        for depth in ("u8", "f32"):
            run = job(maps, at_depth(scene, depth), areas, threads, backend="native")
            for level, build in opened.items():
                cases[f"{kind} {depth}, {level}"] = partial(_with, build, run)
    try:
        return ratios(interleave(cases, rounds), REFERENCE)
    finally:
        native_backend.load = usual


def _with(build: object, run: Callable[[], object]) -> object:
    native_backend.load = lambda: build
    return run()


def backends(megapixels: float, threads: int, rounds: int) -> dict[str, Ratio]:
    """Return the fallback, and a graphics card where there is one, for every kind of map."""
    scene = photograph(megapixels)
    areas = full_coverage(*scene.shape[:2])
    names = ["native", "numpy"]
    if importlib.util.find_spec("torch"):
        import torch

        names += ["torch:cuda"] if torch.cuda.is_available() else []
    cases: dict[str, Callable[[], object]] = {REFERENCE: copier(scene, threads)}
    for kind, maps in example_maps().items():
        for depth in ("u8", "f32"):
            image = at_depth(scene, depth)
            for backend in names:
                name = f"{kind} {depth}, {backend}"
                cases[name] = job(maps, image, areas, threads, backend=backend)
    return ratios(interleave(cases, rounds), REFERENCE)
