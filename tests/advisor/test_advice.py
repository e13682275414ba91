"""recommend(): numbers, ranges, groups, cautions."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale import TrainingRun, emit, recommend, timescale_of
from adamw_scale.advisor import decay_per_step
from adamw_scale.errors import SpecError, UnknownNameError, UnusableAnswerError
from adamw_scale.law import fitted
from adamw_scale.law.features import NAMES, SCARCE, USUAL
from adamw_scale.law.posterior import Posterior
from adamw_scale.spec.advice import Recommendation

LM: dict[str, Any] = {"dataset_size": 26e9, "batch_size": 5e5, "peak_lr": 3e-4, "num_params": 1.3e9}
BYTES: dict[str, Any] = {"dataset_size": 16384, "batch_size": 256, "peak_lr": 2e-3, "num_params": 42144, "epochs": 32}


def codes(recommendation: Recommendation) -> list[str]:
    """Codes of all cautions."""
    return [caution.code for caution in recommendation.cautions]


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
    assert recommend(run, "power-lines").weight_decay == pytest.approx(expected, rel=1e-9)


@given(
    tokens=st.floats(2e9, 1e12),
    batch=st.floats(1e5, 2e6),
    lr=st.floats(1e-5, 1e-2),
    params=st.floats(1e8, 1e10),
)
def test_the_law_in_closed_form(tokens: float, batch: float, lr: float, params: float) -> None:
    """In a single pass at linear decay log2 tau is a level and a share of log2 of scaled D/N, whatever B and lr."""
    run = TrainingRun(dataset_size=tokens, batch_size=batch, peak_lr=lr, num_params=params)
    by_name = dict(zip(NAMES, fitted.MEAN, strict=True))
    tau = 2 ** (by_name["level"] + by_name["data"] * math.log2((tokens / params + SCARCE) / (USUAL + SCARCE)))
    if tau * run.total_steps < 1.01:
        return
    advice = recommend(run)
    assert advice.rule == "law"
    assert advice.weight_decay == pytest.approx(batch / (lr * tokens * tau), rel=1e-9)


@pytest.mark.parametrize(
    "run",
    [LM, {**LM, "schedule": "constant"}, {**LM, "epochs": 16}, {**LM, "num_params": 1e12}, BYTES],
    ids=["lm", "constant", "epochs", "huge", "bytes"],
)
@pytest.mark.parametrize("rule", [None, "power-lines", "run-fraction", "fixed"])
def test_the_range_is_what_the_law_believes(run: dict[str, Any], rule: str | None) -> None:
    """80 % of it, whichever rule answers, and the answer of that rule."""
    advice, believed = recommend(TrainingRun(**run), rule), Posterior().predict(TrainingRun(**run))
    low, high = (advice.run.timescale_of(end).run for end in reversed(advice.weight_decay_range))
    ends = [2.0**end for end in believed.interval]
    assert low == pytest.approx(min(ends[0], advice.timescale.run))
    assert high == pytest.approx(max(ends[1], advice.timescale.run))
    if rule is None:
        assert advice.timescale.run == pytest.approx(2.0**believed.log2_tau)


def test_answer_is_complete() -> None:
    """A range around the value, two alternatives with sources, three views, four groups."""
    advice = recommend(TrainingRun(**LM))
    low, high = advice.weight_decay_range
    assert low < advice.weight_decay < high
    assert {other.rule for other in advice.alternatives} == {"power-lines", "steplaw-refit", "adana", "fixed"}
    assert all(other.source for other in advice.alternatives)
    assert [group.group for group in advice.param_groups] == ["hidden", "embedding", "output", "norm-and-bias"]
    assert advice.param_groups[-1].weight_decay == 0
    assert advice.timescale.iters == pytest.approx(1 / (3e-4 * advice.weight_decay))
    assert advice.companions.retention == pytest.approx(math.exp(-0.5 / advice.timescale.run))


def test_json_has_the_documented_keys_and_comes_back() -> None:
    """The document of design and README; reading it gives the same recommendation."""
    advice = recommend(TrainingRun(**LM, weight_decay=0.1))
    document = json.loads(advice.to_json())
    assert list(document) == [
        "schema", "weight_decay", "weight_decay_range", "peak_lr", "group", "base_weight_decay", "base_peak_lr",
        "rule", "timescale",
        "alternatives", "param_groups", "companions", "cautions", "run",
    ]  # fmt: skip
    assert document["schema"] == "adamw-scale/recommendation/2"
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
    linear, other = (recommend(TrainingRun(**LM, **given), "power-lines") for given in ({}, schedule))
    assert linear.weight_decay / other.weight_decay == pytest.approx(factor)
    assert other.companions.retention == pytest.approx(linear.companions.retention)
    assert ("schedule" in codes(other)) == (factor != 1.0)


@pytest.mark.parametrize(
    ("schedule", "mean"),
    [
        ({"schedule": "cosine"}, 0.5),
        ({"schedule": "constant"}, 1.0),
        ({"schedule": "wsd"}, 0.9),
        ({"schedule": "cosine", "final_lr_fraction": 0.1}, 0.55),
    ],
    ids=str,
)
def test_the_law_goes_a_share_of_the_way_between_timescale_and_decay_mass(
    schedule: dict[str, Any], mean: float
) -> None:
    """tau ~ mean lr to the power that was fitted, between 0 and 1; a schedule far from the evidence's is told."""
    linear, other = recommend(TrainingRun(**LM)), recommend(TrainingRun(**LM, **schedule))
    share = fitted.MEAN[NAMES.index("schedule")]
    assert 0 < share < 1
    assert linear.weight_decay / other.weight_decay == pytest.approx((mean / 0.5) ** share, rel=1e-6)
    assert ("schedule" in codes(other)) == (mean > 0.6)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"num_params": 1e12}, "extrapolated"),
        ({"num_params": 1e7}, "extrapolated"),
        ({"rule": "power-lines", "num_params": 130e9}, "extrapolated"),
        ({"schedule": "constant"}, "schedule"),
        ({"rule": "power-lines"}, "parametrization"),
        ({"rule": "power-lines", "num_params_kind": "active"}, "params-kind"),
        ({"num_params": 7e9, "dataset_size": 140e9}, "extrapolated"),
        ({"batch_size": 2048}, "batch-unit"),
        ({"peak_lr": 0.5}, "lr"),
        ({"peak_lr": 1e-6}, "weight-decay"),
        ({"task": "finetuning", "weight_decay": 0.1, "peak_lr": 1e-2}, "erases"),
        ({"dataset_size": 2e6, "epochs": 1000, "batch_size": 65536, "num_params": 1e10}, "calibrate"),
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
    run = {**LM, **change}
    rule = run.pop("rule", None)
    advice = recommend(TrainingRun(**run), rule)
    assert code in codes(advice)
    assert all(caution.message and caution.fix for caution in advice.cautions)


