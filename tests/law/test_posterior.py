"""The law: without cliffs, and what a user's own optima do to it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale.advisor import recommend
from adamw_scale.law import fitted
from adamw_scale.law.features import NAMES, features_of
from adamw_scale.law.posterior import Observation, Posterior
from adamw_scale.spec.run import TrainingRun

LANGUAGE = {"dataset_size": 2e9, "epochs": 4, "batch_size": 2**18, "peak_lr": 1e-3, "num_params": 1e8}


@st.composite
def runs(draw: st.DrawFn) -> TrainingRun:
    """Language models and others, half a pass to a thousand, at learning rates and batches that are in use."""

    def between(low: float, high: float) -> float:
        return math.exp(draw(st.floats(math.log(low), math.log(high))))

    unit = draw(st.sampled_from(("tokens", "samples")))
    params, width = between(1e6, 1e11), between(128, 16384)
    size = params * between(0.1, 1000) if unit == "tokens" else between(1e4, 1e9)
    epochs = between(0.5, 1000)
    batch = between(2**14, 2**22) if unit == "tokens" else between(32, 8192)
    widths = {"parametrization": "mup", "width": width, "base_width": 256} if draw(st.booleans()) else {"width": width}
    return TrainingRun(
        unit=unit,
        dataset_size=size,
        epochs=epochs,
        batch_size=min(batch, size * min(1.0, epochs) / 50),
        peak_lr=3e-3 * (params / 1.5e8) ** -0.5 * between(0.25, 4) * (width / 256 if len(widths) > 1 else 1),
        num_params=params if unit == "tokens" or draw(st.booleans()) else None,
        **widths,
    )


@given(runs(), st.sampled_from(("epochs", "dataset_size", "num_params", "batch_size", "width")))
def test_there_are_no_cliffs(run: TrainingRun, quantity: str) -> None:
    """5 % more of anything changes λ by less than 12 % beyond what lr * steps does; the ranges overlap by 80 %."""
    if getattr(run, quantity) is None:
        return
    one, two = recommend(run), recommend(run.model_copy(update={quantity: 1.05 * getattr(run, quantity)}))
    assert abs(math.log(one.timescale.run / two.timescale.run)) < math.log(1.12)
    (a, b), (c, d) = (
        [math.log(each.run.timescale_of(end).run) for end in reversed(each.weight_decay_range)] for each in (one, two)
    )
    assert min(b, d) - max(a, c) >= 0.8 * max(b - a, d - c)


def test_a_tuned_run_decides_nearby_and_the_evidence_far_away() -> None:
    """The same run wants what was tuned; one far away wants little else than the law says, and its range is wider."""
    tuned = TrainingRun(**LANGUAGE)
    posterior, law = Posterior([Observation(tuned, -1.0, 0.2)]), Posterior()
    assert abs(posterior.predict(tuned).log2_tau + 1.0) < 0.5 * abs(law.predict(tuned).log2_tau + 1.0)
    far = TrainingRun(**{**LANGUAGE, "num_params": 1e11, "dataset_size": 2e12, "epochs": 1, "peak_lr": 1e-4})
    near, away = (p.deviation for p in (posterior.predict(tuned), posterior.predict(far)))
    assert near < away
    assert abs(posterior.predict(far).log2_tau - law.predict(far).log2_tau) < abs(
        posterior.predict(tuned).log2_tau - law.predict(tuned).log2_tau
    )


@pytest.mark.parametrize(("side", "sign"), [("above", 1), ("below", -1)])
def test_an_edge_is_a_bound(side: str, sign: int) -> None:
    """A bound beyond what the law says moves the answer past it, one that it keeps anyway hardly does."""
    run = TrainingRun(**LANGUAGE)
    law = Posterior().predict(run)
    against = Posterior([Observation(run, law.log2_tau + 2 * sign, 0.3, side)]).predict(run)
    along = Posterior([Observation(run, law.log2_tau - 4 * sign, 0.3, side)]).predict(run)
    assert sign * (against.log2_tau - law.log2_tau) > 1.0
    assert along.log2_tau == pytest.approx(law.log2_tau, abs=0.1)
    assert against.deviation < law.deviation


@given(st.floats(-8, 4), st.floats(0.05, 2), st.sampled_from((None, "above", "below")))
def test_nothing_that_is_learned_makes_less_sure(x: float, deviation: float, bound: str | None) -> None:
    """An observation of a run never widens what is believed of it."""
    run = TrainingRun(**LANGUAGE)
    assert (
        Posterior([Observation(run, x, deviation, bound)]).predict(run).deviation
        <= Posterior().predict(run).deviation + 1e-9
    )


def test_the_features_have_names() -> None:
    """As many as there are constants."""
    features = features_of(TrainingRun(**LANGUAGE))
    assert len(features.values) == len(features.blur) == len(NAMES) == len(fitted.MEAN) == len(fitted.FARNESS)
    assert len(features.where) == len(features.moves) == len(fitted.SLOPES)
