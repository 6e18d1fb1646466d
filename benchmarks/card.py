"""`python -m benchmarks.card FOLDER`: what an NVIDIA card brings, in a minute or so.

Writes card.json after every part, so that nothing is lost when time runs out, and card.md. Without
a card, `--rehearse` lets Triton's interpreter take its part on tiny pictures: a test of itself.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.card_jobs import job, networks
from benchmarks.card_page import page
from benchmarks.card_setting import KINDS, Bench
from benchmarks.machine import describe
from benchmarks.measure import copier
from maskupe.areas.coverage import full_coverage
from maskupe.maps import Window
from maskupe.rendering import cuda_backend, native_backend, render
from maskupe.rendering.job import make_job
from maskupe.rendering.renderer import card as choice_of_card
from tests.cuda.here import quicken_interpreter


def copies(bench: Bench) -> dict[str, Any]:
    """Copy alone: what no renderer on a card can do without."""
    image = bench.images["u8"]
    result: dict[str, Any] = {"bytes": image.nbytes}
    other = np.zeros_like(image)
    for threads in (1, 4, 8, 16):
        edges = np.linspace(0, bench.height, threads + 1).astype(int)
        with ThreadPoolExecutor(threads) as pool:

            def run(pool: Any = pool, edges: Any = edges) -> None:
                list(pool.map(lambda a, b: np.copyto(other[a:b], image[a:b]), edges, edges[1:]))

            result[f"processor, {threads} threads"] = bench.time(run)
    result["float32 copy"] = bench.time(copier(image.astype(np.float32), bench.threads))
    if bench.interpreted:
        return result
    import torch

    pinned = torch.empty(image.nbytes, dtype=torch.uint8, pin_memory=True)
    there = torch.empty(image.nbytes, dtype=torch.uint8, device="cuda")
    pageable = torch.from_numpy(image.reshape(-1))

    def synchronous(copy: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            copy()
            torch.cuda.synchronize()

        return run

    result["pinned to card"] = bench.time(synchronous(lambda: there.copy_(pinned, True)))
    result["card to pinned"] = bench.time(synchronous(lambda: pinned.copy_(there, True)))
    result["pageable to card"] = bench.time(synchronous(lambda: there.copy_(pageable)))
    runtime = torch.cuda.cudart()

    def register() -> None:
        assert int(runtime.cudaHostRegister(image.ctypes.data, image.nbytes, 0)) == 0
        runtime.cudaHostUnregister(image.ctypes.data)

    result["pinning and unpinning"] = bench.time(register)
    return result


def kernels(bench: Bench) -> dict[str, Any]:
    """Return the kernel alone, with pixels on the card already."""
    if bench.interpreted:
        return {}
    import torch

    from maskupe.rendering.staging import Launch, Slot, staging_for

    result = {}
    staging = staging_for("cuda")
    slot = Slot(torch.device("cuda", torch.cuda.current_device()))
    for kind in KINDS:
        for depth, areas in (("u8", bench.whole), ("u8", bench.disc), ("u16", bench.whole)):
            image, window = bench.images[depth], Window(0, 0, bench.width, bench.height)
            job = make_job(bench.maps[kind], image, areas, window, 1.0, None, None, image)
            arrays, numbers, compiled_in = cuda_backend.describe(job)
            launch = Launch(staging.take_parameters(arrays), numbers, compiled_in)
            views = slot._seen_as(image, areas is bench.disc, False)
            np.copyto(views.planes["image"], image)
            if areas is bench.disc:
                np.copyto(views.planes["coverage"], areas.plane)
            views.device_in.copy_(views.host_in)
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            times = []
            for _ in range(bench.rounds + 1):
                began.record()
                launch(views, 0, bench.height)
                ended.record()
                torch.cuda.synchronize()
                times.append(began.elapsed_time(ended))
            name = f"{kind} {depth}" + (", disc" if areas is bench.disc else "")
            result[name] = {"best": min(times[1:]), "median": statistics.median(times[1:])}
    slot.free()
    return result


def renderer(bench: Bench) -> dict[str, Any]:
    """Return kind × depth × areas × backend, from numpy's memory to numpy's memory."""
    result = {}
    reference = "torch:cpu" if bench.interpreted else "torch:cuda"
    for kind in bench.kinds:
        for depth in bench.images:
            for name, areas in (("all", bench.whole), ("disc", bench.disc)):
                for backend in ("native", "cuda"):
                    if backend == "native" and not native_backend.available():
                        continue
                    run = bench.job(kind, depth, areas, backend)
                    result[f"{kind} {depth}, {name}, {backend}"] = bench.time(run)
        if kind in KINDS[:3]:
            run = bench.job(kind, "u8", bench.whole, reference)
            result[f"{kind} u8, all, torch"] = bench.time(run, 1)
    run = bench.job("ToneCurves", "u8", bench.whole, "cuda", fresh=True)
    result["ToneCurves u8, all, cuda, new memory"] = bench.time(run)
    return result


def equality(bench: Bench) -> dict[str, Any]:
    """The largest difference of the whole picture, in levels, from the other backends' result."""
    result = {}
    other = "native" if native_backend.available() else "numpy"
    for kind in bench.kinds:
        for depth in bench.images:
            images = []
            for backend in (other, "cuda"):
                images.append(bench.job(kind, depth, bench.disc, backend, fresh=True)())
            one, two = (np.asarray(image).astype(np.int32) for image in images)
            result[f"{kind} {depth}"] = int(np.abs(one - two).max())
    return result


