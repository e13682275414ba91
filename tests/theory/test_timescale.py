"""The EMA view, against published numbers and against its own definition."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adamw_scale.errors import SpecError
from adamw_scale.theory import timescale as ema
from adamw_scale.theory.timescale import tau_iter

lrs = st.floats(1e-6, 1e-1)
decays = st.floats(1e-4, 5.0)


def test_retention_is_the_product_of_all_decays() -> None:
    """1000 steps, linear to zero, λ 0.1 at lr 0.03: the exact product is 0.22246, the formula within 0.3 %."""
    exact = math.prod(1 - 0.03 * (1 - i / 1000) * 0.1 for i in range(1000))
    assert exact == pytest.approx(0.2224608, abs=1e-7)
    assert ema.retention(0.5, 1 / (0.03 * 0.1 * 1000)) == pytest.approx(exact, rel=4e-3)


@given(lr=lrs, decay=decays)
def test_doubling_lr_and_halving_decay_keeps_tau(lr: float, decay: float) -> None:
    """Only the product of learning rate and decay counts."""
    assert ema.tau_iter(2 * lr, decay / 2) == pytest.approx(ema.tau_iter(lr, decay))


@given(lr=lrs, decay=decays)
def test_weight_decay_inverts_tau(lr: float, decay: float) -> None:
    """From λ to tau and back."""
    assert ema.weight_decay(lr, ema.tau_iter(lr, decay)) == pytest.approx(decay)


@given(mean=st.floats(0.05, 1.0), kept=st.floats(0.01, 0.999))
def test_timescale_for_a_retention_has_that_retention(mean: float, kept: float) -> None:
    """From retention to tau and back."""
    assert ema.retention(mean, ema.tau_run_for_retention(mean, kept)) == pytest.approx(kept)


@given(st.floats(0, 1), st.floats(0, 1))
@example(1e-3, 5e-324)
@example(5e-324, 5e-324)
def test_a_timescale_is_a_number_or_refused(peak_lr: float, weight_decay: float) -> None:
    """A product that is zero for every purpose, as of denormal numbers, has none."""
    if peak_lr * weight_decay >= 1e-99:
        assert 1 <= tau_iter(peak_lr, weight_decay) < 1e100
    else:
        with pytest.raises(SpecError, match="zero for every purpose"):
            tau_iter(peak_lr, weight_decay * 1e-9)
