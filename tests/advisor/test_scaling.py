"""Optima at several scales: the published law as the prior, and what they say against it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale import TrainingRun
from adamw_scale.advisor.scaling import SCATTER, ScalingFit, fours_between, left_out
from adamw_scale.rules.constant_tau_epoch import ConstantTauEpoch
from adamw_scale.spec.measurement import Optimum

BASE = TrainingRun(dataset_size=16384, batch_size=128, epochs=16, peak_lr=4e-3, num_params=33152, width=64)


def optimum(tau_epoch: float, half: float = 0.05, **changes: float) -> Optimum:
    """A located optimum of the base run with changes."""
    run = TrainingRun.model_validate({**BASE.model_dump(), **changes})
    x = math.log2(run.timescale(epochs=tau_epoch).run)
    return Optimum(run=run, timescale_run=2.0**x, log2_interval=(x - half, x + half), status="located")


def at(**changes: float) -> TrainingRun:
    """The base run with changes."""
    return TrainingRun.model_validate({**BASE.model_dump(), **changes})


def test_one_optimum_leaves_the_prior() -> None:
    """Nothing moved, so nothing is learnt about slopes: they lie in the middle of what was seen against the law."""
    fit = ScalingFit.of(ConstantTauEpoch(), [optimum(4.3)])
    assert fit.measured == ()
    assert 2.0 ** fit.predict(at()).log2_tau * 16 == pytest.approx(4.3, rel=1e-3)
    low, high = ConstantTauEpoch.drift["data set"]
    moved = fit.predict(at(dataset_size=65536)).log2_tau - fit.predict(at()).log2_tau
    assert moved == pytest.approx((low + high) / 2)


@given(slope=st.floats(-1.2, 0.6), factor=st.sampled_from([4.0, 16.0]), far=st.sampled_from([4.0, 64.0]))
def test_data_overrule_the_law(slope: float, factor: float, far: float) -> None:
    """Two sharp optima that disagree with the law: the slope is learnt, drawn towards the prior, and extrapolated."""
    low, high = ConstantTauEpoch.drift["data set"]
    prior = (low + high) / 2
    moved = 4.3 * 2.0 ** (slope * math.log(factor, 4))
    fit = ScalingFit.of(ConstantTauEpoch(), [optimum(4.3), optimum(moved, dataset_size=16384 * factor)])
    assert fit.measured == ("data set",)
    mean, deviation = fit.slopes["data set"]
    assert min(prior, slope) - 0.01 <= mean <= max(prior, slope) + 0.01
    assert deviation < (high - low) / 2
    predicted = fit.predict(at(dataset_size=16384 * factor * far))
    exact = math.log2(4.3 / 16) + slope * math.log(factor * far, 4)
    assert abs(predicted.log2_tau - exact) <= 4 * predicted.deviation


def test_the_interval_grows_with_the_distance() -> None:
    """The further a run is from the optima, the less is known; nowhere less than one scale scatters."""
    fit = ScalingFit.of(ConstantTauEpoch(), [optimum(4.3), optimum(4.0, dataset_size=65536)])
    deviations = [fit.predict(at(dataset_size=65536 * 4.0**k)).deviation for k in range(5)]
    assert deviations == sorted(deviations)
    assert deviations[0] > SCATTER


def test_more_optima_are_surer() -> None:
    """A third scale on the same line narrows the slope."""
    two = [optimum(4.3), optimum(4.0, dataset_size=65536)]
    three = [*two, optimum(3.72, dataset_size=262144)]
    of = ConstantTauEpoch()
    assert ScalingFit.of(of, three).slopes["data set"][1] < ScalingFit.of(of, two).slopes["data set"][1]


def test_unsure_optima_weigh_less() -> None:
    """A wide interval moves the slope less than a narrow one."""
    sharp = [optimum(4.3), optimum(2.0, dataset_size=65536)]
    unsure = [optimum(4.3), optimum(2.0, half=1.5, dataset_size=65536)]
    of = ConstantTauEpoch()
    prior = sum(of.drift["data set"]) / 2
    from_prior = [abs(ScalingFit.of(of, each).slopes["data set"][0] - prior) for each in (unsure, sharp)]
    assert from_prior[0] < from_prior[1]


def test_the_order_of_optima_does_not_matter() -> None:
    """One measurement at a time is all at once, but for where the shift is counted from."""
    optima = [optimum(4.3), optimum(3.5, dataset_size=65536), optimum(5.0, width=128, num_params=90000)]
    target = at(dataset_size=262144, width=256)
    first, last = (ScalingFit.of(ConstantTauEpoch(), each).predict(target) for each in (optima, optima[::-1]))
    assert first.log2_tau == pytest.approx(last.log2_tau, abs=0.02)
    assert first.deviation == pytest.approx(last.deviation, rel=0.05)


def test_what_was_left_out_is_predicted_from_the_rest() -> None:
    """Each optimum beside the others' prediction, which does not know it."""
    optima = [optimum(4.3), optimum(4.0, dataset_size=65536), optimum(9.0, dataset_size=262144)]
    checks = left_out(ConstantTauEpoch(), optima)
    assert [check[0] for check in checks] == optima
    assert 2.0 ** checks[2][1].log2_tau * 16 < 4.5
    assert left_out(ConstantTauEpoch(), optima[:1]) == []


def test_quantities_are_those_that_move_an_optimum() -> None:
    """Data, epochs, batch, width, and lr at its width: lr ~ 1/width leaves a run where it is."""
    moves = fours_between(at(dataset_size=65536, width=256, peak_lr=1e-3), BASE)
    assert moves == pytest.approx({"data set": 1, "epochs": 0, "batch": 0, "width": 1, "lr": 0})
