"""What the weights remember: closed forms against exact coefficients."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_coefficients import decays, taus

from adamw_scale.theory.coefficients import decay_per_step, ema_coefficients
from adamw_scale.theory.schedules import Schedule
from adamw_scale.theory.weight_decay_schedules import Decay
from adamw_scale.theory.window import EmaWindow

STEPS = 2000


@settings(max_examples=50)
@given(decays, taus)
def test_closed_form_is_the_exact_window(decay: Decay, tau: float) -> None:
    """Retention, quantiles and effective window from integrals against those of 2000 exact coefficients."""
    initial, updates = ema_coefficients(decay_per_step(decay, tau, STEPS))
    window = EmaWindow(decay, tau, STEPS)
    assert window.retention() == pytest.approx(initial, rel=2e-2, abs=1e-9)
    older = initial + np.concatenate([[0.0], np.cumsum(updates)])  # share older than the start of each step
    for share in (0.1, 0.5, 0.9):
        start = (1 - window.age_quantile(share)) * STEPS
        exact = float(np.interp(start, np.arange(STEPS + 1), older))
        assert 1 - exact == pytest.approx(share * (1 - initial), abs=5e-3)


@given(st.floats(0.02, 0.9))
def test_window_of_a_constant_learning_rate_is_the_timescale(tau: float) -> None:
    """Decay adds up to 1 over exactly tau; half of the updates' part is from the last tau ln 2, nearly."""
    window = EmaWindow(Decay(Schedule("constant")), tau, 1e9)
    assert window.effective_window() == pytest.approx(tau, rel=1e-6)


def test_window_of_linear_decay_is_longer_than_the_timescale() -> None:
    """sqrt(2 * tau): 20 % of the run at tau = 2 %."""
    assert EmaWindow(Decay(Schedule("linear")), 0.02, 1e9).effective_window() == pytest.approx(0.2)


@settings(max_examples=25)
@given(decays, taus)
def test_density_integrates_to_what_was_learned(decay: Decay, tau: float) -> None:
    """What updates contribute is all that is not left of the initial weights."""
    window, points = EmaWindow(decay, tau, 1e9), 1500
    total = math.fsum(window.density((i + 0.5) / points) for i in range(points)) / points
    assert total == pytest.approx(1 - window.retention(), abs=2e-2)
