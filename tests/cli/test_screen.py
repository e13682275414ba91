"""The answer on a screen: fifteen lines of eighty columns, whatever the run, with what a reader needs in them."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adamw_scale import TrainingRun
from adamw_scale.advisor import advise
from adamw_scale.cli.advice_text import MOST_LINES, render
from adamw_scale.errors import SpecError
from adamw_scale.spec.advice import Recommendation
from adamw_scale.units import format_significant

SHAPES = [
    {},
    {"schedule": "cosine", "warmup_fraction": 0.02, "final_lr_fraction": 0.1},
    {"schedule": "wsd", "decay_fraction": 0.15, "warmup_steps": 20},
    {"weight_decay_schedule": "follows-lr"},
]
SIZES = [
    {},
    {"parametrization": "mup", "width": 4096, "base_width": 256},
    {"parametrization": "mup-as-shipped", "width": 64, "base_width": 256},
    {"parametrization": "completep", "width": 768, "base_width": 256, "depth": 24, "base_depth": 4},
]
REST = [{}, {"weight_decay": 0.1}, {"convention": "loshchilov", "weight_decay": 1e-4}, {"optimizer": "muon"}]


@st.composite
def runs(draw: st.DrawFn) -> TrainingRun:
    """Runs of every kind, sensible or not."""
    steps = 10 ** draw(st.floats(1.5, 6))
    batch = 10 ** draw(st.floats(0.5, 7))
    fields = {
        "unit": draw(st.sampled_from(["tokens", "samples"])),
        "batch_size": batch,
        "epochs": 2 ** draw(st.floats(0, 9)),
        "num_params": max(1000.0, batch * steps / 10 ** draw(st.floats(-0.5, 5))),
        "peak_lr": draw(st.one_of(st.none(), st.floats(-5, -1).map(lambda x: 10**x))),
        "task": draw(st.sampled_from(["pretraining", "pretraining", "finetuning", "lora"])),
        **draw(st.sampled_from(SHAPES)),
        **draw(st.sampled_from(SIZES)),
        **draw(st.sampled_from(REST)),
    }
    return TrainingRun(dataset_size=max(batch, batch * steps / fields["epochs"]), **fields)


@settings(max_examples=100, deadline=None)
@given(run=runs(), data=st.data())
def test_the_answer_fits_a_screen(run: TrainingRun, data: st.DataObject) -> None:
    """Number, range, evidence, formula, what was assumed and what is next, of 15 lines at 80 columns."""
    tuned = None
    if run.peak_lr is not None and data.draw(st.booleans()):
        tuned = run.model_copy(
            update={"dataset_size": run.dataset_size * 3, "weight_decay": 0.2, "convention": "pytorch"}
        )
    try:
        rule = data.draw(
            st.sampled_from([None, None, "fixed", "retention" if run.task != "pretraining" else "run-fraction"])
        )
        advice = advise(run, None if tuned else rule, reference=tuned)
    except SpecError:
        return  # such as a timescale below one step
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        lines = render(advice).splitlines()
    assert len(lines) <= MOST_LINES
    assert all(len(line) <= 80 for line in lines), lines
    labels = [line[2:13].strip() for line in lines[1:]]
    assert {"how sure", "why", "assumed", "next"} <= set(labels)
    if isinstance(advice, Recommendation):
        value, ends = advice.weight_decay, advice.weight_decay_range
        if advice.doubt is None and advice.rule != "kept":
            assert f"weight decay {format_significant(value)}" in lines[0]
            assert " to ".join(map(format_significant, ends)) in lines[0]
    if math.isclose(run.width_ratio, 1) and advice.doubt is None and isinstance(advice, Recommendation):
        assert "decays" in labels
