"""Schedules: closed forms against sums, shapes at their ends, what contradicts itself refused."""

import math

import pytest
from conftest import EVERY_SCHEDULE
from hypothesis import assume, given
from hypothesis import strategies as st

from adamw_scale.errors import MissingInputError, SpecError, UnknownNameError
from adamw_scale.theory.schedules import SCHEDULES, Schedule, ended

fractions = st.floats(0, 1)
warmups = st.floats(0, 0.45)


@st.composite
def any_schedule(draw: st.DrawFn) -> Schedule:
    """Any schedule with any options it takes."""
    name = draw(st.sampled_from(sorted(SCHEDULES)))
    options = {
        "warmup_fraction": draw(warmups),
        "final_lr_fraction": draw(st.floats(1e-4, 1)),
        "decay_fraction": draw(st.floats(0.01, 0.5)),
        "schedule_power": draw(st.floats(0.2, 5)),
        "milestones": tuple(sorted(draw(st.lists(st.integers(50, 99), min_size=1, max_size=4, unique=True)))),
        "step_factor": draw(st.floats(0.05, 0.9)),
        "cycles": draw(st.integers(1, 6)),
        "cycle_growth": draw(st.floats(1, 3)),
    }
    options["milestones"] = tuple(m / 100 for m in options["milestones"])
    if name == "inverse-sqrt":
        options["warmup_fraction"] = max(0.01, options["warmup_fraction"])
    taken = {option: value for option, value in options.items() if option in SCHEDULES[name].takes}
    return Schedule(name, **(EVERY_SCHEDULE["table"] if name == "table" else taken))


@pytest.mark.parametrize(
    ("schedule", "published"),
    [
        (Schedule("constant"), 1.0),
        (Schedule("linear"), 0.5),
        (Schedule("cosine"), 0.5),
        (Schedule("cosine", final_lr_fraction=0.1), 0.55),
        (Schedule("linear", final_lr_fraction=0.1), 0.55),
        (Schedule("wsd", decay_fraction=0.2), 0.9),
        (Schedule("wsd-1-sqrt", decay_fraction=0.2), 0.866667),
        (Schedule("constant", warmup_fraction=0.1), 0.95),
        (Schedule("linear", warmup_fraction=0.1), 0.5),
        (Schedule("cosine", warmup_fraction=0.1, final_lr_fraction=0.1), 0.545),
    ],
    ids=repr,
)
def test_published_means(schedule: Schedule, published: float) -> None:
    """Mean multipliers of the usual schedules, with and without 10 % warm-up."""
    assert schedule.mean() == pytest.approx(published, abs=1e-6)


@given(any_schedule())
def test_means_equal_the_sums_over_steps(schedule: Schedule) -> None:
    """The closed forms are what a run of 4000 steps adds up to, for the multiplier and for its square."""
    steps = 4000
    values = [schedule.multiplier((step + 0.5) / steps) for step in range(steps)]
    assert math.fsum(values) / steps == pytest.approx(schedule.mean(), abs=1e-3)
    assert math.fsum(value * value for value in values) / steps == pytest.approx(schedule.mean_square(), abs=1e-3)


@given(any_schedule(), fractions)
def test_cumulative_grows_from_nothing_to_the_mean(schedule: Schedule, progress: float) -> None:
    """Integrals up to a point: 0 at the start, the mean at the end, slope the multiplier."""
    assert schedule.cumulative(0.0) == pytest.approx(0, abs=1e-14)
    assert schedule.cumulative(1.0) == pytest.approx(schedule.mean())
    later = min(1.0, progress + 1e-4)
    rise = schedule.cumulative(later) - schedule.cumulative(progress)
    assert -1e-14 <= rise <= 1.0001 * (later - progress) + 1e-14


@given(any_schedule(), fractions)
def test_multiplier_is_a_fraction_of_the_peak(schedule: Schedule, progress: float) -> None:
    """No point of a schedule is below zero or above the peak."""
    assert -1e-12 <= schedule.multiplier(progress) <= 1 + 1e-12


