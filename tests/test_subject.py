"""The subject in A: bright surroundings are told from it, plain selections stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskupe.subject import HIDDEN, find_subject

SIZE = 64


def scene(dark: float, bright: float, share: float, seed: int = 0) -> np.ndarray:
    """A dark lower part and a bright upper part with that share of the rows, with texture."""
    rng = np.random.default_rng(seed)
    image = np.full((SIZE, SIZE, 3), dark, np.float32)
    image[: round(share * SIZE)] = bright
    return np.clip(image * rng.uniform(0.8, 1.2, (SIZE, SIZE, 1)), 0, 1).astype(np.float32)


def all_of_a() -> np.ndarray:
    return np.stack([np.ones((SIZE, SIZE)), np.zeros((SIZE, SIZE))]).astype(np.float32)


def test_a_dark_subject_is_told_from_the_sky_behind_it() -> None:
    image, shares = scene(0.05, 0.7, 0.5), all_of_a()
    found = find_subject(image, shares)
    assert found.apart == pytest.approx(1.0)
    assert found.marked[:32].max() < 0.01
    assert found.marked[32:].min() > 0.99
    # A as a whole has a mean of 0.38 and would pass as lit: the network sees less of the sky.
    assert np.allclose(found.shares[0], 1.0 - HIDDEN * (1.0 - found.marked), atol=1e-6)
    assert np.array_equal(found.shares[1], shares[1])


def test_where_a_is_dark_in_all_the_network_sees_all_of_it() -> None:
    image, shares = scene(0.03, 0.7, 0.15), all_of_a()
    found = find_subject(image, shares)
    assert found.apart == pytest.approx(1.0)
    assert np.array_equal(found.shares, shares)
    assert found.marked[:9].max() < 0.01


@pytest.mark.parametrize(
    ("dark", "bright", "share"),
    [
        (0.05, 0.15, 0.5),  # both are dark
        (0.35, 0.9, 0.5),  # both are lit
        (0.05, 0.7, 0.0),  # nothing bright
        (0.05, 0.7, 1.0),  # nothing dark
    ],
)
def test_other_selections_are_their_subject(dark: float, bright: float, share: float) -> None:
    shares = all_of_a()
    found = find_subject(scene(dark, bright, share), shares)
    assert found.apart == 0.0
    assert np.array_equal(found.shares, shares)
    assert np.array_equal(found.marked, shares[0])


def test_tones_that_run_evenly_are_one_subject() -> None:
    image = np.broadcast_to(np.linspace(0.02, 0.6, SIZE)[:, None, None], (SIZE, SIZE, 3))
    assert find_subject(image.astype(np.float32), all_of_a()).apart < 0.25


def test_it_fades_in_as_the_selection_grows_into_the_sky() -> None:
    image = scene(0.05, 0.7, 0.5)
    degrees = []
    for sky in np.linspace(0.0, 2.0, 120, dtype=np.float32):  # rows of 64, of which it takes part
        shares = all_of_a()
        shares[0, :30] = 0.0
        shares[0, 30:32] = sky / 2.0
        degrees.append(find_subject(image, shares).apart)
    assert degrees[0] == 0.0
    assert degrees == sorted(degrees)
    assert degrees[-1] == pytest.approx(1.0)
    assert max(np.diff(degrees)) < 0.3


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.floats(0.0, 1.0), st.floats(0.1, 3.0))
def test_whatever_comes_shares_only_shrink(seed: int, covered: float, power: float) -> None:
    rng = np.random.default_rng(seed)
    image = (rng.random((16, 16, 3)) ** power).astype(np.float32)
    shares = np.zeros((2, 16, 16), np.float32)
    shares[0] = np.where(rng.random((16, 16)) < covered, rng.random((16, 16)), 0.0)
    before = shares.copy()
    found = find_subject(image, shares)
    assert np.array_equal(shares, before)
    assert 0.0 <= found.apart <= 1.0
    assert (found.marked >= 0).all()
    assert (found.marked <= shares[0] + 1e-6).all()
    assert (found.shares[0] <= shares[0] + 1e-6).all()
    assert np.isfinite(found.shares).all()
    if shares[0].any():
        assert found.marked.sum() > 0
