"""The compiled code of the matte against the numpy reference, on problems of every shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskupe.areas.coverage import Coverage
from maskupe.areas.rows import FULL
from maskupe.maps import Window
from maskupe.matting.full_size import apply_matte, to_coverage
from maskupe.matting.surroundings import Frame
from maskupe.native import library
from maskupe.rendering import native_backend
from tests.matte_cases import random_matte
from tests.rendering_cases import DTYPES, random_image

pytestmark = pytest.mark.skipif(
    not native_backend.available(), reason="no compiled kernel in this installation"
)

# What is nearer to nothing or all than this becomes that.
_SNAP = FULL // 510


def random_selection(rng: np.random.Generator, kind: str, height: int, width: int) -> np.ndarray:
    values = np.clip(rng.random((height, width)) * 1.6 - 0.3, 0, 1)
    if kind == "bool":
        return values > 0.5
    if kind == "u8":
        return np.rint(values * 255).astype(np.uint8)
    if kind == "u16":
        return np.rint(values * 65535).astype(np.uint16)
    return values.astype(np.float64 if kind == "f64" else np.float32)


def agree(one: np.ndarray, other: np.ndarray) -> bool:
    """Within a rounding step, or on two sides of where weights become nothing or all."""
    low, high = np.minimum(one, other).astype(int), np.maximum(one, other).astype(int)
    near = high - low <= 1
    near |= (low == 0) & (high <= _SNAP + 1)
    near |= (high == FULL) & (low >= FULL - _SNAP - 1)
    return bool(near.all())


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.one_of(st.just(1), st.integers(1, 40)),
    width=st.one_of(st.just(1), st.integers(1, 300)),
    channels=st.sampled_from([None, 1, 2, 3, 4]),
    dtype=st.sampled_from(DTYPES),
    kind=st.sampled_from(["bool", "u8", "u16", "f32", "f64"]),
    cells=st.sampled_from([1, 2, 5, 17, 256]),
    exact=st.booleans(),
    sparse=st.booleans(),
    strength=st.sampled_from([0.0, 0.6, 1.0, 2.0]),
)
def test_the_compiled_code_agrees_with_the_reference(
    seed, height, width, channels, dtype, kind, cells, exact, sparse, strength
):
    rng = np.random.default_rng(seed)
    # A frame that lies anywhere about a region that lies anywhere in a layer.
    left, top = (int(v) for v in rng.integers(0, 50, 2))
    window = Window(left, top, left + width + 40, top + height + 40)
    x, y = int(rng.integers(0, left + width)), int(rng.integers(0, top + height))
    frame = Frame(x, y, int(rng.integers(1, 400)), int(rng.integers(1, 400)))
    matte = random_matte(rng, frame, cells, exact)
    image = random_image(rng, height, width, channels, dtype)
    selection = random_selection(rng, kind, height, width)
    if dtype == np.float32:
        image[rng.random(image.shape) < 0.02] = np.inf
        image[rng.random(image.shape) < 0.02] = np.nan
    if sparse:  # rows with something between them, as those of a part of an array
        image = np.concatenate([image, image], axis=1)[:, :width]
        selection = np.concatenate([selection, selection], axis=1)[:, width:]
    plane = rng.integers(0, FULL + 1, (height, width)).astype(np.uint16)
    plane[rng.random(plane.shape) < 0.3] = 0
    got, expected = (
        apply_matte(
            matte, Coverage(plane.copy(), 3.0), image, selection, window, strength, 2, compiled
        )
        for compiled in (True, False)
    )
    assert got.width == expected.width == 3.0
    assert agree(got.plane, expected.plane)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_builds_for_older_processors_agree_with_the_reference(dtype, monkeypatch):
    rng = np.random.default_rng(8)
    matte, window = random_matte(rng, Frame(20, 3, 250, 70), 31), Window(5, 2, 400, 90)
    image = random_image(rng, 80, 333, 3, dtype)
    selection = random_selection(rng, "u8", 80, 333)
    plane = rng.integers(0, FULL + 1, (80, 333)).astype(np.uint16)
    options = (image, selection, window, 0.7, 1)
    expected = apply_matte(matte, Coverage(plane.copy(), 0.0), *options, False).plane
    for path in (path for path in library.candidates() if path.is_file()):
        opened = library.open_library(path)
        monkeypatch.setattr("maskupe.matting.full_size.load", lambda opened=opened: opened)
        got = apply_matte(matte, Coverage(plane.copy(), 0.0), *options).plane
        assert agree(got, expected), path.name


def test_weights_near_the_ends_become_the_ends():
    values = np.array([0, 0.4 / 510, 1.5 / 510, 0.5, 1 - 1.5 / 510, 1 - 0.4 / 510, 1], np.float32)
    steps = to_coverage(values)
    assert steps[0] == steps[1] == 0 and steps[-1] == steps[-2] == FULL
    assert np.abs(steps[2:5] / FULL - values[2:5]).max() <= 0.5 / FULL + 1e-7
