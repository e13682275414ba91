"""Rules against published numbers, and the conformance suite that every rule passes."""

import dataclasses
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale.errors import MissingInputError, SpecError
from adamw_scale.law.features import features_of
from adamw_scale.rules import RULES, default_rule
from adamw_scale.rules.power_lines import PowerLines
from adamw_scale.rules.retention import Retention
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


def test_retention_keeps_what_was_pretrained() -> None:
    """Finetuning: the largest decay that keeps 99 %, or 0.1; what is in use does not matter."""
    assert Retention().target_timescale(TUNING.model_copy(update={"weight_decay": 0.5})).iters == pytest.approx(5e5)
    long = TrainingRun(
        unit="samples", dataset_size=1.28e6, epochs=100, batch_size=1024, peak_lr=2e-3, task="finetuning"
    )
    tau = Retention().target_timescale(long)
    assert tau.run == pytest.approx(0.5 / 0.01005, rel=1e-3)


@pytest.mark.parametrize(
    ("run", "default", "speaking"),
    [
        (LM, "law", {"law", "power-lines", "steplaw-refit", "complete-d-p", "adana"}),
        (SCARCE, "law", {"law", "tau-epoch-data-limited", "complete-d-p"}),
        (PLENTY, "law", {"law", "constant-tau-epoch", "complete-d-p"}),
        (IMAGES, "law", {"law", "run-fraction", "loshchilov-hutter"}),
        (TUNING, "kept", {"kept", "retention", "constant-tau-epoch", "complete-d-p"}),
    ],
    ids=list(RUNS),
)
def test_the_law_answers_and_few_published_rules_speak(run: TrainingRun, default: str, speaking: set[str]) -> None:
    """One default for training from scratch, and the rules in whose domain a run lies."""
    assert default_rule(run) == default
    assert {name for name in RULES if not RULES[name]().outside_domain(run)} == speaking


def test_a_few_passes_over_samples_are_no_image_recipe() -> None:
    """Criteo in half an epoch tolerates half to one and a half runs; a twentieth hurts (AlgoPerf logs)."""
    once = IMAGES.model_copy(update={"epochs": 0.5})
    assert any("epochs" in reason for reason in RULES["run-fraction"]().outside_domain(once))
    assert RULES["law"]().target_timescale(once).run > 4 * RULES["law"]().target_timescale(IMAGES).run


def test_data_limited_optima_say_nothing_about_tiny_models() -> None:
    """A 42k-parameter model is thousands of times smaller than any of the 16."""
    tiny = TrainingRun(dataset_size=16384, epochs=32, batch_size=256, peak_lr=2e-3, num_params=42144)
    assert any("number of parameters" in reason for reason in RULES["tau-epoch-data-limited"]().outside_domain(tiny))


def test_the_law_needs_the_parameters_of_a_language_model() -> None:
    """Whether data are scarce depends on the model's size; images are not counted against it."""
    with pytest.raises(MissingInputError, match="--params"):
        RULES["law"]().target_timescale(LM.model_copy(update={"num_params": None}))
    assert 0 < RULES["law"]().target_timescale(IMAGES.model_copy(update={"num_params": None})).run < 1


def test_the_law_says_every_term() -> None:
    """The terms of a derivation add up to its timescale."""
    said = RULES["law"]().derivation(SCARCE)
    level, *products = re.findall(r"[-+][\d.]+(?: · -?[\d.]+)?", said.partition(", tau")[0])
    total = float(level) + sum(math.prod(map(float, product.split(" · "))) for product in products)
    assert len(products) == sum(abs(value) > 1e-3 for value in features_of(SCARCE).values) - 1
    assert total == pytest.approx(math.log2(RULES["law"]().target_timescale(SCARCE).run), abs=0.05)


@given(st.floats(1, 5000), st.floats(1.01, 10))
def test_more_tokens_per_parameter_shorter_timescale(tpp: float, factor: float) -> None:
    """The law is monotone."""
    assert PowerLines().tau_run(tpp * factor) < PowerLines().tau_run(tpp)


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
        assert dataclasses.fields(rule) or name in ("law", "kept", "complete-d-p")
        with pytest.raises(dataclasses.FrozenInstanceError):
            rule.name = "other"  # type: ignore[misc]
        for text in (rule.title, rule.formula, rule.source, rule.certainty, rule.fitted_on):
            assert text
        assert "Use it when:" in str(type(rule).__doc__)
        assert "Source:" in str(type(rule).__doc__)

    @pytest.mark.parametrize("run", list(RUNS.values()), ids=list(RUNS))
    def test_answers_every_run(self, name: str, run: TrainingRun) -> None:
        """A finite timescale, its derivation, and whether the run is inside the domain."""
        rule = RULES[name]()
        assert rule.derivation(run)
        assert all(isinstance(reason, str) for reason in rule.outside_domain(run))
        if name != "complete-d-p":
            tau = rule.target_timescale(run)
            assert 0 < tau.iters == pytest.approx(tau.run * run.total_steps)

    @pytest.mark.parametrize("run", list(RUNS.values()), ids=list(RUNS))
    def test_does_not_depend_on_the_unit_of_counting(self, name: str, run: TrainingRun) -> None:
        """Scaling data, batch and parameters together changes nothing; the law's answer only in a single pass."""
        bigger = run.model_copy(
            update={
                "dataset_size": 8 * run.dataset_size,
                "batch_size": 8 * run.batch_size,
                "num_params": run.num_params and 8 * run.num_params,
            }
        )
        rule = RULES[name]()
        if name == "law" and run.epochs > 1:  # its usual batch and lr grow less than the data and the model
            assert rule.target_timescale(bigger).iters != pytest.approx(rule.target_timescale(run).iters)
        elif name != "complete-d-p":
            assert rule.target_timescale(bigger).iters == pytest.approx(rule.target_timescale(run).iters)

    @pytest.mark.parametrize("run", [LM, SCARCE, PLENTY], ids=["lm", "scarce", "plenty"])
    @given(fraction=st.floats(0.001, 16.0))
    def test_carries_a_tuned_run_as_it_moves_itself(self, name: str, run: TrainingRun, fraction: float) -> None:
        """To itself exactly; to another run by the ratio of its own targets, whatever the level; Complete(d)P by 1."""
        rule, tuned = RULES[name](), LM.timescale(run=fraction)
        if name in ("kept", "retention"):
            with pytest.raises(SpecError, match="nothing to carry"):
                rule.carried(LM, tuned, run)
            return
        assert rule.carried(LM, tuned, LM).run == pytest.approx(fraction)
        own = 1.0
        if name != "complete-d-p":
            own = rule.target_timescale(run).run / rule.target_timescale(LM).run
        assert rule.carried(LM, tuned, run).run == pytest.approx(fraction * own)


@pytest.mark.parametrize("name", list(RULES))
def test_only_complete_d_p_carries_the_learning_rate(name: str) -> None:
    """lr ~ sqrt(m_B / m_D): four times the data at the same batch halves it; every other rule keeps it."""
    longer = LM.model_copy(update={"dataset_size": 4 * LM.dataset_size})
    expected = LM.lr / 2 if name == "complete-d-p" else LM.lr
    assert RULES[name]().carried_lr(LM, longer) == pytest.approx(expected)
