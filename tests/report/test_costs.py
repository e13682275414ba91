"""What a weight decay costs on a probed run: as planted, and nothing beyond what was probed."""

import math
import re
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from conftest import PlantedEngine

from adamw_scale import calibrate
from adamw_scale.calibration import load_results, probes_of
from adamw_scale.calibration.fitting import basin_of
from adamw_scale.report.costs import cost_of, free_decays
from adamw_scale.spec.measurement import Optimum, ProbeResult, value_of
from adamw_scale.theory.basin import Basin

VALUE = partial(value_of, metric="loss")


class Quiet(PlantedEngine):
    """A basin without noise; training breaks at the shortest timescales."""

    noise: ClassVar[float] = 0.0
    trained: ClassVar[list[str]] = []

    def loss(self, x: float, seed: int) -> float:
        """As planted, or none."""
        return math.inf if x < -5 else super().loss(x, seed)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Optimum, list[ProbeResult], Basin]:
    """A probed run."""
    out = tmp_path_factory.mktemp("calibration")
    calibration = calibrate(out, engine=Quiet)
    own = probes_of(calibration, calibration.optima[0], load_results(out))
    return calibration.optima[0], own, basin_of(own, VALUE)


def decay(optimum: Optimum, x: float) -> float:
    """λ of a timescale in octaves of the run."""
    return 1 / (optimum.run.lr * optimum.run.timescale(run=2.0**x).iters)


def said(measured: tuple[Optimum, list[ProbeResult], Basin], x: float) -> str:
    """What is said of the λ of a timescale."""
    optimum, own, basin = measured
    return cost_of(decay(optimum, x), optimum, own, VALUE, basin, "loss")


@pytest.mark.parametrize(("x", "how"), [(-2.0, "by the fit"), (0.0, "as probed"), (1.0, "between the probes of λ")])
def test_a_cost_is_the_planted_one(measured: tuple[Optimum, list[ProbeResult], Basin], x: float, how: str) -> None:
    """Above the lowest loss and as a share of it, with where it was read from."""
    says = said(measured, x)
    assert how in says
    found = re.search(r"costs (\S+) more than the best \((\S+) %", says)
    assert found, says
    planted = {y: Quiet.loss(Quiet(None, 1, {}), y, 0) for y in (0.0, 2.0, -2.0)}  # type: ignore[arg-type]
    there = planted.get(x, (planted[0.0] + planted[2.0]) / 2)
    above = there - Quiet.loss(Quiet(None, 1, {}), Quiet.minimum, 0)  # type: ignore[arg-type]
    assert float(found[1]) == pytest.approx(above, abs=0.005)
    assert float(found[2]) == pytest.approx(100 * above / 2.3, rel=0.2, abs=0.2)


def test_nothing_is_extrapolated(measured: tuple[Optimum, list[ProbeResult], Basin]) -> None:
    """Beyond the last probe, and beside probes that diverged, no cost is claimed."""
    assert "is beyond what was probed, λ " in said(measured, 8.0)
    assert "beyond what was probed" in said(measured, -9.0)
    assert "diverged" in said(measured, -5.5)
    for x in (8.0, -9.0, -5.5):
        assert "not known" in said(measured, x)


def test_what_costs_next_to_nothing_is_the_band(measured: tuple[Optimum, list[ProbeResult], Basin]) -> None:
    """Its ends are those within 0.2 % of the planted lowest loss; an end of what was probed is said to be one."""
    optimum, *_ = measured
    found = re.match(r"λ from (\S+) to (\S+) costs no more than 0.2 % of the loss$", free_decays(optimum, "loss"))
    assert found
    least, most = map(float, found.groups())
    engine = Quiet(None, 1, {})  # type: ignore[arg-type]
    best = engine.loss(Quiet.minimum, 0)
    for end in (least, most):
        x = math.log2(optimum.run.timescale_of(end).run)
        assert engine.loss(x, 0) / best - 1 == pytest.approx(0.002, abs=0.0015)
    assert least < optimum.weight_decay < most
    assert optimum.log2_band is not None
    cut = optimum.model_copy(update={"log2_probed": (-6.0, optimum.log2_band[1])})
    assert f"{found[1]} is as far as was probed" in free_decays(cut, "loss")
    unfitted = optimum.model_copy(update={"noise": None})
    assert "too few probes" in free_decays(unfitted, "loss")


def test_too_few_probes_cost_nothing_known(measured: tuple[Optimum, list[ProbeResult], Basin], tmp_path: Path) -> None:
    """Without a fit there is no lowest loss to compare with."""
    optimum, own, _ = measured
    few = own[:3]
    assert "too few probes" in cost_of(0.1, optimum, few, VALUE, basin_of(few, VALUE), "loss")