@given(weight_decay=st.floats(1e-4, 0.1), rule=st.sampled_from([None, "fixed"]))
def test_decay_that_erases_is_not_inert(weight_decay: float, rule: str | None) -> None:
    """Finetuning at lr 1e-2, from 98 % of the pretrained weights kept to none: exactly one of the two is said."""
    run = TrainingRun(**{**LM, "task": "finetuning", "peak_lr": 1e-2, "dataset_size": 1e9}, weight_decay=weight_decay)
    advice = recommend(run, rule)
    said = {"erases", "inert"} & set(codes(advice))
    assert said == {"erases" if advice.companions.retention < 0.99 - 1e-6 else "inert"}


def test_outside_the_domain_the_range_is_wider() -> None:
    """A hundredth of a token per parameter, or 10,000 of them, is beyond all evidence: marked, and less sure."""
    inside = recommend(TrainingRun(**LM))
    for params in (2.6e12, 2.6e6):
        advice = recommend(TrainingRun(**{**LM, "num_params": params, "peak_lr": 1e-4}))
        assert advice.companions.in_domain is False
        low, high = advice.weight_decay_range
        assert high / low > inside.weight_decay_range[1] / inside.weight_decay_range[0]


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ({}, {"power-lines", "steplaw-refit", "adana", "fixed"}),
        ({"epochs": 4, "num_params": 124e6}, {"constant-tau-epoch", "fixed"}),
        ({"dataset_size": 2e8, "epochs": 16}, {"tau-epoch-data-limited", "fixed"}),
        ({"unit": "samples", "dataset_size": 1.28e6, "epochs": 90, "batch_size": 1024}, {"run-fraction", "fixed"}),
        ({"task": "finetuning", "peak_lr": 2e-5}, {"fixed"}),
    ],
    ids=["single pass", "few epochs", "data-limited", "images", "finetuning"],
)
def test_alternatives_are_the_rules_in_whose_domain_the_run_lies(change: dict[str, Any], rules: set[str]) -> None:
    """And the copied value, which was fitted to nothing."""
    advice = recommend(TrainingRun(**{**LM, **change}))
    assert {other.rule for other in advice.alternatives} == rules
    assert {other.rule for other in advice.alternatives if not other.in_domain} == {"fixed"}


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
    assert advice.weight_decay_range == pytest.approx((0, 0.1))


