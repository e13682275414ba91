"""Rules against published numbers, and the conformance suite that every rule passes."""

import dataclasses
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale.errors import MissingInputError
from adamw_scale.rules import RULES, CalibratableRule, Rule, regime
from adamw_scale.rules.power_lines import PowerLines
from adamw_scale.rules.retention import Retention
from adamw_scale.rules.rule import QUANTITIES
from adamw_scale.spec.measurement import Optimum
from adamw_scale.spec.run import TrainingRun

LM = TrainingRun(dataset_size="26B", batch_size="0.5M", peak_lr=3e-4, num_params="1.3B")
SCARCE = TrainingRun(dataset_size="200M", epochs=16, batch_size=262144, peak_lr=1e-3, num_params="600M")
PLENTY = TrainingRun(dataset_size="9B", epochs=4, batch_size=491520, peak_lr=6e-4, num_params="124M")
IMAGES = TrainingRun(unit="samples", dataset_size="1.28M", epochs=300, batch_size=1024, peak_lr=1e-3, num_params="25M")
TUNING = TrainingRun(dataset_size="10M", epochs=3, batch_size="64k", peak_lr=2e-5, num_params="7B", task="finetuning")
RUNS = {"lm": LM, "scarce": SCARCE, "plenty": PLENTY, "images": IMAGES, "tuning": TUNING}


def test_power_lines_never_asks_for_more_than_the_run() -> None:
    """At one token per parameter the law gives 1.084 of the run; the rule stops at 1."""
    run = TrainingRun(dataset_size="1B", batch_size="0.5M", peak_lr=3e-4, num_params="1B")
    assert PowerLines().target_timescale(run).run == 1.0
    assert PowerLines().outside_domain(run)


def test_retention_keeps_a_decay_in_use() -> None:
    """Finetuning: 0.05 in use stays; 0.5 is brought to what keeps 99 % or 0.1."""
    assert Retention().target_timescale(TUNING.model_copy(update={"weight_decay": 0.05})).iters == pytest.approx(1e6)
    assert Retention().target_timescale(TUNING.model_copy(update={"weight_decay": 0.5})).iters == pytest.approx(5e5)
    long = TrainingRun(
        unit="samples", dataset_size=1.28e6, epochs=100, batch_size=1024, peak_lr=2e-3, task="finetuning"
    )
    tau = Retention().target_timescale(long)
    assert tau.run == pytest.approx(0.5 / 0.01005, rel=1e-3)


@pytest.mark.parametrize(
    ("run", "default"),
    [
        (LM, "power-lines"),
        (SCARCE, "tau-epoch-data-limited"),
        (PLENTY, "power-lines"),
        (IMAGES, "run-fraction"),
        (TUNING, "retention"),
    ],
    ids=list(RUNS),
)
def test_regime_decides_the_default_rule(run: TrainingRun, default: str) -> None:
    """One default per kind of training, each with rules it competes with."""
    kind = regime(run)
    assert kind.default == default
    assert set(kind.competitors) <= set(RULES)


def test_a_few_passes_over_samples_are_no_image_recipe() -> None:
    """Criteo in half an epoch tolerates half to one and a half runs; a twentieth hurts (AlgoPerf logs)."""
    kind = regime(IMAGES.model_copy(update={"epochs": 1.0}))
    assert kind.default == "loshchilov-hutter"
    assert kind.spans_competitors


def test_data_limited_optima_say_nothing_about_tiny_models() -> None:
    """A 42k-parameter model is thousands of times smaller than any of the 16."""
    tiny = TrainingRun(dataset_size=16384, epochs=32, batch_size=256, peak_lr=2e-3, num_params=42144)
    assert any("number of parameters" in reason for reason in RULES["tau-epoch-data-limited"]().outside_domain(tiny))


def test_regime_of_many_epochs_needs_parameters() -> None:
    """Whether data are scarce depends on the model's size."""
    with pytest.raises(MissingInputError, match="--params"):
        regime(TrainingRun(dataset_size="200M", epochs=16, batch_size=262144, peak_lr=1e-3))


@given(st.floats(1, 5000), st.floats(1.01, 10))
def test_more_tokens_per_parameter_shorter_timescale(tpp: float, factor: float) -> None:
    """The law is monotone."""
    assert PowerLines().tau_run(tpp * factor) < PowerLines().tau_run(tpp)


def rule_of(name: str) -> Rule:
    """The rule with its published constants, or fitted to a tuned run where it has none."""
    rule = RULES[name]()
    if name != "complete-d-p":
        return rule
    tuned = Optimum(run=LM, timescale_run=0.2, log2_interval=(-3, -2), status="located")
    return cast(CalibratableRule, rule).fit([tuned])


def test_complete_d_p_needs_a_tuned_run() -> None:
    """It has no constant of its own, and says how to give it one."""
    with pytest.raises(MissingInputError, match="--reference"):
        RULES["complete-d-p"]().target_timescale(LM)


@pytest.mark.parametrize("name", list(RULES))
class TestEveryRule:
    """The contract in `rules/rule.py`, for built-in and third-party rules alike."""

    def test_is_a_frozen_value_with_its_source(self, name: str) -> None:
        """Constants are fields, the class says what it is and where it comes from."""
        rule = RULES[name]()
        assert rule.name == name
        assert dataclasses.is_dataclass(rule)
        assert dataclasses.fields(rule)
        with pytest.raises(dataclasses.FrozenInstanceError):
            rule.name = "other"  # type: ignore[misc]
        assert not hasattr(rule, "fit") or set(rule.drift) == set(QUANTITIES)
        for text in (rule.title, rule.formula, rule.source, rule.certainty, rule.fitted_on):
            assert text
        assert 1 < rule.spread <= rule.spread_outside
        assert "Use it when:" in str(type(rule).__doc__)
        assert "Source:" in str(type(rule).__doc__)

    @pytest.mark.parametrize("run", list(RUNS.values()), ids=list(RUNS))
    def test_answers_every_run(self, name: str, run: TrainingRun) -> None:
        """A finite timescale, its derivation, and whether the run is inside the domain."""
        rule = rule_of(name)
        tau = rule.target_timescale(run)
        assert tau.iters == pytest.approx(tau.run * run.total_steps)
        assert rule.derivation(run)
        assert all(isinstance(reason, str) for reason in rule.outside_domain(run))

    @pytest.mark.parametrize("run", list(RUNS.values()), ids=list(RUNS))
    def test_does_not_depend_on_the_unit_of_counting(self, name: str, run: TrainingRun) -> None:
        """Scaling data, batch and parameters together changes nothing."""
        bigger = run.model_copy(
            update={
                "dataset_size": 8 * run.dataset_size,
                "batch_size": 8 * run.batch_size,
                "num_params": run.num_params and 8 * run.num_params,
            }
        )
        rule = rule_of(name)
        assert rule.target_timescale(bigger).iters == pytest.approx(rule.target_timescale(run).iters)


@pytest.mark.parametrize("name", [name for name in RULES if hasattr(RULES[name], "fit")])
@given(fraction=st.floats(0.001, 16.0))
def test_a_fitted_rule_goes_through_its_optimum(name: str, fraction: float) -> None:
    """Calibrating a rule on one optimum reproduces that optimum."""
    run = IMAGES if name == "run-fraction" else SCARCE
    optimum = Optimum(run=run, timescale_run=fraction, log2_interval=(-3, -2), status="located", loss=1.0)
    fitted = RULES[name]().fit([optimum])  # type: ignore[attr-defined]
    assert fitted.target_timescale(run).run == pytest.approx(fraction)
