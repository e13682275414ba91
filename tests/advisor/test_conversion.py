"""Conventions: there and back, what must be known, what cannot be converted."""

import pytest
from conftest import EVERY_SCHEDULE, Command
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale import TrainingRun
from adamw_scale.advisor.conversion import convert
from adamw_scale.errors import MissingInputError, SpecError, UnknownNameError
from adamw_scale.theory.conventions import (
    CONVENTIONS,
    L2,
    MATCHES,
    Setting,
    decay_per_step,
    from_pytorch,
    kind_of,
    to_pytorch,
)

REVERSIBLE = [name for name, part in CONVENTIONS.items() if part.kind != L2]
ONE_OF_EACH_KIND = {CONVENTIONS[name].kind: name for name in REVERSIBLE}.values()
LINEAR = TrainingRun(unit="samples", dataset_size=1e4, batch_size=1, peak_lr=1e-3).setting


@pytest.mark.parametrize("name", REVERSIBLE)
@given(value=st.floats(1e-8, 10), lr=st.floats(1e-6, 1), match=st.sampled_from(MATCHES))
def test_round_trip(name: str, value: float, lr: float, match: str) -> None:
    """To PyTorch and back is the value itself, keeping the peak or the mass."""
    setting = LINEAR._replace(peak_lr=lr)
    there = to_pytorch(name, value, setting, match)
    assert from_pytorch(name, there, setting, match) == pytest.approx(value)


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
@pytest.mark.parametrize("schedule", ["linear", "cosine", "wsd", "cosine-restarts", "table"])
def test_matching_the_mass_keeps_the_sum_over_the_run(name: str, schedule: str) -> None:
    """Decay summed over 4000 steps is that of PyTorch's AdamW with the converted value."""
    run = TrainingRun(
        unit="samples",
        dataset_size=4000,
        batch_size=1,
        peak_lr=1e-2,
        schedule=schedule,
        weight_decay_schedule="cosine",
        **EVERY_SCHEDULE[schedule],
    )
    decay, setting = run.decay_schedule, run.setting
    points = [(step + 0.5) / 4000 for step in range(4000)]
    summed = sum(decay_per_step(name, 1e-3, setting, decay.lr.multiplier(p), decay.own(p)) for p in points)
    converted = to_pytorch(name, 1e-3, setting, match="mass")
    assert sum(1e-2 * converted * decay.lr.multiplier(p) for p in points) == pytest.approx(summed, rel=1e-3)


@pytest.mark.parametrize("name", REVERSIBLE)
def test_matching_the_peak_keeps_the_step_at_peak(name: str) -> None:
    """At peak learning rate both remove the same share of a weight."""
    converted = to_pytorch(name, 1e-3, LINEAR)
    assert 1e-3 * converted == pytest.approx(decay_per_step(name, 1e-3, LINEAR, s=1.0))


@pytest.mark.parametrize("name", [name for name, part in CONVENTIONS.items() if part.kind == L2])
def test_l2_is_refused_with_the_reason(name: str) -> None:
    """An adaptive denominator has no one weight decay."""
    for source, target in ((name, "pytorch"), ("pytorch", name)):
        with pytest.raises(SpecError, match="divides by the gradient"):
            convert(0.1, source, target, LINEAR)


def test_the_factors_of_adamc() -> None:
    """Mass match of the corrected decay: 2/3 for linear to zero, 3/4 for cosine to zero (2506.02285)."""
    for schedule, factor in {"linear": 2 / 3, "cosine": 3 / 4}.items():
        run = TrainingRun(unit="samples", dataset_size=1e4, batch_size=1, peak_lr=1e-3, schedule=schedule)
        assert convert(0.1, "timm-corrected", "pytorch", run.setting, "mass").weight_decay == pytest.approx(
            0.1 * factor
        )


