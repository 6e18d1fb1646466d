"""The ramp: ends, order, smoothness, and even steps of the gain's logarithm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskupe.areas.transition import smoothstep
from maskupe.blending.weights import inverse_smoothstep, log_gain_ramp, soft_ended_ramp

WAY = np.linspace(0.0, 1.0, 401, dtype=np.float32)


def test_position_inverts_the_smoothstep() -> None:
    assert np.allclose(inverse_smoothstep(smoothstep(WAY)), WAY, atol=2e-3)


def test_the_ramp_is_symmetric_smooth_and_nearly_as_even_as_a_line() -> None:
    ramp = soft_ended_ramp(WAY).astype(np.float64)
    steps = np.diff(ramp) * (len(WAY) - 1)
    assert ramp[0] == 0.0
    assert ramp[-1] == 1.0
    assert np.allclose(ramp + ramp[::-1], 1.0, atol=1e-6)
    assert steps.max() == pytest.approx(1 / 0.9, abs=0.01)  # a smoothstep has 1.5
    assert abs(steps[0]) < 0.02  # slope 0 at both ends
    assert abs(steps[-1]) < 0.02
    assert np.abs(np.diff(steps)).max() < 0.05  # and no kink between


@given(st.floats(-1.0, 4.0))
def test_the_weight_keeps_its_ends_and_its_order(log_gain: float) -> None:
    weight = log_gain_ramp(soft_ended_ramp(inverse_smoothstep(smoothstep(WAY))), log_gain)
    assert weight[0] == 0.0
    assert weight[-1] == pytest.approx(1.0, abs=1e-5)
    assert (np.diff(weight) >= -1e-6).all()


@given(st.floats(0.1, 3.5))
def test_blending_values_with_it_makes_the_log_gain_an_even_ramp(log_gain: float) -> None:
    dark = 0.02
    lit = dark * np.exp(log_gain)
    blended = dark + log_gain_ramp(
        soft_ended_ramp(inverse_smoothstep(smoothstep(WAY))), log_gain
    ) * (lit - dark)
    assert np.allclose(
        np.log(blended / dark),
        log_gain * soft_ended_ramp(inverse_smoothstep(smoothstep(WAY))),
        atol=2e-3,
    )
