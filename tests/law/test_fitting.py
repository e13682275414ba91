"""The law's fit: the stored constants, sources that were left out, what a miss costs, rows that cannot be read."""

import math
from collections.abc import Callable
from importlib.resources import files

import numpy as np
import pytest

from adamw_scale.errors import SpecError
from adamw_scale.evidence import swept_losses, table, tuned_optima
from adamw_scale.law import fitted
from adamw_scale.law.cost import cost_of
from adamw_scale.law.features import features_of
from adamw_scale.law.fitting import LAW_POINTS, Cell, cells, cost, evidence, fit, left_out, standings
from adamw_scale.law.nearness import nearest
from adamw_scale.rules.power_lines import PowerLines
from adamw_scale.spec.run import TrainingRun


def test_the_stored_constants_are_the_fit() -> None:
    """Refitting the evidence gives what is stored, to the digits that are."""
    seen = evidence()
    again = fit(seen)
    assert np.allclose(fitted.MEAN, again.mean, rtol=1e-4, atol=1e-6)
    assert np.allclose(fitted.COVARIANCE, again.covariance, rtol=1e-3, atol=1e-6)
    assert np.allclose(fitted.COST, cost(cells(swept_losses())), rtol=1e-3)
    assert [tau for _, tau, _ in fitted.EVIDENCE] == pytest.approx([each.log2_tau for each in seen], rel=1e-3)
    assert {name: each.optima for name, each in standings(seen).items()} == {
        name: optima for name, (optima, _) in fitted.STANDINGS.items()
    }
    apart = [each for each in left_out(seen) if each.source not in LAW_POINTS]
    assert [(each.source, each.inside, each.optima) for each in apart] == [row[:3] for row in fitted.LEFT_OUT]
    assert [each.bias for each in apart] == pytest.approx([row[3] for row in fitted.LEFT_OUT], abs=6e-4)


def test_left_out_sources_lie_in_their_intervals() -> None:
    """80 % intervals of left-out sources hold 75 to 90 % of their optima, among language models and in all."""
    seen = evidence()
    found = [each for each in left_out(seen) if each.source not in ("power-lines", "steplaw-refit", "run-fraction")]
    speak = {each.source for each in seen if each.run.unit == "tokens" and (each.run.num_params or 0) > 1e7}
    for some in (found, [each for each in found if each.source in speak]):
        assert 0.75 <= sum(each.inside for each in some) / sum(each.optima for each in some) <= 0.9


def test_kims_optima_are_met() -> None:
    """16 of arXiv:2509.14786: within an octave on average where they were left out, within .6 where they were not."""
    (kim,) = [each for each in left_out(evidence()) if "2509.14786" in each.source]
    assert kim.optima == 16
    assert kim.mean_error <= 1.0
    own = [each for each in evidence() if "2509.14786" in each.source]
    errors = [abs(each.log2_tau - np.dot(features_of(each.run).values, fitted.MEAN)) for each in own]
    assert np.mean(errors) <= 0.6


def _regret(found: list[Cell], said: Callable[[TrainingRun], float]) -> float:
    """Mean loss above the lowest, in nats, of a way to say log2 tau."""
    return float(np.mean([c.curvature * c.lowest * (said(c.run) - c.log2_tau) ** 2 for c in found]))


def test_regret_on_a_sweep_that_was_left_out() -> None:
    """On CS312's runs the law that never saw them costs less than .003 nats on average, Power Lines more."""
    found = cells(swept_losses())
    assert len(found) >= 10
    mean = fit([each for each in evidence() if "CS312" not in each.source]).mean
    law = _regret(found, lambda run: float(np.dot(features_of(run).values, mean)))
    published = _regret(found, lambda run: math.log2(PowerLines().target_timescale(run).run))
    assert law < 0.003
    assert law < published


def test_what_a_miss_costs() -> None:
    """Within a factor 2 of every swept run's own curvature; a quarter at half the distance; None elsewhere."""
    found = cells(swept_losses())
    for cell in found:
        said = cost_of(cell.run, 1.0)
        assert said is not None
        assert 0.5 < said / cell.curvature < 2
    run = found[0].run
    assert cost_of(run, 0.5) == pytest.approx((cost_of(run, 1.0) or 0) / 4)
    for other in ({"epochs": 4.0}, {"unit": "samples"}, {"dataset_size": 1e13}, {"num_params": None}):
        assert cost_of(run.model_copy(update=other), 1.0) is None


def test_the_nearest_evidence_is_that_of_the_run_itself() -> None:
    """An optimum that is in the evidence is no octave away, and language never counts as near to images."""
    for optimum in tuned_optima():
        near = nearest(optimum.run)
        assert near[0].octaves == pytest.approx(0.0, abs=0.05)
        assert [each.octaves for each in near] == sorted(each.octaves for each in near)
    images = nearest(TrainingRun(unit="samples", dataset_size=5e4, batch_size=128, epochs=100), 20)
    assert not {"power-lines", "Stanford CS312 students"} & {each.source for each in images}


def test_a_row_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """By table, line and first cell; the fit does not go on without it."""

    class Spoiled:
        def joinpath(self, name: str) -> object:
            path = files("adamw_scale.evidence").joinpath(name)
            text = path.read_text(encoding="utf-8").replace("600m4k", "600m4k", 1).replace(",0.001,", ",fast,", 1)
            copy = tmp_path / name  # type: ignore[operator]
            copy.write_text(text, encoding="utf-8")
            return copy

    monkeypatch.setattr(table, "files", lambda package: Spoiled())
    with pytest.raises(SpecError, match=r"tuned_optima\.csv, line 4 \(600m4k\): .*fast"):
        evidence()
