"""Carrying a tuned run to another: factors, ranges, what is inherited, where published answers disagree."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import Command
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale import TrainingRun, recommend
from adamw_scale.advisor.answers import STRANGENESS, TUNED_DEVIATION
from adamw_scale.errors import MissingInputError, SpecError
from adamw_scale.law.posterior import EIGHTY, Observation, Posterior
from adamw_scale.rules import RULES

TUNED = TrainingRun(
    dataset_size=10e9, batch_size=2**19, peak_lr=3e-4, num_params=500e6, weight_decay=0.1, schedule="cosine"
)
OWT = TrainingRun(
    dataset_size=2.259e9,
    epochs=4,
    batch_size=491_520,
    peak_lr=6e-4,
    num_params=124e6,
    weight_decay=0.25,
    schedule="cosine",
    final_lr_fraction=0.1,
)
factors = st.floats(0.1, 10)
CARRYING = [name for name in RULES if name not in ("law", "kept", "retention")]


def moved(**update: Any) -> TrainingRun:
    """The tuned run with other values, and no weight decay of its own."""
    return TUNED.model_copy(update={"weight_decay": None, **update})


def log2_tau(run: TrainingRun, weight_decay: float) -> float:
    """Of a weight decay, as a share of the run."""
    return math.log2(run.timescale_of(weight_decay).run)


@given(tuned=st.floats(0.1, 5))
def test_the_tuned_run_itself_weighs_law_and_tuning(tuned: float) -> None:
    """Two Gaussians, each by its precision: what is believed of training nobody has seen, and what was tuned."""
    reference = TUNED.model_copy(update={"weight_decay": tuned})
    believed = Posterior([Observation(TUNED, 0.0, 1e6)], strangeness=STRANGENESS).predict(TUNED)
    law, seen = believed.deviation**-2, TUNED_DEVIATION**-2
    middle = (law * believed.log2_tau + seen * log2_tau(TUNED, tuned)) / (law + seen)
    advice = recommend(moved(), reference=reference)
    assert advice.rule == "law"
    assert math.log2(advice.timescale.run) == pytest.approx(middle, abs=1e-6)
    ends = [log2_tau(TUNED, end) for end in reversed(advice.weight_decay_range)]
    half = EIGHTY / math.sqrt(law + seen)
    assert ends == pytest.approx([middle - half, middle + half], abs=1e-6)
    assert seen > 3 * law
    assert all(other.factor == pytest.approx(1) for other in advice.alternatives)


@pytest.mark.parametrize("fraction", [0.5, 1])
def test_openwebtext_of_wang_and_aitchison(fraction: float) -> None:
    """Tuned on a quarter, best λ halves with each doubling of the data: 0.25, 0.125, 0.0625 (2405.13698, figure 2)."""
    run = OWT.model_copy(update={"dataset_size": 9.036e9 * fraction, "weight_decay": None})
    advice = recommend(run, "constant-tau-epoch", reference=OWT)
    assert advice.weight_decay == pytest.approx(0.0625 / fraction, rel=1e-4)
    alone, taught = (recommend(run, reference=reference).weight_decay for reference in (None, OWT))
    off, alone_off = (abs(math.log2(value / (0.0625 / fraction))) for value in (taught, alone))
    assert off < min(1.5, alone_off - 0.5)


@given(factor=factors)
def test_doubling_lr_halves_the_weight_decay(factor: float) -> None:
    """Only lr moved: lr * λ stays where a published rule carries."""
    advice = recommend(moved(peak_lr=3e-4 * factor), "power-lines", reference=TUNED)
    assert advice.weight_decay == pytest.approx(0.1 / factor)


@given(factor=factors, rule=st.sampled_from(["constant-tau-epoch", "run-fraction", "complete-d-p", "power-lines"]))
def test_batch_and_data_together_leave_the_timescale(factor: float, rule: str) -> None:
    """Everything scaled alike is the same training in other units."""
    run = moved(dataset_size=10e9 * factor, batch_size=2**19 * factor, num_params=500e6 * factor, peak_lr=3e-4)
    advice = recommend(run, rule, reference=TUNED)
    assert advice.timescale.iters == pytest.approx(TUNED.timescale_of(0.1).iters)


@given(factor=factors)
def test_batch_alone_keeps_the_fraction_of_the_run(factor: float) -> None:
    """lr fixed: λ ~ batch; lr ~ sqrt(batch): λ ~ sqrt(batch)."""
    fixed = recommend(moved(batch_size=2**19 * factor), "power-lines", reference=TUNED)
    root = recommend(moved(batch_size=2**19 * factor, peak_lr=3e-4 * math.sqrt(factor)), "power-lines", reference=TUNED)
    assert fixed.weight_decay == pytest.approx(0.1 * factor)
    assert root.weight_decay == pytest.approx(0.1 * math.sqrt(factor))


@given(factor=st.floats(1.01, 30))
def test_more_tokens_per_parameter_less_decay_mass_per_token(factor: float) -> None:
    """Monotone, and by the published exponent: λ ~ D^-0.473 at fixed lr, N, B."""
    advice = recommend(moved(dataset_size=10e9 * factor), "power-lines", reference=TUNED)
    assert advice.weight_decay == pytest.approx(0.1 * factor**-0.473)
    assert (
        recommend(moved(dataset_size=10e9 * factor), reference=TUNED).timescale.run
        < recommend(moved(), reference=TUNED).timescale.run
    )


def test_duration_shows_every_published_answer() -> None:
    """Ten times the data: x 0.337, 0.1, 0.316 with lr x 0.316, 0.316, 1."""
    advice = recommend(moved(dataset_size=100e9), reference=TUNED)
    found = {other.rule: other.factor for other in advice.alternatives}
    assert found == pytest.approx(
        {
            "power-lines": 10**-0.473,
            "constant-tau-epoch": 0.1,
            "run-fraction": 0.1,
            "complete-d-p": 10**-0.5,
            "loshchilov-hutter": 10**-0.5,
            "fixed": 1,
        }
    )
    assert {other.rule: other.peak_lr for other in advice.alternatives}["complete-d-p"] == pytest.approx(
        3e-4 * 10**-0.5
    )
    assert "duration" in [caution.code for caution in advice.cautions]


def test_another_schedule_goes_half_way() -> None:
    """From cosine to WSD the mean lr grows from 0.5 to 0.9: λ falls by less, and both ways are told."""
    advice, before = recommend(moved(schedule="wsd"), reference=TUNED), recommend(moved(), reference=TUNED)
    assert 0.5 / 0.9 < advice.weight_decay / before.weight_decay < 1
    (said,) = [caution.message for caution in advice.cautions if caution.code == "schedule"]
    kept_timescale, kept_mass = (float(found) for found in re.findall(r"it would be ([\d.]+)", said))
    assert kept_mass == pytest.approx(kept_timescale * 0.5 / 0.9, rel=0.05)
    assert kept_mass < advice.weight_decay < kept_timescale


def test_width_under_mup_multiplies_the_hidden_decay() -> None:
    """m = 4: hidden lr / 4 and λ * 4, base values kept, the three published factors named."""
    run = moved(parametrization="mup", width=1024, base_width=256)
    tuned = TUNED.model_copy(update={"width": 256})
    advice = recommend(run, "power-lines", reference=tuned)
    hidden = advice.param_groups[0]
    assert (hidden.peak_lr, hidden.weight_decay) == pytest.approx((7.5e-5, 0.4))
    assert "width-exponent" in [caution.code for caution in advice.cautions]


def test_mup_as_shipped_says_by_how_much_the_timescale_drifts() -> None:
    """Without λ * m the hidden timescale is m times as long, and less of the initial weights is forgotten."""
    given_run = {"parametrization": "mup-as-shipped", "width": 1024, "base_width": 256}
    shipped = recommend(moved(**given_run), "power-lines", reference=TUNED)
    kept = recommend(moved(**{**given_run, "parametrization": "mup"}), "power-lines", reference=TUNED)
    drift = next(caution for caution in shipped.cautions if caution.code == "timescale-drift")
    assert "4 times" in drift.message
    assert math.log(shipped.companions.retention) == pytest.approx(math.log(kept.companions.retention) / 4)


def test_range_grows_with_the_distance() -> None:
    """Twice, eight, sixty-four times the data: each range holds the one before, relative to its value."""
    spans = []
    for factor in (1, 2, 8, 64):
        advice = recommend(moved(dataset_size=10e9 * factor), reference=TUNED)
        low, high = advice.weight_decay_range
        spans.append(high / low)
    assert spans == sorted(spans)
    assert spans[-1] > 2 * spans[0]


@pytest.mark.parametrize("rule", CARRYING)
def test_every_rule_goes_through_the_reference(rule: str) -> None:
    """Carried to itself a tuned run keeps its value under every rule; the range is the law's and holds it."""
    advice, law = recommend(moved(), rule, reference=TUNED), recommend(moved(), reference=TUNED)
    assert advice.rule == rule
    assert advice.weight_decay == pytest.approx(0.1)
    low, high = law.weight_decay_range
    assert advice.weight_decay_range == pytest.approx((min(low, 0.1), max(high, 0.1)))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"unit": "samples"}, "tokens are not samples"),
        ({"parametrization": "mup", "width": 1024, "base_width": 1024}, "standard is not mup parametrization"),
    ],
    ids=["unit", "parametrization"],
)
def test_another_kind_of_reference_counts_less(other: dict[str, Any], said: str) -> None:
    """What was tuned in another unit or parametrization moves the answer less, widens the range, and it is said."""
    unlike = TUNED.model_copy(update=other)
    like, less = (recommend(moved(), reference=reference) for reference in (TUNED, unlike))
    (caution,) = [caution for caution in less.cautions if caution.code == "moved"]
    assert said in caution.message
    assert "moved" not in [caution.code for caution in like.cautions]
    spans = [high / low for low, high in (like.weight_decay_range, less.weight_decay_range)]
    assert spans[0] < spans[1]
    law, tuned = log2_tau(TUNED, recommend(moved()).weight_decay), log2_tau(TUNED, 0.1)
    assert law < log2_tau(TUNED, less.weight_decay) < log2_tau(TUNED, like.weight_decay) < tuned


