"""Schedules: closed-form means against sums, shapes at their ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale.errors import SpecError, UnknownNameError
from adamw_scale.schedules import SHAPES, Schedule

schedules = st.builds(
    Schedule,
    st.sampled_from(sorted(SHAPES)),
    warmup_fraction=st.floats(0, 0.5),
    final_lr_fraction=st.floats(0, 1),
    decay_fraction=st.floats(0.01, 0.5),
)


@pytest.mark.parametrize(
    ("schedule", "published"),
    [
        (Schedule("constant"), 1.0),
        (Schedule("linear"), 0.5),
        (Schedule("cosine"), 0.5),
        (Schedule("cosine", final_lr_fraction=0.1), 0.55),
        (Schedule("linear", final_lr_fraction=0.1), 0.55),
        (Schedule("wsd", decay_fraction=0.2), 0.9),
        (Schedule("constant", warmup_fraction=0.1), 0.95),
        (Schedule("linear", warmup_fraction=0.1), 0.5),
        (Schedule("cosine", warmup_fraction=0.1, final_lr_fraction=0.1), 0.545),
    ],
    ids=repr,
)
def test_published_means(schedule: Schedule, published: float) -> None:
    """Mean multipliers of the usual schedules, with and without 10 % warm-up."""
    assert schedule.mean() == pytest.approx(published)


@given(schedules)
def test_mean_equals_the_sum_over_steps(schedule: Schedule) -> None:
    """The closed form is what a run of 4000 steps adds up to."""
    steps = 4000
    total = sum(schedule.multiplier((step + 0.5) / steps) for step in range(steps))
    assert total / steps == pytest.approx(schedule.mean(), abs=1e-3)


@given(schedules, st.floats(0, 1))
def test_multiplier_is_a_fraction_of_the_peak(schedule: Schedule, progress: float) -> None:
    """No point of a schedule is below zero or above the peak, and each ends at its final value."""
    assert 0 <= schedule.multiplier(progress) <= 1 + 1e-12
    final = 1.0 if schedule.name == "constant" else schedule.final_lr_fraction
    assert schedule.multiplier(1.0) == pytest.approx(final)


def test_unknown_schedule_is_answered_with_the_nearest() -> None:
    """A typo in a schedule's name names the schedule that was meant."""
    with pytest.raises(UnknownNameError, match="did you mean 'cosine'"):
        Schedule("cosin")


def test_warmup_and_decay_must_fit_in_the_run() -> None:
    """Half of the run warming up and 60 % decaying is refused."""
    with pytest.raises(SpecError, match="more than the whole run"):
        Schedule("wsd", warmup_fraction=0.5, decay_fraction=0.6)
