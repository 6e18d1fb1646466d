"""Networks and whole jobs on a card, for :mod:`benchmarks.card`."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.card_setting import Bench
from maskupe import pipeline as pipeline
from maskupe.maps import Window
from maskupe.rendering import native_backend

MODELS = ("lantern", "star-dce-mconcat", "star-dce-mnorm", "deepupe-mconcat", "deepupe-mnorm")


def networks(bench: Bench) -> dict[str, Any]:
    """Return each network on the card and in ONNX Runtime."""
    from maskupe.inference import load_predictor, replay
    from maskupe.inference.matting import MattingPredictor
    from maskupe.registry import MATTES, WEIGHTS_FOLDER

    device = "cpu" if bench.interpreted else "cuda"
    rng = np.random.default_rng(0)
    context = rng.random((256, 256, 3), np.float32)
    areas = np.zeros((2, 256, 256), np.float32)
    areas[0, :128] = 1
    planes = rng.random((5, 256, 256), np.float32)
    rounds = 1 if bench.interpreted else 30
    result = {}

    def one_by_one(*_: object) -> None:
        raise RuntimeError("not wanted")

    def measure(name: str, load: Callable[[str], Callable[[], object]]) -> None:
        row = {"onnxruntime": bench.time(load("cpu"), rounds), "card": {}, "one by one": {}}
        began = time.perf_counter()
        run = load(device)
        row["card"] = {"loading": (time.perf_counter() - began) * 1e3, **bench.time(run, rounds)}
        with mock.patch.object(replay, "Replay", one_by_one):
            row["one by one"] = bench.time(load(device), rounds)
        result[name] = row

    def model(name: str, device: str) -> Callable[[], object]:
        predictor = load_predictor(name, device=device)
        return lambda: predictor.predict(context, areas)

    def matting(device: str) -> Callable[[], object]:
        predictor = MattingPredictor(WEIGHTS_FOLDER / MATTES["default"], device)
        return lambda: predictor(planes)

    for name in MODELS:
        measure(name, functools.partial(model, name))
    measure("matting", matting)
    return result


#: Stages of a job, by what the pipeline calls for them.
STAGES = (
    *("make_coverage", "surroundings_of", "make_matte", "apply_matte", "network_input"),
    *("predict_effect", "render"),
)


def job(bench: Bench) -> dict[str, Any]:
    """Return a whole job, everything remembered forgotten, and where its time goes."""
    device = "cpu" if bench.interpreted else "cuda"
    image, window = bench.images["u8"], Window(0, 0, bench.width, bench.height)
    result: dict[str, Any] = {}
    for backend in ("native", "cuda"):
        if backend == "native" and not native_backend.available():
            continue
        rows: list[dict[str, float]] = []
        loaded = pipeline.Enhancer.load("default", device=device)
        for _ in range(2 if bench.interpreted else 4):
            for remembered in (loaded._maps, loaded._mattes, loaded._effects):
                remembered._values.clear()
            times: dict[str, float] = {}
            with _timed(times):
                began = time.perf_counter()
                loaded.enhance_region(image, bench.selection, None, window=window, backend=backend)
                times["whole"] = (time.perf_counter() - began) * 1e3
            rows.append(times)
        result[backend] = {name: min(row.get(name, 0.0) for row in rows[1:]) for name in rows[-1]}
    return result


@contextmanager
def _timed(times: dict[str, float]) -> Iterator[None]:
    """Meanwhile the pipeline's stages add their milliseconds to ``times``."""

    def wrapped(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                times[name] = times.get(name, 0.0) + (time.perf_counter() - began) * 1e3

        return run

    found = {name: getattr(pipeline, name) for name in STAGES if hasattr(pipeline, name)}
    replaced = {name: wrapped(name, function) for name, function in found.items()}
    with mock.patch.multiple(pipeline, **replaced):
        yield
