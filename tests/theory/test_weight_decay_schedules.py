"""Weight decay with a schedule of its own: its sum with the learning rate's."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_schedules import any_schedule

from adamw_scale.theory.schedules import Schedule
from adamw_scale.theory.weight_decay_schedules import SHAPES, Decay


@given(any_schedule(), st.sampled_from(sorted(SHAPES)), st.floats(0, 2))
def test_decay_mass_of_a_moving_weight_decay_equals_the_sum(schedule: Schedule, shape: str, final: float) -> None:
    """Learning rate times weight decay, both with schedules of their own, summed over 4000 steps."""
    decay, steps = Decay(schedule, shape, final), 4000
    total = math.fsum(decay.multiplier((step + 0.5) / steps) for step in range(steps))
    assert total / steps == pytest.approx(decay.mean(), abs=2e-3)


def test_adamc_mass_is_two_thirds_for_linear_and_three_quarters_for_cosine() -> None:
    """Decay that follows the learning rate, arXiv:2506.02285: sum of s_t squared over sum of s_t."""
    for name, ratio in {"linear": 2 / 3, "cosine": 3 / 4}.items():
        assert Decay(Schedule(name), "follows-lr").mean() / Schedule(name).mean() == pytest.approx(ratio)