def strips(bench: Bench) -> dict[str, Any]:
    """Return how many strips at a time, and how large: what the constants should be."""
    from maskupe.rendering import staging

    result = {}
    for slots in (4,) if bench.interpreted else (4, 6, 8, 12, 16):
        for count in (16,) if bench.interpreted else (16, 24, 48):
            with (
                mock.patch.object(staging, "MOST_SLOTS", slots),
                mock.patch.object(cuda_backend, "MOST_SLOTS", slots),
                mock.patch.object(cuda_backend, "STRIPS", count),
            ):
                staging.release()
                for name, areas in (("all", bench.whole), ("disc", bench.disc)):
                    run = bench.job("ToneCurves", "u8", areas, "cuda")
                    result[f"{slots} slots, {count} strips, {name}"] = bench.time(run)
    staging.release()
    # What a strip costs whatever its size: a job of many strips of next to nothing.
    few, many = 2, 4 if bench.interpreted else 64
    image, window = np.full((many, 64, 3), 50, np.uint8), Window(0, 0, 64, many)
    out = np.zeros_like(image)
    areas = full_coverage(many, 64)

    def small(count: int) -> None:
        render(
            bench.maps["ToneCurves"], image, areas, window, out=out,
            backend="cuda", strip_pixels=64 * many // count, threads=1,
        )  # fmt: skip

    times = [bench.time(functools.partial(small, count))["best"] for count in (few, many)]
    result["ms of each further strip"] = (times[1] - times[0]) / (many - few)
    result["ms of a small job"] = times[0]
    return result


def choice(bench: Bench) -> dict[str, Any]:
    """Return what is chosen for 24 megapixels by measuring small pictures, and what that takes."""
    result = {}
    for kind in KINDS[:1] if bench.interpreted else KINDS:
        for name, areas in (("all", bench.whole), ("disc", bench.disc)):
            window = Window(0, 0, bench.width, bench.height)
            job = make_job(
                bench.maps[kind], bench.images["u8"], areas, window, 1.0, None, None, None
            )
            other = "native" if native_backend.available() else "numpy"
            began = time.perf_counter()
            if bench.interpreted:
                with mock.patch("maskupe.rendering.choice.SIDES", (8, 16)):
                    lines = choice_of_card().remember(job, other)
            else:
                lines = choice_of_card().remember(job, other)
            pixels = bench.height * bench.width
            expected = {backend: line.seconds(pixels) * 1e3 for backend, line in lines.items()}
            result[f"{kind} u8, {name}"] = {
                "seconds": time.perf_counter() - began,
                "expected": expected,
                "card": expected["cuda"] <= 0.9 * expected[other],
            }
    return result


SECTIONS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "copies": copies,
    "renderer": renderer,
    "equality": equality,
    "networks": networks,
    "job": job,
    "kernels": kernels,
    "strips": strips,
    "choice": choice,
}


def card_name(interpreted: bool) -> dict[str, str]:
    """Return the card and what drives it."""
    import torch
    import triton

    name = "Triton's interpreter" if interpreted else torch.cuda.get_device_name()
    return {"card": name, "torch": torch.__version__, "triton": triton.__version__}


def main(arguments: list[str] | None = None) -> int:
    """Measure, and writes the two files; 1 if a part failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.card", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megapixels", type=float, default=24.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--seconds", type=float, default=100.0, help="no part begins after that")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    options.folder.mkdir(parents=True, exist_ok=True)
    megapixels = 0.0006 if options.rehearse else options.megapixels
    if options.rehearse:
        quicken_interpreter()
    bench = Bench(megapixels, 1 if options.rehearse else options.rounds, options.rehearse)
    result: dict[str, Any] = {
        "machine": {**describe(), **card_name(options.rehearse)},
        "options": {"megapixels": megapixels, "rounds": bench.rounds, "threads": bench.threads},
        "seconds": {},
        "failures": {},
    }
    for name, section in SECTIONS.items():
        if time.monotonic() - began > options.seconds:
            result["failures"][name] = "there was no time left for it"
            continue
        print(f"… {name}", file=sys.stderr, flush=True)
        start = time.monotonic()
        try:
            result[name] = section(bench)
        except Exception:
            # The next part may still tell something: a card is at hand for minutes only.
            result["failures"][name] = traceback.format_exc()
            print(result["failures"][name], file=sys.stderr, flush=True)
        result["seconds"][name] = round(time.monotonic() - start, 1)
        (options.folder / "card.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        (options.folder / "card.md").write_text(page(result), "utf-8")
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
