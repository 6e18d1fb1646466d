"""Random mattes, and networks that say what a test wants; shared by the tests of the matte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from maskupe.areas.coverage import make_coverage
from maskupe.areas.transition import Transition
from maskupe.maps import Window
from maskupe.matting.full_size import apply_matte
from maskupe.matting.matte import Matte, Predict, _states, make_matte
from maskupe.matting.surroundings import MATTE_SIZE, Frame, surroundings_of

Said = float | Callable[[np.ndarray], np.ndarray]


def told(matte: Said, opened: Said, exact: Said) -> Predict:
    """A network that says these numbers everywhere, or what functions make of its planes."""

    def predict(planes: np.ndarray) -> np.ndarray:
        size = (MATTE_SIZE, MATTE_SIZE)
        parts = [
            said(planes) if callable(said) else np.full(size, said, np.float32)
            for said in (matte, opened, exact)
        ]
        return np.stack(parts).astype(np.float32)

    return predict


def follow(
    image: np.ndarray,
    selection: np.ndarray,
    transition: Transition,
    predict: Predict,
    window: Window | None = None,
    threads: int = 1,
    **options: Any,
) -> np.ndarray:
    """The coverage of a selection by that network, uint16 (H, W)."""
    height, width = selection.shape
    window = window or Window(0, 0, width, height)
    seen = surroundings_of(image, selection, None, window, transition, threads)
    matte = make_matte(seen, predict, window)
    assert matte is not None
    short = min(window.layer_width, window.layer_height)
    areas = make_coverage(selection, transition, short_side=short)
    return apply_matte(matte, areas, image, selection, window, threads=threads, **options).plane


def random_planes(rng: np.random.Generator, cells: int, exact: bool = True) -> np.ndarray:
    """Planes of a matte with runs of cells that are certain, float32 (7, cells, cells)."""
    planes = np.empty((7, cells, cells), np.float32)
    planes[:3] = rng.normal(0, 1.5, (3, cells, cells))
    planes[3] = rng.normal(0, 0.5, (cells, cells))
    planes[4:6] = rng.random((2, cells, cells))
    planes[6] = (1 - planes[5]) * rng.random((cells, cells))
    if not exact:
        planes[4] = 0.0
    # As blocks, since cells agree with their neighbours mostly.
    blocks = rng.integers(0, 6, (-(-cells // 2), -(-cells // 2)))
    kinds = np.kron(blocks, np.ones((2, 2), int))[:cells, :cells]
    nothing, everything, kept, far = (kinds == kind for kind in range(4))
    planes[:5, nothing] = 0.0
    for certain in (everything, kept):
        planes[:3, certain], planes[4, certain] = 0.0, 0.0
        planes[3, certain] = 1.0
    planes[5, everything], planes[6, everything] = 1.0, 0.0
    planes[5, kept], planes[6, kept] = 0.0, 1.0
    planes[5:, far] = 0.0
    return planes


def random_matte(rng: np.random.Generator, frame: Frame, cells: int, exact: bool = True) -> Matte:
    """A matte with random maps."""
    planes = random_planes(rng, cells, exact)
    image = rng.random((cells, cells, 3)).astype(np.float32)
    weight = rng.random((cells, cells)).astype(np.float32)
    log_gain = float(rng.uniform(0.0, 2.0))
    return Matte(frame, planes, image, weight, log_gain, _states(planes), rng.bytes(8))
