"""Published optima: what the rules were taken from, and how often the ranges cover them."""

import math
import statistics
from typing import Any

import pytest

from adamw_scale import recommend
from adamw_scale.evidence import measured_optima, tuned_optima
from adamw_scale.law import fitted
from adamw_scale.law.fitting import LAW_POINTS, evidence, left_out
from adamw_scale.rules import RULES
from adamw_scale.rules.tau_epoch_data_limited import TauEpochDataLimited


def test_table_is_read_with_sources() -> None:
    """Every row is a possible run with a tuned decay, a grid and a source."""
    optima = tuned_optima()
    assert len(optima) == 49
    assert all(optimum.source and optimum.grid and optimum.timescale.iters > 1 for optimum in optima)


def test_own_optima_are_read() -> None:
    """Every basin of this project's own has a training's name, its run and how well it is known."""
    optima = measured_optima()
    assert len(optima) + len(tuned_optima()) == fitted.OPTIMA
    assert all(optimum.source.startswith("this project, ") and optimum.log2_deviation > 0 for optimum in optima)
    assert all(math.log2(optimum.timescale.run) == pytest.approx(optimum.log2_tau) for optimum in optima)


def test_data_limited_constant_is_kims_geometric_mean() -> None:
    """16 optima of 2509.14786: λ spans 32x, tau in epochs 2.7x, geometric mean 0.29, sd 0.49 octave."""
    kim = [optimum for optimum in tuned_optima() if "2509.14786" in optimum.source]
    epochs = [optimum.timescale.epochs for optimum in kim]
    decays = [optimum.run.current_weight_decay for optimum in kim]
    assert len(kim) == 16
    assert max(decays) / min(decays) == pytest.approx(32)
    assert max(epochs) / min(epochs) == pytest.approx(2.67, abs=0.01)
    assert statistics.geometric_mean(epochs) == pytest.approx(0.29, abs=0.005)
    assert statistics.stdev(math.log2(value) for value in epochs) == pytest.approx(0.49, abs=0.02)
    assert TauEpochDataLimited().tau_epoch == pytest.approx(statistics.geometric_mean(epochs), rel=0.05)


@pytest.mark.parametrize(("known", "least"), [(tuned_optima, 0.7), (measured_optima, 0.8)])
def test_ranges_hold_what_the_law_was_fitted_to(known: Any, least: float) -> None:
    """80 % ranges hold 7 of 10 published optima at least, and 8 of 10 of this project's own."""
    inside = []
    for optimum in known():
        low, high = recommend(optimum.run).weight_decay_range
        inside.append(low <= 1 / (optimum.timescale.iters * optimum.run.lr) <= high)
    assert least <= statistics.mean(inside)


def test_the_law_says_how_often_ranges_hold_optima_of_sources_that_were_left_out() -> None:
    """The share in the law's certainty is what leaving out source by source gives, and it counts all the evidence."""
    law = RULES["law"]()
    apart = [each for each in left_out(evidence()) if each.source not in LAW_POINTS]
    optima = sum(each.optima for each in apart)
    assert optima == len(tuned_optima()) + len(measured_optima())
    assert f"left out of the fit {100 * sum(each.inside for each in apart) / optima:.0f} %" in law.certainty
    assert f"{optima} optima of {len(apart)} sources" in law.source
