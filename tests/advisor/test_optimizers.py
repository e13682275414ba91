"""Other optimizers than AdamW: what the law says of them, who decays, and what is refused."""

import pytest

from adamw_scale import emit, recommend
from adamw_scale.errors import SpecError, UnknownNameError
from adamw_scale.evidence import tuned_optima
from adamw_scale.spec.run import TrainingRun

MUON = {"dataset_size": 1.7e9, "batch_size": 2**19, "num_params": 1.62e8, "peak_lr": 0.025, "optimizer": "muon"}


def test_muons_one_tuned_run_is_met() -> None:
    """The record of modded-nanogpt lies in the range; only the hidden matrices decay, and the answer says so."""
    (tuned,) = [each for each in tuned_optima() if each.run.optimizer == "muon"]
    advice = recommend(tuned.run)
    low, high = advice.weight_decay_range
    assert low <= tuned.run.current_weight_decay <= high
    assert [group.group for group in advice.param_groups if group.weight_decay] == ["hidden"]
    assert "optimizer" in {caution.code for caution in advice.cautions}


def test_muons_learning_rate_is_none_of_adamws() -> None:
    """In many passes AdamW's timescale moves with its lr; of Muon's nothing is known, so it stays, and is less sure."""
    many = {**MUON, "epochs": 16}
    one, two = (recommend(TrainingRun(**{**many, "peak_lr": lr})) for lr in (0.01, 0.04))
    assert one.timescale.run == pytest.approx(two.timescale.run)
    adamw = recommend(TrainingRun(**{**many, "peak_lr": 3e-3, "optimizer": "adamw"}))
    ratios = [each.weight_decay_range[1] / each.weight_decay_range[0] for each in (one, adamw)]
    assert ratios[0] > ratios[1]


def test_lion_is_adamw_at_five_times_the_learning_rate_and_less_sure() -> None:
    """The same timescale, a wider range, and a caution."""
    run = {"dataset_size": 2e9, "batch_size": 2**18, "num_params": 1e8, "epochs": 8}
    lion = recommend(TrainingRun(**run, peak_lr=2e-4, optimizer="lion"))
    adamw = recommend(TrainingRun(**run, peak_lr=1e-3))
    assert lion.timescale.run == pytest.approx(adamw.timescale.run)
    assert lion.weight_decay == pytest.approx(5 * adamw.weight_decay)
    assert lion.weight_decay_range[1] / lion.weight_decay_range[0] > (
        adamw.weight_decay_range[1] / adamw.weight_decay_range[0]
    )


def test_snippets_write_adamw() -> None:
    """A Muon run is not written as AdamW; an unknown optimizer is refused by name."""
    with pytest.raises(SpecError, match="--optimizer muon: snippets write AdamW"):
        emit("pytorch", recommend(TrainingRun(**MUON)))
    with pytest.raises(UnknownNameError, match="unknown optimizer 'mooon': did you mean 'muon'"):
        TrainingRun(**{**MUON, "optimizer": "mooon"})
