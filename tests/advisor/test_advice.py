"""recommend(): numbers, ranges, groups, cautions."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale import TrainingRun, recommend
from adamw_scale.advisor import advise
from adamw_scale.errors import CalibrationError, SpecError, UnknownNameError
from adamw_scale.spec.advice import DecayPerStep, Recommendation
from adamw_scale.spec.measurement import Calibration, Optimum

LM: dict[str, Any] = {"dataset_size": 26e9, "batch_size": 5e5, "peak_lr": 3e-4, "num_params": 1.3e9}
BYTES: dict[str, Any] = {"dataset_size": 16384, "batch_size": 256, "peak_lr": 2e-3, "num_params": 42144, "epochs": 32}


def codes(recommendation: Recommendation) -> list[str]:
    """Codes of all cautions."""
    return [caution.code for caution in recommendation.cautions]


def calibrated(status: str = "located", **run: Any) -> Calibration:
    """A calibration at 0.14 of the byte run, unless the run is changed."""
    optimum = Optimum(
        run=TrainingRun(**{**BYTES, **run}), timescale_run=0.14, log2_interval=(-3.0, -2.6), status=status, loss=2.3
    )
    constants = {"tau_epoch": 0.14 * 32} if status == "located" else {}
    return Calibration(
        task={"name": "char-lm"}, rule="tau-epoch-data-limited", constants=constants, optima=(optimum,), probes={}
    )


@given(
    tokens=st.floats(2e10, 1e12),
    batch=st.floats(1e5, 8e6),
    lr=st.floats(1e-5, 1e-2),
    params=st.floats(1e9, 1e10),
)
def test_power_lines_in_closed_form(tokens: float, batch: float, lr: float, params: float) -> None:
    """2505.13738, equation 4: λ = B / (lr * D * 1.084 * (D/N)^-0.527), for any few-epoch language model."""
    tau = min(1.0, 1.084 * (tokens / params) ** -0.527)
    expected = batch / (lr * tokens * tau)
    if lr * expected >= 1:
        return
    run = TrainingRun(dataset_size=tokens, batch_size=batch, peak_lr=lr, num_params=params)
    assert recommend(run).weight_decay == pytest.approx(expected, rel=1e-9)


def test_answer_is_complete() -> None:
    """A range around the value, two alternatives with sources, three views, four groups."""
    advice = recommend(TrainingRun(**LM))
    low, high = advice.weight_decay_range
    assert low < advice.weight_decay < high
    assert len(advice.alternatives) >= 2
    assert all(other.source for other in advice.alternatives)
    assert [group.group for group in advice.param_groups] == ["hidden", "embedding", "output", "norm-and-bias"]
    assert advice.param_groups[-1].weight_decay == 0
    assert advice.timescale.run == pytest.approx(0.22356, abs=5e-6)
    assert advice.companions.retention == pytest.approx(0.1068, abs=5e-5)


def test_json_has_the_documented_keys_and_comes_back() -> None:
    """The document of design and README; reading it gives the same recommendation."""
    advice = recommend(TrainingRun(**LM, weight_decay=0.1))
    document = json.loads(advice.to_json())
    assert list(document) == [
        "schema", "weight_decay", "weight_decay_range", "peak_lr", "rule", "timescale",
        "alternatives", "param_groups", "companions", "cautions", "run",
    ]  # fmt: skip
    assert document["schema"] == "adamw-scale/recommendation/1"
    assert set(document["timescale"]) == {"iters", "epochs", "run"}
    assert set(document["alternatives"][0]) == {"rule", "weight_decay", "timescale", "in_domain", "source"}
    assert Recommendation.model_validate_json(advice.to_json()) == advice


@given(m=st.floats(0.25, 64))
def test_mup_keeps_lr_times_decay_in_every_group(m: float) -> None:
    """Hidden lr/m and λ·m (2505.01618 table 1): the timescale of every decayed group is the same."""
    run = TrainingRun(**LM, parametrization="mup", width=256 * m, base_width=256)
    advice = recommend(run)
    hidden, *others = (group for group in advice.param_groups if group.weight_decay)
    assert hidden.peak_lr == pytest.approx(run.peak_lr / m)
    for group in (hidden, *others):
        assert group.peak_lr * group.weight_decay == pytest.approx(1 / advice.timescale.iters)
    assert "parametrization" not in codes(advice)


@pytest.mark.parametrize(
    ("schedule", "factor"),
    [
        ({"schedule": "cosine"}, 1.0),
        ({"schedule": "constant"}, 2.0),
        ({"schedule": "wsd"}, 1.8),
        ({"schedule": "cosine", "final_lr_fraction": 0.1}, 1.1),
    ],
    ids=str,
)
def test_schedules_are_matched_by_decay_mass(schedule: dict[str, Any], factor: float) -> None:
    """A schedule with a higher mean lr gets less decay, so that the sum of lr*λ stays; and it says so."""
    linear, other = recommend(TrainingRun(**LM)), recommend(TrainingRun(**LM, **schedule))
    assert linear.weight_decay / other.weight_decay == pytest.approx(factor)
    assert other.companions.retention == pytest.approx(linear.companions.retention)
    assert ("schedule" in codes(other)) == (factor != 1.0)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"num_params": 130e9}, "extrapolated"),
        ({"num_params": 1e7}, "extrapolated"),
        ({"schedule": "constant"}, "schedule"),
        ({}, "parametrization"),
        ({"num_params_kind": "active"}, "params-kind"),
        ({"num_params": 7e9, "dataset_size": 140e9}, "size"),
        ({"batch_size": 2048}, "batch-unit"),
        ({"peak_lr": 0.5}, "lr"),
        ({"peak_lr": 1e-6}, "weight-decay"),
        ({"task": "finetuning", "weight_decay": 0.1, "peak_lr": 1e-2}, "erases"),
        ({"dataset_size": 2e8, "epochs": 16}, "calibrate"),
        ({"task": "finetuning", "peak_lr": 1e-5}, "no-law"),
        ({"task": "finetuning", "peak_lr": 1e-6}, "inert"),
        ({"dataset_size": 1e8, "num_params": 1e6, "peak_lr": 1e-2}, "decay-per-step"),
        ({"warmup_fraction": 0.5}, "warmup"),
        ({"dataset_size": 5e7, "num_params": 1e6}, "betas"),
    ],
    ids=str,
)
def test_every_caution_can_happen(change: dict[str, Any], code: str) -> None:
    """Each reason for doubt has a run that raises it, and a fix."""
    advice = recommend(TrainingRun(**{**LM, **change}))
    assert code in codes(advice)
    assert all(caution.message and caution.fix for caution in advice.cautions)


@given(weight_decay=st.floats(1e-4, 0.1), rule=st.sampled_from([None, "fixed"]))
def test_decay_that_erases_is_not_inert(weight_decay: float, rule: str | None) -> None:
    """Finetuning at lr 1e-2, from 98 % of the pretrained weights kept to none: exactly one of the two is said."""
    run = TrainingRun(**{**LM, "task": "finetuning", "peak_lr": 1e-2, "dataset_size": 1e9}, weight_decay=weight_decay)
    advice = recommend(run, rule)
    said = {"erases", "inert"} & set(codes(advice))
    assert said == {"erases" if advice.companions.retention < 0.99 - 1e-6 else "inert"}


def test_outside_the_domain_the_range_widens() -> None:
    """One token per parameter is far from the fit: marked, and a factor 3 to either side."""
    advice = recommend(TrainingRun(**{**LM, "num_params": 26e9}))
    assert advice.companions.in_domain is False
    assert advice.weight_decay_range[1] / advice.weight_decay == pytest.approx(3)


def test_unsettled_regimes_span_their_competitors() -> None:
    """Plentiful data four times: the range covers every published answer."""
    advice = recommend(TrainingRun(**{**LM, "epochs": 4, "num_params": 124e6}))
    low, high = advice.weight_decay_range
    for other in advice.alternatives:
        assert low <= other.weight_decay <= high or other.rule == "fixed"


@pytest.mark.parametrize(("decay", "kept"), [(0.1, 0.29), (0.0, 1.0)])
def test_todays_decay_is_judged_on_the_hidden_matrices(decay: float, kept: float) -> None:
    """muP at 16 times the base width: one λ of 0.1 keeps 29 % of the hidden weights, as their lr is a sixteenth."""
    run = TrainingRun(
        dataset_size=20e9,
        batch_size=5e5,
        peak_lr=1e-2,
        num_params=1e9,
        parametrization="mup",
        width=4096,
        base_width=256,
        weight_decay=decay,
    )
    current = recommend(run).companions.current
    assert current is not None
    assert current.retention == pytest.approx(kept, abs=0.005)


def test_finetuning_range_starts_at_zero() -> None:
    """No decay at all is as good as any published answer."""
    advice = recommend(TrainingRun(dataset_size=1e7, epochs=3, batch_size=65536, peak_lr=2e-5, task="finetuning"))
    assert advice.weight_decay_range == (0, 0.1)


def test_a_named_rule_is_used_and_the_default_becomes_an_alternative() -> None:
    """--rule changes the answer, not the field of view."""
    advice = recommend(TrainingRun(**LM), rule="steplaw-refit")
    assert advice.rule == "steplaw-refit"
    assert "power-lines" in [other.rule for other in advice.alternatives]
    assert "steplaw-refit" not in [other.rule for other in advice.alternatives]


def test_unknown_rule() -> None:
    """A typo is answered with the rule that was meant."""
    with pytest.raises(UnknownNameError, match="did you mean 'power-lines'"):
        recommend(TrainingRun(**LM), rule="powerlines")


def test_refuses_a_run_of_too_few_steps() -> None:
    """Three steps cannot hold a timescale of 5 % of the run."""
    run = TrainingRun(unit="samples", dataset_size=300, batch_size=100, epochs=1, peak_lr=1e-3)
    with pytest.raises(SpecError, match="too few"):
        recommend(run, rule="run-fraction")


def test_calibration_reproduces_its_optimum() -> None:
    """On the run that was probed, the measured timescale and interval are the advice."""
    run = TrainingRun(**BYTES)
    advice = recommend(run, calibration=calibrated())
    assert advice.timescale.run == pytest.approx(0.14)
    low, high = advice.weight_decay_range
    assert (low, high) == pytest.approx([1 / (2e-3 * 2048 * 2**x) for x in (-2.6, -3.0)])
    assert codes(advice) == []
    assert "tau-epoch-data-limited" in [other.rule for other in advice.alternatives]


def test_a_calibration_answers_without_a_learning_rate() -> None:
    """The product lr*λ then follows from the measured timescale, not from a published rule."""
    advice = advise(TrainingRun(**{**BYTES, "peak_lr": None}), calibration=calibrated())
    assert isinstance(advice, DecayPerStep)
    assert advice.timescale.run == pytest.approx(0.14)
    assert advice.lr_times_weight_decay == pytest.approx(1 / (0.14 * 2048))


@pytest.mark.parametrize(
    ("change", "quantity", "drift"),
    [
        ({"dataset_size": 4 * 16384}, "data set", (-0.6, 0.0)),
        ({"epochs": 32 * 4}, "epochs", (-1.2, 0.2)),
        ({"batch_size": 1024}, "batch", (0.0, 2.0)),
        ({"peak_lr": 8e-3}, "lr", (-2.7, 0.0)),
        ({"peak_lr": 5e-4}, "lr", (0.0, 2.7)),
        ({"peak_lr": 5e-4, "width": 128}, "width", (-0.3, 1.25)),
        ({"parametrization": "mup", "width": 128, "base_width": 32}, "width", (-0.3, 1.25)),
    ],
    ids=str,
)
def test_calibration_is_less_sure_where_it_was_not_measured(
    change: dict[str, Any], quantity: str, drift: tuple[float, float]
) -> None:
    """A factor of 4 in anything: the range grows by the drift seen in small trainings, to the side it was seen on."""
    here = recommend(TrainingRun(**BYTES, width=32), calibration=calibrated(width=32))
    there = recommend(TrainingRun(**{**BYTES, "width": 32, **change}), calibration=calibrated(width=32))
    assert codes(here) == []
    assert "moved" in codes(there)
    moved = next(caution.message for caution in there.cautions if caution.code == "moved")
    assert quantity in moved
    before = [math.log2(end / here.weight_decay) for end in here.weight_decay_range]
    after = [math.log2(end / there.weight_decay) for end in there.weight_decay_range]
    assert after[0] - before[0] == pytest.approx(-drift[1])
    assert after[1] - before[1] == pytest.approx(-drift[0])


def test_calibration_far_away_is_outside_its_domain() -> None:
    """Sixteen times the data is more than anything was checked on."""
    advice = recommend(TrainingRun(**{**BYTES, "dataset_size": 16 * 16384}), calibration=calibrated())
    assert "extrapolated" in codes(advice)
    assert not advice.companions.in_domain


def test_calibration_needs_no_regime() -> None:
    """A calibration answers where the default rule lacks an input."""
    run = TrainingRun(**{name: value for name, value in BYTES.items() if name != "num_params"})
    assert recommend(run, calibration=calibrated()).timescale.run == pytest.approx(0.14)
    assert recommend(run, rule="run-fraction").rule == "run-fraction"


def test_calibration_matches_schedules_against_its_own() -> None:
    """Calibrated on a constant schedule, advising linear decay: half the timescale."""
    advice = recommend(TrainingRun(**BYTES), calibration=calibrated(schedule="constant"))
    assert advice.timescale.run == pytest.approx(0.07)
    assert "schedule" in codes(advice)


@pytest.mark.parametrize("status", ["flat", "edge"])
def test_calibration_without_an_optimum_advises_nothing(status: str) -> None:
    """Flat and edge are answers of calibrate, not constants."""
    with pytest.raises(CalibrationError, match=status):
        recommend(TrainingRun(**BYTES), calibration=calibrated(status))


def test_rule_and_calibration_must_agree() -> None:
    """Two sources for one number is one too many."""
    with pytest.raises(SpecError, match="contradicts a calibration"):
        recommend(TrainingRun(**BYTES), rule="power-lines", calibration=calibrated())


@pytest.mark.parametrize(
    "edit",
    [
        {"weight_decay": -0.1},
        {"weight_decay": 0.5},
        {"weight_decay_range": [5, 1]},
        {"peak_lr": 1e-3},
        {"param_groups": []},
        {"timescale": {"iters": 3, "epochs": 1, "run": 1}},
    ],
    ids=str,
)
def test_a_recommendation_that_was_edited_is_refused(edit: dict[str, Any]) -> None:
    """What is read back must agree with itself."""
    document = {**json.loads(recommend(TrainingRun(**LM)).to_json()), **edit}
    with pytest.raises(SpecError):
        Recommendation.from_json(json.dumps(document))


@pytest.mark.parametrize(
    "edit",
    [
        {"optima": []},
        {"constants": {}},
        {"constants": {"tau_epoch": 1e9}},
        {"constants": {"tau_epoch": 0}},
        {"constants": {"x": 1}},
    ],
    ids=str,
)
def test_a_calibration_that_was_edited_is_refused(edit: dict[str, Any]) -> None:
    """Constants belong to the optimum they were fitted to."""
    document = {**json.loads(calibrated().to_json()), **edit}
    with pytest.raises((SpecError, CalibrationError)):
        recommend(TrainingRun(**BYTES), calibration=Calibration.from_json(json.dumps(document)))
