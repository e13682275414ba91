"""The nouns: what they derive and what they refuse."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale.errors import AdamWScaleError, MissingInputError, SpecError, UnknownNameError
from adamw_scale.spec.run import TrainingRun

RUN: dict[str, Any] = {"dataset_size": 26e9, "batch_size": 5e5, "peak_lr": 3e-4}


def test_derived_quantities() -> None:
    """Steps, epochs and tokens per parameter of a 1.3B model on 26B tokens, twice."""
    run = TrainingRun(**RUN, num_params="1.3B", epochs=2)
    assert (run.steps_per_epoch, run.total_steps, run.tokens_per_param) == (52_000, 104_000, 40)
    assert run.unique_tokens_per_param == 20


@given(st.floats(1e-3, 1e3))
def test_three_views_are_one_duration(fraction: float) -> None:
    """A timescale given in any view has the same other two."""
    run = TrainingRun(**RUN, epochs=3)
    tau = run.timescale(run=fraction)
    assert tau.epochs == pytest.approx(3 * fraction)
    assert run.timescale(iters=tau.iters).run == pytest.approx(fraction)
    assert run.timescale(epochs=tau.epochs).iters == pytest.approx(tau.iters)


def test_independent_decay_is_read_in_its_own_unit() -> None:
    """big_vision's 1e-4 at lr 1e-3 is PyTorch's 0.1."""
    run = TrainingRun(**{**RUN, "peak_lr": 1e-3}, weight_decay=1e-4, convention="independent")
    assert run.current_weight_decay == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"batch_size": 0}, "batch_size = 0: input should be greater than or equal to 1. Change --batch-size"),
        ({"batch_size": -1}, "--batch-size"),
        ({"peak_lr": float("nan")}, "finite"),
        ({"peak_lr": float("inf")}, "finite"),
        ({"peak_lr": 0}, "--lr"),
        ({"peak_lr": True}, "not a number"),
        ({"dataset_size": "many"}, "dataset_size: 'many' is not a number"),
        ({"epochs": 0}, "--epochs"),
        ({"batch_size": 27e9}, "larger than the data set"),
        ({"batch_size": 26e9}, "lower --batch-size or raise --epochs"),
        ({"warmup_fraction": 1}, "does not fit in a run"),
        ({"warmup_steps": 52_000}, "does not fit in a run"),
        ({"warmup_fraction": 0.1, "warmup_steps": 10}, "keep one"),
        ({"final_lr_fraction": 2}, "--final-lr-fraction"),
        ({"final_lr_fraction": 0.1, "schedule": "constant"}, "drop --final-lr-fraction"),
        ({"decay_fraction": 0.1}, "drop --decay-fraction, or pass --schedule with one of wsd"),
        ({"schedule": "wsd", "decay_fraction": 0}, "raise --decay-fraction"),
        ({"schedule": "wsd", "decay_fraction": 0.6, "warmup_fraction": 0.6}, "more than the whole run"),
        ({"weight_decay": 4000}, "lower --weight-decay"),
        ({"weight_decay": -0.1}, "--weight-decay"),
        ({"betas": (0.9, 1.0)}, "below 1"),
        ({"betas": (0.9,)}, "--betas"),
        ({"betas": "0.9"}, "--betas"),
    ],
    ids=str,
)
def test_refuses_the_impossible_in_one_line(change: dict[str, Any], says: str) -> None:
    """One sentence that names the value and the option to change."""
    with pytest.raises(SpecError) as error:
        TrainingRun(**{**RUN, **change})
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("missing", ["dataset_size", "batch_size"])
def test_names_the_option_that_is_missing(missing: str) -> None:
    """Data set and batch are needed."""
    with pytest.raises(MissingInputError, match=r"lacks .*: pass --"):
        TrainingRun(**{name: value for name, value in RUN.items() if name != missing})


def test_mup_needs_widths() -> None:
    """A width-dependent parametrization without widths has no ratio to apply."""
    with pytest.raises(MissingInputError, match="--width and --base-width"):
        TrainingRun(**RUN, parametrization="mup")


@pytest.mark.parametrize(
    ("change", "nearest"),
    [
        ({"schedule": "liner"}, "linear"),
        ({"parametrization": "mpu"}, "mup"),
        ({"unit": "token"}, "tokens"),
        ({"task": "fine-tuning"}, "finetuning"),
        ({"batchsize": 3}, "batch_size"),
    ],
    ids=str,
)
def test_unknown_names_get_the_nearest(change: dict[str, Any], nearest: str) -> None:
    """Typos are answered with what was meant and the whole list."""
    with pytest.raises(UnknownNameError, match=rf"did you mean '{nearest}'.*known: "):
        TrainingRun(**{**RUN, **change})


@given(
    st.dictionaries(
        st.sampled_from([*TrainingRun.model_fields, "junk"]),
        st.text() | st.floats() | st.none() | st.lists(st.integers()),
    )
)
def test_construction_fails_only_as_documented(fields: dict[str, Any]) -> None:
    """Whatever is thrown at it, a run is built or refused with this package's own error."""
    with suppress(AdamWScaleError):
        TrainingRun.model_validate({**RUN, **fields})