@pytest.mark.parametrize(("said", "written"), [(None, 0.01), (0.05, 0.05), (0.3, 0.3)])
def test_finetuning_keeps_what_there_is(said: float | None, written: float) -> None:
    """Nothing was fitted, so nothing is computed: what is in use stays, else PyTorch's default; betas are its own."""
    run = TrainingRun(
        dataset_size=1e7, epochs=3, batch_size=65536, peak_lr=2e-5, num_params=7e9, task="finetuning", weight_decay=said
    )
    advice = recommend(run)
    assert (advice.rule, advice.weight_decay) == ("kept", pytest.approx(written))
    assert advice.weight_decay_range[0] == 0
    assert run.betas == (0.9, 0.999)


def test_one_meaning_of_weight_decay_under_mup() -> None:
    """The number, its range, the competitors, the reference and the lr laws are all of the hidden matrices."""
    run = TrainingRun(**LM, parametrization="mup", width=2048, base_width=256)
    advice, plain = recommend(run), recommend(TrainingRun(**{**LM, "peak_lr": LM["peak_lr"] / 8}))
    assert (advice.weight_decay, advice.peak_lr) == pytest.approx((plain.weight_decay, plain.peak_lr))
    assert advice.weight_decay_range == pytest.approx(plain.weight_decay_range)
    assert (advice.base_weight_decay, advice.base_peak_lr) == pytest.approx((advice.weight_decay / 8, run.peak_lr))
    assert {each.rule: each.weight_decay for each in advice.alternatives} == pytest.approx(
        {each.rule: each.weight_decay for each in plain.alternatives}
    )
    tuned = run.model_copy(update={"weight_decay": 0.7})
    same = recommend(run, "complete-d-p", reference=tuned)
    assert same.weight_decay == pytest.approx(0.7)
    assert same.companions.reference is not None
    assert same.companions.reference.weight_decay == 0.7


@pytest.mark.parametrize("parametrization", ["mup", "mup-as-shipped", "mup-sqrt-width", "mup-constant-decay"])
@pytest.mark.parametrize("convention", ["pytorch", "composer"])
def test_a_decay_in_use_means_that_of_hidden_matrices(parametrization: str, convention: str) -> None:
    """Judged, taken in as a reference, looked at by timescale and kept: always the same λ."""
    sizes = {"parametrization": parametrization, "width": 2048, "base_width": 512}
    unit = {"pytorch": 0.1, "composer": 0.1 * LM["peak_lr"] / 4}[convention]
    run = TrainingRun(**LM, **sizes, convention=convention, weight_decay=unit)
    advice = recommend(run)
    assert advice.companions.current is not None
    assert advice.companions.current.weight_decay == pytest.approx(0.1)
    tuned = recommend(run, "complete-d-p", reference=run)
    assert tuned.companions.reference is not None
    assert (tuned.weight_decay, tuned.companions.reference.weight_decay) == pytest.approx((0.1, 0.1))
    assert advice.companions.current.timescale == pytest.approx(timescale_of(run).timescale)
    assert advice.weight_decay * advice.peak_lr * advice.tau.iters == pytest.approx(1)
    said = decay_per_step(run.model_copy(update={"peak_lr": None, "weight_decay": None, "convention": "pytorch"}))
    assert said.lr_times_weight_decay == pytest.approx(advice.weight_decay * advice.peak_lr)