def test_fixed_decay_says_what_was_kept() -> None:
    """1e-4 a step at lr 1e-3 is 0.1 at peak, and 0.2 in sum under a linear schedule."""
    peak, mass = (convert(1e-4, "tfa", "pytorch", LINEAR, match) for match in MATCHES)
    assert (peak.weight_decay, peak.other_match) == pytest.approx((0.1, 0.2))
    assert (mass.weight_decay, mass.other_match) == pytest.approx((0.2, 0.1))
    assert [caution.code for caution in peak.cautions] == ["fixed"]


@pytest.mark.parametrize(
    ("source", "lacking"),
    [("composer", "--lr"), ("tfa", "--lr"), ("loshchilov", "--lr"), ("modded-nanogpt", "--lr")],
)
def test_what_is_missing_is_asked_for(source: str, lacking: str) -> None:
    """A conversion that depends on the learning rate says so."""
    with pytest.raises(MissingInputError, match=lacking):
        convert(0.1, source, "pytorch", Setting())


def test_normalized_needs_the_steps() -> None:
    """The AdamW paper's unit depends on the length of the run."""
    with pytest.raises(MissingInputError, match="--steps"):
        convert(0.025, "loshchilov", "pytorch", Setting(peak_lr=1e-3))


def test_equal_kinds_need_nothing() -> None:
    """Composer to big_vision is the same number; so is AdamC to timm's."""
    assert convert(1e-4, "composer", "big-vision", Setting()).weight_decay == 1e-4
    assert convert(0.1, "levanter-adamc", "timm-corrected", Setting()).weight_decay == 0.1


def test_unknown_names() -> None:
    """Answered with the nearest."""
    with pytest.raises(UnknownNameError, match="did you mean 'composer'"):
        kind_of("compser")
    with pytest.raises(UnknownNameError, match="mass"):
        convert(0.1, "pytorch", "tfa", LINEAR, "mas")


@pytest.mark.parametrize(
    ("value", "source", "target", "code"),
    [(0.1, "composer", "pytorch", "looks-like-pytorch"), (1e-4, "pytorch", "optax", "looks-independent")],
)
def test_values_in_the_wrong_unit_are_noticed(value: float, source: str, target: str, code: str) -> None:
    """0.1 given to a fully decoupled optimizer, 1e-4 given to PyTorch."""
    assert code in [caution.code for caution in convert(value, source, target, LINEAR).cautions]


@pytest.mark.parametrize(
    ("source", "target"), [("pytorch", "modded-nanogpt"), ("tfa", "pytorch"), ("pytorch", "optax")]
)
@pytest.mark.parametrize("value", [5e-324, 1e-310, 1e-40])
def test_what_is_zero_for_every_purpose_is_refused(value: float, source: str, target: str) -> None:
    """Denormal numbers have no digits left to convert; 0 itself is 0 everywhere."""
    with pytest.raises(SpecError, match="zero for every purpose"):
        convert(value, source, target, LINEAR)
    assert convert(0.0, source, target, LINEAR).weight_decay == 0


def test_command(adamw_scale: Command) -> None:
    """Text and JSON; the schedule in a file of a run is known, one that was not given is not."""
    outcome = adamw_scale("convert", "1e-4", "--from", "big-vision", "--to", "pytorch", "--lr", "1e-3")
    assert outcome.code == 0
    assert "weight decay 0.1 " in outcome.out
    outcome = adamw_scale("convert", "0.1", "--from", "timm-corrected", "--to", "pytorch", "--match", "mass")
    assert outcome.code == 2
    assert "--schedule" in outcome.err
    outcome = adamw_scale(
        "convert",
        "0.1",
        "--from",
        "timm-corrected",
        "--to",
        "pytorch",
        "--match",
        "mass",
        "--schedule",
        "cosine",
        "--json",
    )
    assert '"schema":"adamw-scale/conversion/1"' in outcome.out
    assert '"weight_decay":0.075' in outcome.out


@pytest.mark.parametrize("value", ["-1", "x", "nan", "1e13", ""])
def test_bad_values_are_one_line(value: str, adamw_scale: Command) -> None:
    """Exit 2, the value named."""
    outcome = adamw_scale("convert", "--from", "pytorch", "--to", "optax", "--", value)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert "VALUE" in outcome.err
