"""The renderer for cards against the torch reference, on a card or in Triton's interpreter."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from maskupe.areas.coverage import Coverage, full_coverage
from maskupe.errors import CancelledError
from maskupe.maps import Window
from maskupe.rendering import cuda_backend, processor_backend, render
from maskupe.rendering.choice import MOST_SLOTS
from maskupe.rendering.job import make_job
from tests.cuda.here import CARD, needs_kernels
from tests.rendering_cases import (
    DTYPES,
    KINDS,
    TOLERANCE,
    distance,
    everything,
    random_areas,
    random_fade,
    random_image,
    random_maps,
    uniform,
    window_around,
)

pytestmark = needs_kernels
pytest.importorskip("torch")

#: A program of the interpreter takes as long as a million pixels of a card.
SIZE = (61, 517) if CARD else (4, 137)
#: Every kind of pixel with every number of channels, or each once.
PIXELS = (
    [(dtype, channels) for dtype in DTYPES for channels in (None, 1, 2, 3, 4)]
    if CARD
    else [(np.uint8, 3), (np.uint16, 4), (np.float32, 2), (np.uint8, None)]
)


def assert_close(got, expected):
    """Within a level of integers, or float rounding relative to the largest value."""
    assert got.shape == expected.shape and got.dtype == expected.dtype
    scale = max(1.0, float(np.abs(expected).max())) if expected.dtype == np.float32 else 1.0
    assert distance(got, expected) <= TOLERANCE[expected.dtype] * scale


def bits(image):
    return image.view({1: np.uint8, 2: np.uint16, 4: np.uint32}[image.dtype.itemsize])


@pytest.mark.parametrize("saturation", [-0.7, 1.0])
@pytest.mark.parametrize(("dtype", "channels"), PIXELS[:3])
def test_the_chroma_is_that_of_torch(dtype, channels, saturation):
    rng = np.random.default_rng(6)
    maps, image = random_maps("ToneCurves", rng), random_image(rng, *SIZE, channels, dtype)
    areas, window = random_areas(rng, *SIZE), window_around(rng, *SIZE)
    clean = uniform(rng, 0, 1, *SIZE, 4)
    for rows in (None, lambda first, last: clean[first:last]):
        options = {"saturation": saturation, "fade": random_fade(rng), "clean": rows}
        expected = render(maps, image, areas, window, backend="torch", **options)
        assert_close(render(maps, image, areas, window, backend="cuda", **options), expected)


@pytest.mark.parametrize(("dtype", "channels"), PIXELS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_agrees_with_torch(kind, dtype, channels):
    rng = np.random.default_rng(len(kind))
    maps = random_maps(kind, rng)
    image = random_image(rng, *SIZE, channels, dtype)
    areas, window = random_areas(rng, *SIZE), window_around(rng, *SIZE)
    options = {"strength": 0.7, "fade": random_fade(rng)}
    expected = render(maps, image, areas, window, backend="torch", **options)
    assert_close(render(maps, image, areas, window, backend="cuda", **options), expected)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_the_smallest_maps(kind, count):
    rng = np.random.default_rng(3)
    maps = random_maps(kind, rng, (1, 1), count)
    image, window = random_image(rng, 3, 40, 3, np.float32), Window(0, 0, 40, 3)
    expected = render(maps, image, everything(3, 40), window, backend="torch")
    assert_close(render(maps, image, everything(3, 40), window, backend="cuda"), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_maps_of_the_networks_sizes(kind):
    rng = np.random.default_rng(5)
    grid, count = {
        "CurveMaps": ((256, 256), 8),
        "ToneCurves": ((16, 16), 1024),
        "LookUpTable": ((1, 1), 33),
    }.get(kind, ((16, 16), 8))
    maps, window = random_maps(kind, rng, grid, count), Window(13, 5, 900, 700)
    for dtype in DTYPES if CARD else (np.uint8,):
        image, areas = random_image(rng, *SIZE, 3, dtype), random_areas(rng, *SIZE)
        expected = render(maps, image, areas, window, backend="torch")
        assert_close(render(maps, image, areas, window, backend="cuda"), expected)


def test_tone_curves_never_darken():
    rng = np.random.default_rng(11)
    dark = random_maps("ToneCurves", rng)
    dark.table[:] *= 0.4
    image, window = random_image(rng, 3, 90, 3, np.float32), Window(0, 0, 90, 3)
    expected, got = (
        render(dark, image, everything(3, 90), window, backend=backend)
        for backend in ("torch", "cuda")
    )
    assert_close(got, expected)
    assert (got >= image).all() and (got > image).any() and (got == image).mean() > 0.1


@pytest.mark.parametrize("kind", KINDS if CARD else ["ToneCurves", "GainGrid"])
def test_c_and_alpha_keep_their_bits(kind):
    """Also where these are NaN of any kind, infinities and denormals."""
    rng = np.random.default_rng(1)
    image = rng.integers(0, 2**32, (*SIZE, 4), dtype=np.uint32).view(np.float32)
    image[..., 3][rng.random(SIZE) < 0.3] = 0
    areas, window = random_areas(rng, *SIZE), Window(0, 0, SIZE[1], SIZE[0])
    got = render(random_maps(kind, rng), image, areas, window, backend="cuda")
    same = (areas.weight == 0) | (image[..., 3] == 0)
    assert np.array_equal(bits(got)[same], bits(image)[same])
    assert np.array_equal(bits(got)[..., 3], bits(image)[..., 3])


def test_values_outside_the_range_survive():
    rng = np.random.default_rng(2)
    maps = random_maps("ToneCurves", rng)
    values = np.array([-0.5, 1.7, 1e30, np.inf, -np.inf, np.nan, 0.25], np.float32)
    image = np.repeat(values[None, :, None], 3, axis=2)
    image[0, -1, 1] = np.nan
    areas, window = everything(1, 7), Window(0, 0, 7, 1)
    expected, got = (
        render(maps, image, areas, window, backend=backend) for backend in ("torch", "cuda")
    )
    assert np.isnan(got[0, 5]).all() and np.isnan(got[0, 6, 1]) and np.isfinite(got[0, 6, 0])
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS if CARD else ["CurveMaps"])
def test_the_size_of_a_strip_does_not_change_the_result(kind):
    rng = np.random.default_rng(2)
    maps, window = random_maps(kind, rng, (6, 5), 8), Window(11, 7, 200, 150)
    image, areas = random_image(rng, 7, 97, 4, np.float32), random_areas(rng, 7, 97)
    whole, *parts = (
        render(maps, image, areas, window, backend="cuda", strip_pixels=pixels, threads=threads)
        for pixels, threads in ((7 * 97, 1), (97 * 3, 2), (1, 3), (1 << 30, 1))
    )
    for part in parts:
        assert np.array_equal(part, whole)


def test_any_view_and_its_own_memory():
    """Rows with gaps, every second column, and the result in the image's place."""
    rng = np.random.default_rng(4)
    maps, areas = random_maps("GainGrid", rng), random_areas(rng, 4, 60)
    large = random_image(rng, 8, 130, 4, np.uint16)
    window = Window(0, 0, 60, 4)
    for view in (large[::2, 5:65], large[1:5, :120:2], large[3::-1, 70:, :3]):
        expected = render(maps, np.ascontiguousarray(view), areas, window, backend="torch")
        assert_close(render(maps, view, areas, window, backend="cuda"), expected)
    own = large[2:6, 10:70]
    expected = render(maps, own.copy(), areas, window, backend="torch")
    assert render(maps, own, areas, window, backend="cuda", out=own) is own
    assert_close(np.ascontiguousarray(own), expected)


