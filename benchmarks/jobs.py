"""Whole jobs: a region and its selection in, the enhanced region out, and what others take."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.measure import Ratio, copier, interleave, ratios
from benchmarks.scene import large, selected_disc
from maskupe.areas.region import region_of
from maskupe.areas.transition import Transition
from maskupe.maps import Window
from maskupe.pipeline import Enhancer
from maskupe.preprocess.context import CONTEXT_EDGE, downscale

REFERENCE = "float32 copy"
SHARES = (0.01, 0.05, 0.25, 1.0)


def region_job(
    enhancer: Enhancer, image: np.ndarray, selection: np.ndarray | None, backend: str | None = None
) -> Callable[[], object]:
    """Return what the daemon does for such a job.

    The context was scaled by the client, so it is ready.
    """
    height, width = image.shape[:2]
    if selection is None:
        window = Window(0, 0, width, height)
        return lambda: enhancer.enhance_region(image, None, None, window=window, backend=backend)
    rows, columns = region_of(selection, Transition())
    region = np.ascontiguousarray(image[rows, columns])
    part = np.ascontiguousarray(selection[rows, columns])
    context = None if region.shape == image.shape else downscale(image, CONTEXT_EDGE)
    window = Window(columns.start, rows.start, width, height)
    return lambda: enhancer.enhance_region(region, part, context, window=window, backend=backend)


def scaling(megapixels: float, threads: int, rounds: int) -> dict[str, Ratio]:
    """Return whole jobs of one size: discs of several shares, and everything."""
    image = large(megapixels)
    height, width = image.shape[:2]
    enhancer = Enhancer.load("default", device="cpu", threads=threads)
    cases: dict[str, Callable[[], object]] = {REFERENCE: copier(image.astype(np.float32), threads)}
    for share in SHARES:
        selection = selected_disc(height, width, share)
        cases[f"{share:.0%}"] = region_job(enhancer, image, selection)
    return ratios(interleave(cases, rounds), REFERENCE)


def others(megapixels: float, threads: int, rounds: int) -> dict[str, Ratio]:
    """Return the whole job against other ways to light up shadows, u8, everything selected."""
    image = large(megapixels)
    cv2.setNumThreads(threads)
    enhancer = Enhancer.load("default", device="cpu", threads=threads)
    everything = selected_disc(*image.shape[:2], 1.0)
    cases: dict[str, Callable[[], object]] = {
        REFERENCE: copier(image.astype(np.float32), threads),
        "MaskUPE": region_job(enhancer, image, everything),
        "MaskUPE, no selection": region_job(enhancer, image, None),
        "MaskUPE without its compiled kernel (numpy)": region_job(
            enhancer, image, everything, backend="numpy"
        ),
        "OpenCV CLAHE on the lightness": lambda: clahe(image),
    }
    result = ratios(interleave(cases, rounds), REFERENCE)
    slow: dict[str, Callable[[], object]] = {REFERENCE: cases[REFERENCE]}
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(threads)
        slow["MaskUPE rendered by torch, eager"] = region_job(enhancer, image, None, "torch")
        if torch.cuda.is_available():
            gpu = Enhancer.load("default", device="cuda")
            slow["MaskUPE on CUDA, rendered by the kernel"] = region_job(gpu, image, everything)
            slow["MaskUPE on CUDA, rendered there"] = region_job(
                gpu, image, everything, "torch:cuda"
            )
    result |= {
        name: row
        for name, row in ratios(interleave(slow, 2), REFERENCE).items()
        if name != REFERENCE
    }
    filtered = gegl(image, threads)
    if filtered is not None:
        base = result[REFERENCE].milliseconds
        result["gegl:shadows-highlights"] = Ratio(
            filtered * 1e3 / base, filtered * 1e3 / base, float("nan"), filtered * 1e3
        )
    return result


def clahe(image: np.ndarray) -> np.ndarray:
    """Return what photo scripts do: equalise the lightness locally (8 × 8 tiles, clip limit 2)."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[:, :, 0] = cv2.createCLAHE(2.0, (8, 8)).apply(lab[:, :, 0])
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def gegl(image: np.ndarray, threads: int) -> float | None:
    """Return seconds of gegl:shadows-highlights alone, or None where there is no ``gegl`` program.

    It reads and writes files, so what reading and writing take without it is taken off: the least
    of two runs each.
    """
    program = shutil.which("gegl")
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.ppm"), Path(folder, "out.ppm")
        header = f"P6\n{image.shape[1]} {image.shape[0]}\n255\n".encode()
        source.write_bytes(header + image.tobytes())
        environment = {**os.environ, "GEGL_THREADS": str(threads), "GEGL_SWAP": "RAM"}

        def run(*operation: str) -> float:
            began = time.perf_counter()
            done = subprocess.run(
                [program, str(source), "-o", str(target), "--", *operation],
                cwd=folder, env=environment, capture_output=True, check=False,
            )  # fmt: skip
            return time.perf_counter() - began if done.returncode == 0 else float("nan")

        filtered = min(run("gegl:shadows-highlights", "shadows=30") for _ in range(2))
        plain = min(run("gegl:nop") for _ in range(2))
    return None if np.isnan(filtered - plain) else filtered - plain