def test_an_edited_recommendation_is_refused() -> None:
    """Every number of it follows from the base values, so a changed one is told."""
    document = json.loads(recommend(TrainingRun(**LM, parametrization="mup", width=2048, base_width=256)).to_json())
    Recommendation.from_json(json.dumps(document))
    document["param_groups"][1]["weight_decay"] = 99
    with pytest.raises(SpecError, match="embedding group"):
        Recommendation.from_json(json.dumps(document))


def test_no_decay_is_kept_as_no_decay() -> None:
    """A finetuning that has none gets none, everywhere."""
    run = TrainingRun(
        dataset_size=1e7, batch_size=65536, peak_lr=2e-5, num_params=7e9, task="finetuning", weight_decay=0
    )
    advice = recommend(run)
    assert (advice.weight_decay, advice.timescale, advice.companions.retention) == (0, None, 1)
    assert not any(group.weight_decay for group in advice.param_groups)
    assert Recommendation.from_json(advice.to_json()) == advice
    assert "weight decay 0," in emit("pytorch", advice).text


def test_a_printed_learning_rate_passed_back_gives_the_printed_weight_decay() -> None:
    """Under muP a law's rate is that of the hidden matrices, what is printed for --lr the base rate."""
    run = TrainingRun(**{**LM, "peak_lr": None}, parametrization="mup", width=2048, base_width=256)
    told = decay_per_step(run)
    assert told.laws
    for law in told.laws:
        if law.peak_lr is not None:
            advice = recommend(run.model_copy(update={"peak_lr": law.peak_lr}), told.rule)
            assert advice.weight_decay == pytest.approx(law.weight_decay)


def test_the_cost_of_the_usual_weight_decay_is_the_evidences() -> None:
    """c · octaves², where a sweep shows c; nothing where none does."""
    known = recommend(TrainingRun(dataset_size="2.6B", batch_size="131k", peak_lr=1e-3, num_params="130M"))
    octaves = math.log2(0.1 / known.weight_decay)
    assert known.companions.usual.cost == pytest.approx((known.companions.cost_of_factor_2 or 0) * octaves**2)
    assert recommend(TrainingRun(**LM)).companions.usual.cost is None


def test_twice_the_learning_rate_is_the_answer_of_that_run() -> None:
    """In one pass lr·λ stays, in many it moves."""
    for epochs in (1, 16):
        run = TrainingRun(**LM, epochs=epochs)
        twice = recommend(run.model_copy(update={"peak_lr": 2 * LM["peak_lr"]}))
        assert recommend(run).companions.at_twice_the_lr == pytest.approx(twice.weight_decay)


def test_an_unusable_answer_is_not_written() -> None:
    """Where lr·λ is above all that was ever published, and where the range spans more than a hundredfold."""
    for run in (
        TrainingRun(dataset_size=1e6, batch_size=5e5, peak_lr=1e-3, num_params=1e5, epochs=10),
        TrainingRun(unit="samples", dataset_size=100, batch_size=10, peak_lr=3e-3, epochs=100, width=64),
    ):
        advice = recommend(run)
        assert advice.doubt is not None
        with pytest.raises(UnusableAnswerError, match=advice.doubt.code):
            emit("pytorch", advice)


def test_what_was_tuned_on_this_very_run_is_usable() -> None:
    """However strange it is: it was measured, not believed."""
    run = TrainingRun(unit="samples", dataset_size=100, batch_size=10, peak_lr=3e-3, epochs=4, width=64)
    tuned = run.model_copy(update={"weight_decay": 12})
    assert recommend(run).doubt is not None
    assert recommend(run, reference=tuned).doubt is None


def test_a_named_rule_is_used_and_the_default_becomes_an_alternative() -> None:
    """--rule changes the answer, not the field of view."""
    advice = recommend(TrainingRun(**LM), rule="steplaw-refit")
    assert advice.rule == "steplaw-refit"
    assert {"law", "power-lines"} <= {other.rule for other in advice.alternatives}
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
