"""Carrying a tuned run to another: factors, ranges, what is inherited, where published answers disagree."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from conftest import Command
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale import TrainingRun, recommend
from adamw_scale.errors import MissingInputError, SpecError
from adamw_scale.rules.regimes import TRANSFERS

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


def moved(**update: Any) -> TrainingRun:
    """The tuned run with other values, and no weight decay of its own."""
    return TUNED.model_copy(update={"weight_decay": None, **update})


def test_nothing_moved_nothing_changes() -> None:
    """The tuned value, with half a grid step of doubt."""
    advice = recommend(moved(), reference=TUNED)
    assert advice.weight_decay == pytest.approx(0.1)
    assert advice.weight_decay_range == pytest.approx((0.1 / math.sqrt(2), 0.1 * math.sqrt(2)))
    assert all(other.factor == pytest.approx(1) for other in advice.alternatives)


@pytest.mark.parametrize("fraction", [0.5, 1])
def test_openwebtext_of_wang_and_aitchison(fraction: float) -> None:
    """Tuned on a quarter, best λ halves with each doubling of the data: 0.25, 0.125, 0.0625 (2405.13698, figure 2)."""
    run = OWT.model_copy(update={"dataset_size": 9.036e9 * fraction, "weight_decay": None})
    advice = recommend(run, reference=OWT)
    assert advice.rule == "constant-tau-epoch"
    assert advice.weight_decay == pytest.approx(0.0625 / fraction, rel=1e-4)
    low, high = advice.weight_decay_range
    assert low <= 0.0625 / fraction <= high


@given(factor=factors)
def test_doubling_lr_halves_the_weight_decay(factor: float) -> None:
    """Only lr moved: lr * λ stays."""
    advice = recommend(moved(peak_lr=3e-4 * factor), reference=TUNED)
    assert advice.weight_decay == pytest.approx(0.1 / factor)


@given(
    factor=factors, rule=st.sampled_from([None, "constant-tau-epoch", "run-fraction", "complete-d-p", "power-lines"])
)
def test_batch_and_data_together_leave_the_timescale(factor: float, rule: str | None) -> None:
    """Everything scaled alike is the same training in other units."""
    run = moved(dataset_size=10e9 * factor, batch_size=2**19 * factor, num_params=500e6 * factor, peak_lr=3e-4)
    advice = recommend(run, rule, reference=TUNED)
    assert advice.timescale.iters == pytest.approx(TUNED.timescale_of(0.1).iters)


@given(factor=factors)
def test_batch_alone_keeps_the_fraction_of_the_run(factor: float) -> None:
    """lr fixed: λ ~ batch; lr ~ sqrt(batch): λ ~ sqrt(batch)."""
    fixed = recommend(moved(batch_size=2**19 * factor), reference=TUNED)
    root = recommend(moved(batch_size=2**19 * factor, peak_lr=3e-4 * math.sqrt(factor)), reference=TUNED)
    assert fixed.weight_decay == pytest.approx(0.1 * factor)
    assert root.weight_decay == pytest.approx(0.1 * math.sqrt(factor))


@given(factor=st.floats(1.01, 30))
def test_more_tokens_per_parameter_less_decay_mass_per_token(factor: float) -> None:
    """Monotone, and by the published exponent: λ ~ D^-0.473 at fixed lr, N, B."""
    advice = recommend(moved(dataset_size=10e9 * factor), reference=TUNED)
    assert advice.weight_decay == pytest.approx(0.1 * factor**-0.473)


def test_duration_shows_every_published_answer() -> None:
    """Ten times the data: x 0.337, 0.1, 0.316 with lr x 0.316, 0.316, 1."""
    advice = recommend(moved(dataset_size=100e9), reference=TUNED)
    found = {other.rule: other.factor for other in advice.alternatives}
    assert found == pytest.approx(
        {
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


def test_schedule_keeps_the_mass() -> None:
    """From cosine to WSD the mean lr grows from 0.5 to 0.9, so λ falls by 5/9; the answer says that this is assumed."""
    advice = recommend(moved(schedule="wsd"), reference=TUNED)
    assert advice.weight_decay == pytest.approx(0.1 * 0.5 / 0.9)
    assert "schedule" in [caution.code for caution in advice.cautions]


def test_width_under_mup_multiplies_the_hidden_decay() -> None:
    """m = 4: hidden lr / 4 and λ * 4, base values kept, the three published factors named."""
    run = moved(parametrization="mup", width=1024, base_width=256)
    tuned = TUNED.model_copy(update={"width": 256})
    advice = recommend(run, reference=tuned)
    hidden = advice.param_groups[0]
    assert (hidden.peak_lr, hidden.weight_decay) == pytest.approx((7.5e-5, 0.4))
    assert "width-exponent" in [caution.code for caution in advice.cautions]


def test_mup_as_shipped_says_by_how_much_the_timescale_drifts() -> None:
    """Without λ * m the hidden timescale is m times as long, and less of the initial weights is forgotten."""
    given_run = {"parametrization": "mup-as-shipped", "width": 1024, "base_width": 256}
    shipped = recommend(moved(**given_run), reference=TUNED)
    kept = recommend(moved(**{**given_run, "parametrization": "mup"}), reference=TUNED)
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
    assert spans[-1] > 4 * spans[0]


@pytest.mark.parametrize("rule", TRANSFERS)
def test_every_transfer_rule_goes_through_the_reference(rule: str) -> None:
    """Carried to itself a tuned run keeps its value under every rule."""
    assert recommend(moved(), rule, reference=TUNED).weight_decay == pytest.approx(0.1)


def test_a_reference_must_be_tuned() -> None:
    """No lr or no weight decay is no tuned run; a rule without constants carries nothing."""
    with pytest.raises(MissingInputError, match="weight_decay"):
        recommend(moved(), reference=moved())
    with pytest.raises(MissingInputError, match="peak_lr"):
        recommend(moved(), reference=TUNED.model_copy(update={"peak_lr": None}))
    with pytest.raises(SpecError, match="nothing to carry"):
        recommend(moved(), "retention", reference=TUNED)


def test_independent_decay_of_a_reference_is_read_in_its_unit() -> None:
    """3e-5 in Composer's unit at lr 3e-4 is the same tuned run."""
    composer = TUNED.model_copy(update={"weight_decay": 3e-5, "convention": "composer"})
    assert recommend(moved(), reference=composer).weight_decay == pytest.approx(0.1)


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
    assert document["weight_decay"] == pytest.approx(0.1 * 10**-0.473)
    assert document["run"]["schedule"] == "cosine"
    assert document["run"]["peak_lr"] == 3e-4
    assert "weight_decay" not in document["run"]
    assert document["companions"]["reference"]["factor"] == pytest.approx(10**-0.473)


def test_command_asks_for_the_parameters_of_another_model(tuned_file: str, adamw_scale: Command) -> None:
    """A new width makes the old number of parameters wrong, so it is not inherited where it matters."""
    outcome = adamw_scale("recommend", "--reference", tuned_file, "--tokens", "100B", "--width", "2048")
    assert outcome.code == 2
    assert "--params" in outcome.err


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
    outcome = adamw_scale("emit", "pytorch", "--reference", tuned_file, "--tokens", "20B")
    assert outcome.code == 0
    assert "reference run, carried by power-lines" in outcome.out