def test_restarts_grow_as_in_sgdr() -> None:
    """Three cycles growing twofold take 1/7, 2/7 and 4/7 of the run, each from peak to zero (1608.03983)."""
    schedule = Schedule("cosine-restarts", cycles=3, cycle_growth=2)
    assert [piece.width for piece in schedule.pieces] == pytest.approx([1 / 7, 2 / 7, 4 / 7])
    assert schedule.last_cycle_fraction == pytest.approx(4 / 7)
    assert schedule.multiplier(1 / 7 - 1e-9) == pytest.approx(0, abs=1e-6)
    assert schedule.multiplier(1 / 7 + 1e-9) == pytest.approx(1)


def test_one_cycle_is_that_of_pytorch() -> None:
    """Against torch's own OneCycleLR with its defaults."""
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=1001, cycle_momentum=False)
    schedule = Schedule("one-cycle", warmup_fraction=0.2993)  # torch's rise ends at step 0.3 * 1001 - 1 of 1000
    for step in range(1000):
        assert schedule.multiplier(step / 1000) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-6)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("wsd", {"warmup_fraction": 0.5, "decay_fraction": 0.6}, "more than the whole run"),
        ("linear", {"decay_fraction": 0.2}, "no effect in schedule 'linear'"),
        ("constant", {"final_lr_fraction": 0.1}, "no effect in schedule 'constant'"),
        ("step", {"milestones": (0.9, 0.8)}, "must rise"),
        ("step", {"milestones": (0.1,), "warmup_fraction": 0.2}, "must rise"),
        ("cosine-restarts", {"cycles": 2.5}, "not a whole number"),
        ("cosine-restarts", {"cycles": 4000, "cycle_growth": 9.0}, "--cycle-growth = 9 leaves nothing"),
        ("table", {"schedule_table": ((0.0, 1.0), (0.5, 0.5))}, "from 0 to 1"),
        ("table", {"schedule_table": ((0.0, 0.5), (1.0, 0.0))}, "largest is 1"),
    ],
)
def test_contradictions_are_refused(name: str, options: dict[str, object], message: str) -> None:
    """What cannot be, or has no effect, is said."""
    with pytest.raises(SpecError, match=message):
        Schedule(name, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "flag"), [("step", "--milestones"), ("inverse-sqrt", "--warmup"), ("table", "--sch")])
def test_missing_options_are_asked_for(name: str, flag: str) -> None:
    """A schedule that is not defined without an option names its flag."""
    with pytest.raises(MissingInputError, match=flag):
        Schedule(name)


def test_a_warm_up_of_no_step_is_none() -> None:
    """One over the square root of the step has no value there."""
    with pytest.raises(MissingInputError, match="--warmup"):
        Schedule("inverse-sqrt", warmup_fraction=1e-320)
    assert Schedule("linear", warmup_fraction=1e-320).mean() == Schedule("linear").mean()


def test_unknown_schedule_is_answered_with_the_nearest() -> None:
    """A typo in a schedule's name names the schedule that was meant."""
    with pytest.raises(UnknownNameError, match="did you mean 'cosine'"):
        Schedule("cosin")


@given(any_schedule(), st.floats(1.0, 1.8), st.floats(0.0, 1.0))
def test_a_schedule_of_another_length_is_its_own_part(schedule: Schedule, length: float, at: float) -> None:
    """Cut off where the run ends first: every sum over the run is that of the part that it gets."""
    assume(schedule.warmup * length < 0.9)
    cut = ended(schedule, length)
    assert cut.mean() == pytest.approx(schedule.cumulative(1 / length) * length, abs=0.01)
    assert cut.cumulative(at) == pytest.approx(schedule.cumulative(at / length) * length, abs=0.01)
    assert cut.final == pytest.approx(schedule.multiplier(1 / length), abs=1e-9)


@given(any_schedule(), st.floats(0.05, 0.99), st.floats(0.0, 1.0))
def test_what_follows_a_schedule_is_told_or_its_end(schedule: Schedule, length: float, rest: float) -> None:
    """Squeezed into its own part of the run, then level."""
    for given_rest, last in ((None, schedule.final), (rest, rest)):
        whole = ended(schedule, length, given_rest)
        assert whole.mean() == pytest.approx(schedule.mean() * length + last * (1 - length), abs=0.01)
        assert whole.multiplier(length + (1 - length) / 2) == pytest.approx(last, abs=1e-9)


def test_a_run_that_is_over_before_the_peak_keeps_its_schedule() -> None:
    """A table is in parts of the peak, which is not there."""
    schedule = Schedule("cosine", warmup_fraction=0.5)
    assert ended(schedule, 4.0) is schedule
