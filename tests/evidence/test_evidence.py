"""Published optima: what the rules were taken from, and how often the ranges cover them."""

import math
import re
import statistics
from pathlib import Path

import pytest

from adamw_scale import recommend
from adamw_scale.evidence import TunedOptimum, tuned_optima
from adamw_scale.rules import RULES, regime
from adamw_scale.rules.power_lines import PowerLines
from adamw_scale.rules.regimes import Regime
from adamw_scale.rules.tau_epoch_data_limited import TauEpochDataLimited
from adamw_scale.spec.run import TrainingRun

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_table_is_read_with_sources() -> None:
    """Every row is a possible run with a tuned decay, a grid and a source."""
    optima = tuned_optima()
    assert len(optima) == 29
    assert all(optimum.source and optimum.grid and optimum.timescale.iters > 1 for optimum in optima)


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


def _covered(optimum: TunedOptimum) -> bool:
    low, high = recommend(optimum.run).weight_decay_range
    return low <= optimum.run.current_weight_decay <= high


def test_readme_says_how_often_ranges_cover_published_optima() -> None:
    """The table in the README is what the code gives, regime by regime."""
    counted: dict[str, list[bool]] = {}
    for optimum in tuned_optima():
        counted.setdefault(regime(optimum.run).name, []).append(_covered(optimum))
    for name, covered in counted.items():
        row = re.search(rf"\| {re.escape(name)} \| (\d+) of (\d+) \|", README)
        assert row, f"README has no row for {name}: {sum(covered)} of {len(covered)}"
        assert (int(row[1]), int(row[2])) == (sum(covered), len(covered))
    assert sum(map(sum, counted.values())) > 0.8 * len(tuned_optima())


# What the ranges take from published optima beyond the rules' own constants: Power Lines' spread was widened
# from the scatter of its fit, 1.7, to hold these.
SCATTER_OF_POWER_LINES, WIDENED_FOR = 1.7, "2509.02046"


def _source(optimum: TunedOptimum) -> str:
    """The arXiv id, or the name where there is none."""
    found = re.search(r"\d{4}\.\d{5}", optimum.source)
    return found[0] if found else optimum.source.split("/")[0]


def _covered_without_its_source(optimum: TunedOptimum, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the range holds the tuned value when every rule and width that was made from its source is left out."""
    source = _source(optimum)

    def without(run: TrainingRun) -> Regime:
        kind = regime(run)
        kept = [name for name in (kind.default, *kind.competitors) if source not in RULES[name].built_from]
        return kind._replace(default=kept[0], competitors=tuple(kept[1:]))

    with monkeypatch.context() as patch:
        patch.setattr("adamw_scale.advisor.advice.regime", without)
        if source == WIDENED_FOR:
            patch.setattr(PowerLines, "spread", SCATTER_OF_POWER_LINES)
        return _covered(optimum)


def test_readme_says_how_often_ranges_cover_optima_they_were_not_built_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave one source out: the rules made from it are dropped, the next competitor speaks."""
    counted: dict[str, list[bool]] = {}
    for optimum in tuned_optima():
        counted.setdefault(_source(optimum), []).append(_covered_without_its_source(optimum, monkeypatch))
    for source, covered in counted.items():
        row = re.search(rf"\| [^|]*{re.escape(source)}[^|]* \| (\d+) of (\d+) \|", README)
        assert row, f"README has no row for {source}: {sum(covered)} of {len(covered)}"
        assert (int(row[1]), int(row[2])) == (sum(covered), len(covered))
    total = sum(map(sum, counted.values()))
    assert f"{total} of {len(tuned_optima())} left out" in README
