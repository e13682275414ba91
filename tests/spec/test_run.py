"""The nouns: what they derive and what they refuse."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale.errors import AdamWScaleError, MissingInputError, SpecError, UnknownNameError
from adamw_scale.spec.run import TrainingRun, described_by, said_over, sized_by_steps

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
        ({"batch_size": 0}, "--batch-size = 0: input should be "),
        ({"batch_size": -1}, "--batch-size"),
        ({"peak_lr": float("nan")}, "finite"),
        ({"peak_lr": float("inf")}, "finite"),
        ({"peak_lr": 20}, "--lr (peak_lr) = 20: input should be "),
        ({"peak_lr": True}, "not a number"),
        ({"dataset_size": "many"}, "--tokens or --samples (dataset_size): 'many' is not a number"),
        ({"epochs": 0}, "--epochs"),
        ({"batch_size": 27e9}, "larger than the data set"),
        ({"batch_size": 26e9}, "lower --batch-size or raise --epochs"),
        ({"warmup_fraction": 1}, "does not fit in a run"),
        ({"warmup_steps": 52_000}, "does not fit in a run"),
        ({"warmup_fraction": 0.1, "warmup_steps": 10}, "keep one"),
        ({"final_lr_fraction": 2}, "--final-lr-fraction"),
        (
            {"final_lr_fraction": 0.1, "schedule": "constant"},
            "--final-lr-fraction has no effect in schedule 'constant': drop it",
        ),
        (
            {"decay_fraction": 0.1},
            "--decay-fraction has no effect in schedule 'linear': drop it, or pass --schedule with one of wsd",
        ),
        ({"schedule": "wsd", "decay_fraction": 0}, "--decay-fraction = 0 leaves nothing to decay: raise it"),
        ({"schedule": "wsd", "decay_fraction": 0.6, "warmup_fraction": 0.6}, "more than the whole run"),
        ({"weight_decay": 4000}, "--weight-decay = 4000 at --lr 0.0003"),
        ({"weight_decay": -0.1}, "--weight-decay"),
        ({"betas": (0.9, 1.0)}, "below 1"),
        ({"betas": (0.9,)}, "--betas: a tuple is not two numbers"),
        ({"betas": "0.9"}, "--betas: 0.9 is not two numbers"),
        ({"betas": "0.9,2"}, "--betas (betas.1) = 2"),
    ],
    ids=str,
)
def test_refuses_the_impossible_in_one_line(change: dict[str, Any], says: str) -> None:
    """One sentence that names the value and the option to change."""
    with pytest.raises(SpecError) as error:
        TrainingRun(**{**RUN, **change})
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert all(str(error.value).count(flag) < 2 for flag in ("--lr ", "--batch-size ", "--betas "))


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


@pytest.mark.parametrize("views", [{}, {"iters": 5, "run": 0.5}, {"epochs": 1, "run": 0.5}, {"iters": 5, "epochs": 1}])
def test_a_timescale_is_given_in_one_view(views: dict[str, float]) -> None:
    """None is no duration, and two may contradict each other."""
    with pytest.raises(SpecError, match="exactly one of iters, epochs and run"):
        TrainingRun(**RUN).timescale(**views)


@pytest.mark.parametrize(
    ("base", "own", "together"),
    [
        ({"lr": 3e-4, "epochs": 3}, {"lr": 1e-3}, {"peak_lr": 1e-3, "epochs": 3}),
        ({"warmup_steps": 9}, {"warmup": "2%"}, {"warmup_fraction": 0.02}),
        (
            {"schedule": "wsd", "decay_fraction": 0.1, "final_lr_fraction": 0.1, "warmup": 9},
            {"schedule": "cosine"},
            {"schedule": "cosine", "final_lr_fraction": 0.1, "warmup_steps": 9},
        ),
        (
            {"schedule": "cosine", "final_lr_fraction": 0.1, "warmup_steps": 9},
            {"schedule_file": "lr.txt"},
            {"schedule": "table", "schedule_table": "lr.txt"},
        ),
        ({"schedule_file": "lr.txt"}, {"schedule": "linear"}, {"schedule": "linear"}),
        ({"tokens": 9, "epochs": 3}, {"steps": 5}, {"unit": "tokens", "dataset_size": 9, "steps": 5}),
        ({"tokens": 9, "epochs": 3}, {"steps": 5, "epochs": 2}, {"unit": "tokens", "steps": 5, "epochs": 2}),
        ({"steps": 5, "epochs": 3}, {"tokens": 9}, {"unit": "tokens", "dataset_size": 9, "steps": 5}),
        ({"steps": 5, "tokens": 9}, {"epochs": 3}, {"unit": "tokens", "dataset_size": 9, "epochs": 3}),
        ({"params": 9, "width": 64}, {"width": 128}, {"num_params": 9, "width": 128}),
        ({"params": 9}, {"width": 128}, {"num_params": 9, "width": 128}),
        (
            {"parametrization": "completep", "base_width": 64, "base_depth": 2},
            {"parametrization": "mup"},
            {"parametrization": "mup", "base_width": 64},
        ),
        (
            {"weight_decay_schedule": "linear", "final_weight_decay_fraction": 0.1},
            {"weight_decay_schedule": "constant"},
            {"weight_decay_schedule": "constant"},
        ),
    ],
    ids=str,
)
def test_what_is_said_anew_takes_along_what_it_contradicts(
    base: dict[str, Any], own: dict[str, Any], together: dict[str, Any]
) -> None:
    """Everything else stays as it was said before."""
    assert said_over(described_by(base), described_by(own)) == together


@given(
    base=st.dictionaries(st.sampled_from([*TrainingRun.model_fields, "steps"]), st.text() | st.floats()),
    own=st.dictionaries(st.sampled_from([*TrainingRun.model_fields, "steps"]), st.text() | st.lists(st.integers())),
)
def test_what_is_said_last_stays(base: dict[str, Any], own: dict[str, Any]) -> None:
    """Whatever it is: what cannot be is left for the run to refuse, and nothing is made up."""
    with suppress(SpecError):
        together = said_over(base, own)
        assert {name: together[name] for name in own} == own
        assert all(together[name] is base[name] for name in together.keys() - own.keys())


def test_units_are_not_mixed_between_what_was_said_before_and_now() -> None:
    """Samples over a run in tokens would take its batch for samples."""
    with pytest.raises(SpecError, match="mixed"):
        said_over(described_by({"tokens": 9, "batch_size": 3}), described_by({"samples": 9}))


@pytest.mark.parametrize(
    ("words", "size", "epochs"),
    [
        ({"tokens": 1000, "batch_size": 10, "schedule_steps": 7}, 1000, 1),
        ({"steps": 50, "batch_size": 10, "schedule_steps": 7}, 500, 1),
        ({"batch_size": 10, "schedule_steps": 7}, 70, 1),
        ({"batch_size": 10, "schedule_steps": 8, "epochs": 4}, 20, 4),
    ],
)
def test_a_table_says_how_long_a_run_is_only_where_nothing_else_does(
    words: dict[str, Any], size: float, epochs: float
) -> None:
    """Elsewhere it is stretched over the run."""
    run = TrainingRun.model_validate(sized_by_steps(described_by(words)))
    assert (run.dataset_size, run.epochs) == (size, epochs)