def test_a_reference_must_be_tuned() -> None:
    """No lr or no weight decay is no tuned run, and nothing carries from pretraining to finetuning."""
    with pytest.raises(MissingInputError, match="weight_decay"):
        recommend(moved(), reference=moved())
    with pytest.raises(MissingInputError, match="peak_lr"):
        recommend(moved(), reference=TUNED.model_copy(update={"peak_lr": None}))
    for task in ("finetuning", "lora"):
        for run, reference in ((moved(task=task), TUNED), (moved(), TUNED.model_copy(update={"task": task}))):
            with pytest.raises(SpecError, match="nothing known carries"):
                recommend(run, reference=reference)


def test_independent_decay_of_a_reference_is_read_in_its_unit() -> None:
    """3e-5 in Composer's unit at lr 3e-4 is the same tuned run."""
    composer = TUNED.model_copy(update={"weight_decay": 3e-5, "convention": "composer"})
    assert recommend(moved(), reference=composer).weight_decay == pytest.approx(
        recommend(moved(), reference=TUNED).weight_decay
    )


@pytest.fixture
def tuned_file(tmp_path: Path) -> str:
    """A tuned run as people write it."""
    file = tmp_path / "tuned.toml"
    file.write_text(
        'tokens = "10B"\nbatch_size = 524288\nlr = 3e-4\nparams = "500M"\nweight_decay = 0.1\nwidth = 1024\n'
        'schedule = "cosine"\n'
    )
    return str(file)