def test_rows_of_one_area_only():
    """Nothing is sent where nothing is lit up, and no coverage where everything is."""
    rng = np.random.default_rng(6)
    maps, image = random_maps("LookUpTable", rng), random_image(rng, 6, 50, 3, np.uint8)
    plane = np.zeros((6, 50), np.uint16)
    plane[2:4] = 65535
    plane[5, 17] = 30000  # the only pixel of its strip, beside all that is looked at first
    window = Window(0, 0, 50, 6)
    for areas in (Coverage(plane, 0.0), full_coverage(6, 50)):
        expected = render(maps, image, areas, window, backend="torch")
        got = render(maps, image, areas, window, backend="cuda", strip_pixels=100)
        assert_close(got, expected)


@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 3), (np.float32, 2), (np.uint16, 4)])
def test_a_clean_image_is_enhanced_in_place_of_the_pixels(dtype, channels):
    rng = np.random.default_rng(7)
    height, width = 3, 70
    maps, window = random_maps("ToneCurves", rng), Window(3, 2, 90, 40)
    image = random_image(rng, height, width, channels, dtype)
    clean = uniform(rng, 0, 1, height, width, 4)
    options = {"fade": random_fade(rng), "clean": lambda first, last: clean[first:last]}
    areas = random_areas(rng, height, width)
    expected = render(maps, image, areas, window, backend="torch", **options)
    assert_close(render(maps, image, areas, window, backend="cuda", **options), expected)


