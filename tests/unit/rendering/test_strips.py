"""Strips: threads, progress, stopping, and memory that does not grow with the picture."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest

from maskupe.areas import coverage
from maskupe.errors import CancelledError
from maskupe.maps import Window
from maskupe.parallel import cancellable, parallel_rows
from maskupe.rendering import render
from tests.rendering_cases import FAST, KINDS, random_areas, random_image, random_maps


@pytest.mark.parametrize("backend", FAST)
def test_threads_do_not_change_the_result(backend):
    rng = np.random.default_rng(0)
    maps = random_maps("CurveMaps", rng)
    image, areas = random_image(rng, 700, 1000, 3, np.uint8), random_areas(rng, 700, 1000)
    one, three = (
        render(maps, image, areas, Window(0, 0, 1000, 700), threads=n, backend=backend)
        for n in (1, 3)
    )
    assert np.array_equal(one, three)


@pytest.mark.parametrize("backend", [*FAST, "torch"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_size_of_a_strip_does_not_change_the_result(backend, kind):
    """Whoever runs out of memory may try again with smaller strips."""
    if backend == "torch":
        pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    maps = random_maps(kind, rng, (6, 5), 8)
    image, areas = random_image(rng, 61, 97, 4, np.float32), random_areas(rng, 61, 97)
    shares: list[float] = []
    whole, *parts = (
        render(
            maps,
            image,
            areas,
            Window(11, 7, 200, 150),
            backend=backend,
            strip_pixels=pixels,
            threads=1,
            progress=shares.append if pixels == 97 * 7 else None,
        )
        for pixels in (61 * 97, 97 * 7, 97, 1)
    )
    assert len(shares) == 9
    for part in parts:
        if backend == "numpy":  # BLAS sums in an order that depends on the number of rows
            np.testing.assert_allclose(part, whole, rtol=0, atol=2e-6)
        else:
            assert np.array_equal(part, whole)


@pytest.mark.parametrize("threads", [1, 4])
def test_every_row_is_rendered_once(threads):
    rows = np.zeros(103, int)
    lock = threading.Lock()

    def strip(first: int, last: int) -> None:
        with lock:
            rows[first:last] += 1

    shares: list[float] = []
    parallel_rows(strip, 103, 10, threads, shares.append)
    assert (rows == 1).all()
    assert shares[-1] == 1.0 and shares == sorted(shares)
    if threads == 1:
        assert shares == pytest.approx([n / 11 for n in range(1, 12)])


@pytest.mark.parametrize("threads", [1, 2])
def test_progress_can_stop_the_work(threads):
    rendered = []

    def strip(first: int, last: int) -> None:
        rendered.append(first)
        time.sleep(0.002)

    def stop(share: float) -> None:
        assert threading.current_thread() is threading.main_thread()
        raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        parallel_rows(strip, 1000, 1, threads, stop)
    assert len(rendered) < 1000
    assert not [t for t in threading.enumerate() if t.name.startswith("maskupe-strips")]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_thread_s_check_can_stop_work_that_knows_nothing_of_it(threads):
    rendered = []

    def strip(first: int, last: int) -> None:
        rendered.append(first)
        time.sleep(0.002)

    def stop() -> None:
        assert threading.current_thread() is threading.main_thread()
        raise CancelledError("stopped")

    with pytest.raises(CancelledError), cancellable(stop):
        parallel_rows(strip, 1000, 1, threads, None)
    assert 0 < len(rendered) < 1000
    parallel_rows(strip, 10, 10, threads, None)  # afterwards nobody is asked


def test_an_error_in_a_strip_reaches_the_caller():
    def fail(first: int, last: int) -> None:
        raise MemoryError("no scratch memory")

    with pytest.raises(MemoryError):
        parallel_rows(fail, 100, 10, 3, None)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("kind", KINDS)
def test_memory_does_not_grow_with_the_picture(kind, backend):
    """Beyond the result itself, a picture four times the size needs no more than a margin."""
    rng = np.random.default_rng(0)
    maps = random_maps(kind, rng)
    peaks = []
    for height in (400, 1600):
        image, areas = np.zeros((height, 500, 3), np.uint8), coverage.full_coverage(height, 500)
        out = np.empty_like(image)
        tracemalloc.start()
        render(maps, image, areas, Window(0, 0, 500, height), out=out, threads=1, backend=backend)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] <= peaks[0] + 100_000


def test_native_can_be_kept_from_loading():
    """In a fresh process, as libraries are loaded once."""
    program = (
        "from maskupe.rendering import default_backend, native_backend; "
        "print(native_backend.available(), default_backend())"
    )
    environment = {**os.environ, "MASKUPE_NO_NATIVE": "1"}
    environment.pop("MASKUPE_RENDERER", None)
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "numpy"]


def test_rendering_does_not_import_torch():
    program = "import sys, maskupe.rendering; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
