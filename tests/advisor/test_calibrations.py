"""What was measured moves the advice: located optima decide nearby, flat ones and edges bound it, nothing refuses."""

import itertools
import json
import math
from typing import Any

import pytest

from adamw_scale import TrainingRun, recommend
from adamw_scale.advisor import advise, decay_per_step
from adamw_scale.advisor.answers import LEAST_DEVIATION, SOFT, STRANGENESS
from adamw_scale.advisor.inputs import run_calibrated
from adamw_scale.errors import MissingInputError, SpecError
from adamw_scale.law.posterior import EIGHTY, Observation, Posterior
from adamw_scale.spec.advice import DecayPerStep, Recommendation
from adamw_scale.spec.measurement import Calibration, Optimum
from adamw_scale.spec.run import described_by

BYTES: dict[str, Any] = {"dataset_size": 16384, "batch_size": 256, "peak_lr": 2e-3, "num_params": 42144, "epochs": 32}
SCALES = [{**BYTES, "dataset_size": factor * 16384} for factor in (1, 4, 16)]
TRUTH = -3.2  # log2 of the best timescale at every scale
# Kinds of sweeps over it: status, where the loss is lowest, the 80 % interval, what was probed; and what is known then.
KINDS: dict[str, tuple[str, float, tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "located": ("located", TRUTH, (TRUTH - 0.2, TRUTH + 0.2), (-6.2, 0.8), (-3.4, -3.0)),
    "flat": ("flat", -2.5, (-4.7, -1.7), (-6.2, 0.8), (-4.7, -1.7)),
    "flat all over": ("flat", -2.5, (-6.2, 0.8), (-6.2, 0.8), (-40.0, 40.0)),
    "low edge": ("edge", -2.8, (-2.8, -2.0), (-2.8, 0.8), (-40.0, -2.0)),
    "high edge": ("edge", -3.7, (-4.5, -3.7), (-7.0, -3.7), (-4.5, 40.0)),
}
COMBINATIONS = [kinds for count in (1, 2, 3) for kinds in itertools.product(KINDS, repeat=count)]
NOWHERE_LOCATED = [kinds for kinds in COMBINATIONS if "located" not in kinds]


def optimum(kind: str, **run: Any) -> Optimum:
    """A planted one of the byte run, unless the run is changed."""
    status, at, interval, probed, _ = KINDS[kind]
    run = {**BYTES, **run}
    return Optimum(
        run=TrainingRun(**run), timescale_run=2**at, log2_interval=interval, log2_probed=probed, status=status, loss=2.3
    )


def calibrated(*optima: Optimum) -> Calibration:
    """They and no more."""
    return Calibration(task={"name": "char-lm"}, optima=optima, probes={})


def planted(kinds: tuple[str, ...]) -> Calibration:
    """One optimum for each scale."""
    return calibrated(*(optimum(kind, **run) for kind, run in zip(kinds, SCALES, strict=False)))


def octaves(advice: Recommendation) -> tuple[float, float, float]:
    """log2 tau of the run: low end, value, high end."""
    low, high = (math.log2(advice.run.timescale_of(end).run) for end in reversed(advice.weight_decay_range))
    return low, math.log2(advice.timescale.run), high


def codes(advice: Recommendation) -> list[str]:
    """Codes of all cautions."""
    return [caution.code for caution in advice.cautions]


@pytest.mark.parametrize("kinds", COMBINATIONS, ids=", ".join)
def test_whatever_was_found_there_is_an_answer_that_keeps_to_it(kinds: tuple[str, ...]) -> None:
    """By the law, at every scale and beyond; where something was measured it is within its bounds, but for softness."""
    calibration = planted(kinds)
    assert calibration.located == ("located" in kinds)
    for kind, run in itertools.zip_longest(kinds, [*SCALES, {**BYTES, "peak_lr": 5e-4, "epochs": 64}]):
        advice = recommend(TrainingRun(**run), calibration=calibration)
        low, value, high = octaves(advice)
        assert advice.rule == "law"
        assert low < value < high
        if kind is not None:
            start, end = KINDS[kind][-1]
            assert start - SOFT <= value <= end + SOFT
            assert kind != "located" or abs(value - TRUTH) < 0.3 < high - low + 0.1 < 0.8


@pytest.mark.parametrize("kinds", NOWHERE_LOCATED, ids=", ".join)
def test_bounds_make_nothing_less_sure(kinds: tuple[str, ...]) -> None:
    """Flat sweeps and edges leave the range as it is without them, or narrow it, wherever the run is."""
    for change in ({}, {"dataset_size": 16 * 16384}, {"epochs": 4}, {"peak_lr": 0.1}, {"epochs": 1, "num_params": 1e9}):
        run = TrainingRun(**{**BYTES, **change})
        low, _, high = octaves(recommend(run, calibration=planted(kinds)))
        start, _, end = octaves(recommend(run))
        assert high - low <= end - start + 1e-6


@pytest.mark.parametrize("kinds", [kinds for kinds in COMBINATIONS if len(kinds) == 2], ids=", ".join)
def test_the_order_of_measuring_hardly_matters(kinds: tuple[str, ...]) -> None:
    """The same optima, written the other way round, give the same answer to 0.6 octaves."""
    optima = planted(kinds).optima
    for run in (SCALES[0], SCALES[2]):
        one, other = (
            octaves(recommend(TrainingRun(**run), calibration=calibrated(*each))) for each in (optima, optima[::-1])
        )
        assert one == pytest.approx(other, abs=0.6)


def test_flat_all_over_says_nothing() -> None:
    """Where every timescale that was probed is as good, the law answers alone."""
    run = TrainingRun(**BYTES)
    advice, alone = recommend(run, calibration=planted(("flat all over",))), recommend(run)
    assert (advice.weight_decay, advice.weight_decay_range) == (alone.weight_decay, alone.weight_decay_range)


@pytest.mark.parametrize("x", [-6.0, -4.0, -2.0, 0.0])
def test_a_located_optimum_is_weighed_with_the_law(x: float) -> None:
    """On the run that was probed: two Gaussians, each by its precision, and the measured one has by far the most."""
    run = TrainingRun(**BYTES)
    seen = optimum("located").model_copy(update={"timescale_run": 2.0**x, "log2_interval": (x - 0.2, x + 0.2)})
    believed = Posterior([Observation(run, 0.0, 1e6)], strangeness=STRANGENESS).predict(run)
    precise, law = max(0.2 / EIGHTY, LEAST_DEVIATION) ** -2, believed.deviation**-2
    low, value, high = octaves(recommend(run, calibration=calibrated(seen)))
    middle, half = (precise * x + law * believed.log2_tau) / (precise + law), EIGHTY / math.sqrt(precise + law)
    assert (low, value, high) == pytest.approx((middle - half, middle, middle + half), abs=1e-5)
    assert abs(value - x) < 0.1 * abs(believed.log2_tau - x)


def test_a_calibration_answers_without_a_learning_rate() -> None:
    """The product lr*λ then follows from what was measured."""
    measured = calibrated(optimum("located", peak_lr=3e-3 * (42144 / 1.5e8) ** -0.5))  # what the law calls usual
    advice, law = (advise(TrainingRun(**{**BYTES, "peak_lr": None}), calibration=known) for known in (measured, None))
    assert isinstance(advice, DecayPerStep)
    assert isinstance(law, DecayPerStep)
    assert advice.lr_times_weight_decay == pytest.approx(1 / advice.timescale.iters)
    off, law_off = (abs(math.log2(each.timescale.run) - TRUTH) for each in (advice, law))
    assert off < 0.2 * law_off


@pytest.mark.parametrize(
    ("change", "quantity"),
    [
        ({"dataset_size": 4 * 16384}, "data set"),
        ({"epochs": 32 * 4}, "epochs"),
        ({"batch_size": 1024}, "batch"),
        ({"peak_lr": 8e-3}, "lr"),
        ({"peak_lr": 5e-4}, "lr"),
        ({"peak_lr": 5e-4, "width": 128}, "width"),
        ({"num_params": 4 * 42144}, "parameters"),
        ({"parametrization": "mup", "width": 128, "base_width": 32}, "mup is not standard parametrization"),
        ({"unit": "samples"}, "samples are not tokens"),
    ],
    ids=str,
)
def test_calibration_is_less_sure_where_it_was_not_measured(change: dict[str, Any], quantity: str) -> None:
    """A factor of 4 in anything, or another kind of run: the range grows, and what moved is said."""
    calibration = calibrated(optimum("located", width=32))
    here = recommend(TrainingRun(**BYTES, width=32), calibration=calibration)
    there = recommend(TrainingRun(**{**BYTES, "width": 32, **change}), calibration=calibration)
    assert codes(here) == []
    (moved,) = [caution.message for caution in there.cautions if caution.code == "moved"]
    assert quantity in moved
    (a, _, b), (c, _, d) = octaves(here), octaves(there)
    assert d - c > b - a + 0.01


@pytest.mark.parametrize("quantity", ["dataset_size", "epochs", "batch_size"])
def test_the_range_grows_with_the_distance(quantity: str) -> None:
    """Twice, eight, sixty-four times: each range is wider than the one before."""
    widths = []
    for factor in (1, 2, 8, 64):
        run = TrainingRun(**{**BYTES, quantity: factor * BYTES[quantity]})
        low, _, high = octaves(recommend(run, calibration=planted(("located",))))
        widths.append(high - low)
    assert widths == sorted(set(widths))


def test_a_located_optimum_needs_no_parameters() -> None:
    """It answers where the law lacks the size of a language model; nearly as surely where it was measured without."""
    run = TrainingRun(**{**BYTES, "num_params": None})
    with pytest.raises(MissingInputError, match="--params"):
        recommend(run)
    with pytest.raises(MissingInputError, match="--params"):
        recommend(run, calibration=planted(("flat all over",)))
    low, value, high = octaves(recommend(run, calibration=calibrated(optimum("located", num_params=None))))
    assert value == pytest.approx(TRUTH, abs=0.2)
    start, _, end = octaves(recommend(run, calibration=planted(("located",))))
    assert end - start > high - low


def test_calibration_on_another_schedule() -> None:
    """Calibrated on a constant schedule, advising linear decay: a shorter timescale, by less than the mean lr."""
    here, there = (
        octaves(recommend(TrainingRun(**BYTES, schedule=schedule), calibration=calibrated(measured)))[1]
        for measured in [optimum("located", schedule="constant")]
        for schedule in ("constant", "linear")
    )
    assert -1 < there - here < -0.1


def test_what_is_not_said_is_as_probed() -> None:
    """As with a reference; only what was said counts as said, and another size leaves out what would contradict it."""
    measured = calibrated(optimum("located", width=32, warmup_fraction=0.1))
    run = run_calibrated(measured, described_by({"tokens": "64Ki"}))
    assert run == measured.optima[0].run.model_copy(update={"dataset_size": 65536})
    assert run.model_fields_set == {"unit", "dataset_size"}
    other = run_calibrated(measured, described_by({"params": "1M", "steps": 4096}))
    assert (other.num_params, other.width, other.epochs, other.warmup_share) == (1e6, None, 64, 0.1)


def test_another_schedule_and_warmup_are_told() -> None:
    """They move the optimum, and nothing else says that they changed."""
    measured = calibrated(optimum("located", warmup_fraction=0.1))
    said = {
        caution.code: caution.message
        for caution in recommend(TrainingRun(**BYTES, schedule="cosine"), calibration=measured).cautions
    }
    assert "schedule cosine is not linear" in said["moved"]
    assert "warm-up of 0 % is not 10 %" in said["moved"]


@pytest.mark.parametrize("task", ["finetuning", "lora"])
def test_nothing_carries_to_trained_weights(task: str) -> None:
    """What a training from scratch wants would erase them."""
    with pytest.raises(SpecError, match="nothing known carries"):
        recommend(TrainingRun(**BYTES, task=task), calibration=planted(("located",)))


def test_rule_and_calibration_exclude_each_other() -> None:
    """Two sources for one number is one too many, unless the rule is the law that takes the calibration in."""
    run = TrainingRun(**BYTES)
    for rule in ("power-lines", "retention", "fixed"):
        with pytest.raises(SpecError, match="drop one of the two"):
            recommend(run, rule=rule, calibration=planted(("located",)))
    assert recommend(run, "law", planted(("located",))) == recommend(run, calibration=planted(("located",)))


@pytest.mark.parametrize(
    "edit",
    [
        {"optima": []},
        {"constants": {"tau_epoch": 1.0}},
        {"rule": "power-lines"},
        {"schema": "adamw-scale/calibration/3"},
    ],
    ids=str,
)
def test_a_calibration_that_was_edited_is_refused(edit: dict[str, Any]) -> None:
    """Without optima it is none, and nothing is read past what the schema has."""
    document = {**json.loads(planted(("located",)).to_json()), **edit}
    with pytest.raises(SpecError):
        Calibration.from_json(json.dumps(document))


def test_a_file_of_the_first_schema_keeps_its_optima() -> None:
    """Constants of a rule and slopes against it are left; what was measured is the same."""
    new = planted(("located", "flat"))
    old = {
        **json.loads(new.to_json()),
        "schema": "adamw-scale/calibration/1",
        "rule": "tau-epoch-data-limited",
        "constants": {"tau_epoch": 4.5},
        "slopes": {"data set": {"octaves_per_factor_4": 0.1, "deviation": 0.2}},
    }
    assert Calibration.from_json(json.dumps(old)) == new


def test_sweeps_that_located_nothing_are_told() -> None:
    """How many, and of what kind; nothing where all were located."""
    run = TrainingRun(**BYTES)
    (said,) = [
        each.message
        for each in recommend(run, calibration=planted(("located", "flat", "low edge"))).cautions
        if each.code == "unlocated"
    ]
    assert said.startswith("2 of the 3 sweeps of this calibration located no optimum (edge, flat)")
    located = recommend(run, calibration=planted(("located",)))
    assert "unlocated" not in {each.code for each in located.cautions}


def test_a_rule_that_the_law_does_not_believe_is_told() -> None:
    """A copied value outside the law's interval stretches the range, and a caution says so; one inside does not."""
    run = TrainingRun(dataset_size=26e9, batch_size=5e5, peak_lr=3e-4, num_params=1.3e9)
    for rule, told in (("fixed", True), ("steplaw-refit", False)):
        advice = recommend(run, rule)
        low, high = advice.weight_decay_range
        assert low <= advice.weight_decay <= high
        assert ("unlike-evidence" in {each.code for each in advice.cautions}) is told


def test_without_a_learning_rate_many_passes_are_told() -> None:
    """In one pass the product needs no learning rate, in many it does."""
    for epochs, told in ((1, False), (16, True)):
        advice = decay_per_step(TrainingRun(dataset_size=1e9, batch_size=5e5, num_params=1e8, epochs=epochs))
        assert ("lr-matters" in {each.code for each in advice.cautions}) is told