def test_command_inherits_what_is_not_said(tuned_file: str, adamw_scale: Command) -> None:
    """Only the data are new: batch, lr, schedule and parameters are as in the file, its weight decay is not in use."""
    outcome = adamw_scale("recommend", "--reference", tuned_file, "--tokens", "100B", "--json")
    document = json.loads(outcome.out)
    assert document["weight_decay"] == pytest.approx(recommend(moved(dataset_size=100e9), reference=TUNED).weight_decay)
    assert document["run"]["schedule"] == "cosine"
    assert document["run"]["peak_lr"] == 3e-4
    assert "weight_decay" not in document["run"]
    assert document["companions"]["reference"]["factor"] == pytest.approx(document["weight_decay"] / 0.1)


def test_command_asks_for_the_parameters_of_another_model(tuned_file: str, adamw_scale: Command) -> None:
    """A new width makes the old number of parameters wrong: a rule asks for it, the law takes the width's square."""
    words = ("recommend", "--reference", tuned_file, "--tokens", "100B", "--width", "2048")
    outcome = adamw_scale(*words, "--rule", "power-lines")
    assert outcome.code == 2
    assert "--params" in outcome.err
    unknown, known = (json.loads(adamw_scale(*words, *said, "--json").out) for said in ([], ["--params", "2B"]))
    assert "num_params" not in unknown["run"]
    assert unknown["weight_decay"] == pytest.approx(known["weight_decay"])


def test_command_carries_lr_and_betas_along(tuned_file: str, adamw_scale: Command) -> None:
    """Complete(d)P moves the learning rate unless it is given."""
    carried = json.loads(
        adamw_scale("recommend", "--reference", tuned_file, "--tokens", "100B", "--rule", "complete-d-p", "--json").out
    )
    kept = json.loads(
        adamw_scale(
            "recommend",
            "--reference",
            tuned_file,
            "--tokens",
            "100B",
            "--rule",
            "complete-d-p",
            "--lr",
            "3e-4",
            "--json",
        ).out
    )
    assert carried["peak_lr"] == pytest.approx(3e-4 * 10**-0.5)
    assert carried["companions"]["reference"]["betas"] == pytest.approx([0.99, 0.995])
    assert kept["weight_decay"] == pytest.approx(0.01)


def test_command_refuses_two_measurements(tuned_file: str, adamw_scale: Command) -> None:
    """A calibration and a reference are each a start of their own."""
    outcome = adamw_scale("recommend", "--reference", tuned_file, "--calibration", "x.json")
    assert outcome.code == 2
    assert "drop one" in outcome.err


def test_emit_takes_a_reference(tuned_file: str, adamw_scale: Command) -> None:
    """A snippet of the carried value."""
    words = ("emit", "pytorch", "--reference", tuned_file, "--tokens", "20B")
    assert "the tuned run; this project's fit to" in adamw_scale(*words).out
    assert "reference run, carried by power-lines" in adamw_scale(*words, "--rule", "power-lines").out
