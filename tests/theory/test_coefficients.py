"""The EMA's coefficients step by step, against brute force."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_schedules import any_schedule

from adamw_scale.errors import SpecError
from adamw_scale.theory.coefficients import decay_per_step, ema_coefficients, remembered
from adamw_scale.theory.weight_decay_schedules import SHAPES, Decay

STEPS = 2000
decays = st.builds(Decay, any_schedule(), st.sampled_from(sorted(SHAPES)), st.floats(0, 2))
taus = st.floats(0.02, 3.0)


def brute_force(a: list[float]) -> list[float]:
    """Coefficients by running the recursion itself, on one-hot updates: the initial weights first."""
    weights = [1.0]
    for rate in a:
        weights = [(1 - rate) * weight for weight in weights] + [rate]
    return weights


@given(decays, taus)
def test_coefficients_sum_to_one_under_every_schedule(decay: Decay, tau: float) -> None:
    """Initial weights and updates share the final weights among them."""
    initial, updates = ema_coefficients(decay_per_step(decay, tau, STEPS))
    assert initial + math.fsum(updates) == pytest.approx(1, abs=1e-12)
    assert np.all(updates >= 0)


@given(decays, st.floats(0.02, 3.0))
def test_coefficients_are_what_the_recursion_leaves(decay: Decay, tau: float) -> None:
    """Against a loop over every step and every coefficient."""
    a = decay_per_step(decay, tau, 150)
    expected = brute_force(a.tolist())
    initial, updates = ema_coefficients(a)
    assert [initial, *updates] == pytest.approx(expected, rel=1e-12, abs=1e-300)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_coefficients_hold_up_to_a_decay_of_one(a: list[float]) -> None:
    """Where lr * λ touches 1 nothing older is left, and nothing becomes infinite or NaN."""
    initial, updates = ema_coefficients(np.array([*a, 1.0, 0.5]))
    assert initial == 0
    assert updates[: len(a)].tolist() == [0.0] * len(a)
    assert updates[-2:].tolist() == [0.5, 0.5]
    left = remembered(a)
    assert left.retention == pytest.approx(ema_coefficients(np.array(a))[0], rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("a", [[-0.1], [1.1], [math.nan]])
def test_a_decay_beyond_one_is_refused(a: list[float]) -> None:
    """Then the weights are no average."""
    with pytest.raises(SpecError, match=r"\[0, 1\]"):
        ema_coefficients(np.array(a))


@given(decays, taus)
def test_streaming_agrees_with_the_array(decay: Decay, tau: float) -> None:
    """Retention and mean age, one step at a time."""
    a = decay_per_step(decay, tau, 500)
    initial, updates = ema_coefficients(a)
    ages = np.arange(499, -1, -1)
    left = remembered(a.tolist())
    assert left.retention == pytest.approx(initial, rel=1e-10)
    assert left.mean_age == pytest.approx(float(updates @ ages) / (1 - initial), rel=1e-9)