def test_progress_can_stop_the_work():
    rng = np.random.default_rng(8)
    maps, image = random_maps("ToneCurves", rng), random_image(rng, 40, 50, 3, np.uint8)
    shares = []

    def stop(share):
        shares.append(share)
        raise CancelledError("stopped")

    options = {"backend": "cuda", "strip_pixels": 50, "threads": 2}
    areas, window = everything(40, 50), Window(0, 0, 50, 40)
    with pytest.raises(CancelledError):
        render(maps, image, areas, window, progress=stop, **options)
    assert len(shares) == 1
    small = render(maps, image[:2], areas.crop(slice(0, 2), slice(None)), window, **options)
    expected = render(
        maps, image[:2], areas.crop(slice(0, 2), slice(None)), window, backend="torch"
    )
    assert_close(small, expected)


def test_memory_that_runs_out_is_said_so_and_given_back(monkeypatch):
    """As the daemon recognises it; smaller strips then find room."""
    import torch

    from maskupe.rendering.staging import Slot, staging_for

    usual = Slot._reserve
    least = []

    def reserve(slot, bytes_in, bytes_out):
        if bytes_in > 1000:
            least.append(bytes_in)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        usual(slot, bytes_in, bytes_out)

    staging_for("cuda").release()
    monkeypatch.setattr(Slot, "_reserve", reserve)
    rng = np.random.default_rng(9)
    maps, image = random_maps("ToneCurves", rng), random_image(rng, 8, 50, 3, np.uint8)
    areas, window = everything(8, 50), Window(0, 0, 50, 8)
    with pytest.raises(RuntimeError, match="out of memory"):
        render(maps, image, areas, window, backend="cuda", strip_pixels=8 * 50)
    assert least
    got = render(maps, image, areas, window, backend="cuda", strip_pixels=50)
    assert_close(got, render(maps, image, areas, window, backend="torch"))


def test_slots_are_few_and_given_back():
    from maskupe.rendering.staging import staging_for

    rng = np.random.default_rng(10)
    maps, image = random_maps("ToneCurves", rng), random_image(rng, 30, 20, 3, np.uint8)
    staging = staging_for("cuda")
    staging.release()

    def job():
        areas, window = everything(30, 20), Window(0, 0, 20, 30)
        render(maps, image, areas, window, backend="cuda", strip_pixels=20, threads=16)

    jobs = [threading.Thread(target=job) for _ in range(2)]
    for thread in jobs:
        thread.start()
    for thread in jobs:
        thread.join()
    assert 1 <= staging._made <= MOST_SLOTS
    assert len(staging._idle) == staging._made
    staging.release()
    assert staging._made == 0 and not staging._idle


def test_the_processor_s_backend_is_none_of_a_card(monkeypatch):
    monkeypatch.setenv("MASKUPE_RENDERER", "cuda")
    assert processor_backend() in ("native", "numpy")


def test_strips_suit_the_job():
    """Neither thousands of them, nor one that nobody could stop, nor more rows than a grid has."""
    image = np.zeros((4000, 6000, 3), np.uint8)
    rng = np.random.default_rng(0)
    areas, window = full_coverage(4000, 6000), Window(0, 0, 6000, 4000)
    job = make_job(random_maps("GainGrid", rng), image, areas, window, 1.0, None, None, image)
    rows = cuda_backend.strip_rows(job)
    assert 20 <= 4000 / rows <= 30
    for shape in ((1, 1, 3), (200_000, 1, 1), (10, 10, 4)):
        tall = replace(
            job, image=np.zeros(shape, np.uint8), coverage=np.zeros(shape[:2], np.uint16)
        )
        assert 1 <= cuda_backend.strip_rows(tall) <= 65535
