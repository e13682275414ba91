"""Folders with far more probes than a calibration makes, and with none that trained."""

import random
from pathlib import Path
from typing import Any

import pytest
from conftest import Command

from adamw_scale.calibration import PROBES_FILE
from adamw_scale.calibration.fitting import MOST_FITTED, fit_stored, thinned
from adamw_scale.probe.exchange import import_csv
from adamw_scale.report import write_report
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult

RUN: dict[str, Any] = {"unit": "samples", "dataset_size": 1e5, "batch_size": 100, "epochs": 4, "peak_lr": 1e-3}


def imported(folder: Path, *, timescales: int, seeds: int) -> Path:
    """Probes of one basin, lowest at 2 octaves from the middle."""
    noise = random.Random(0)
    rows = [
        f"{2 ** (6 * i / timescales - 4)},{2 + (6 * i / timescales - 3) ** 2 / 10 + noise.gauss(0, 0.003)},{seed}"
        for seed in range(seeds)
        for i in range(timescales)
    ]
    (folder / "runs.csv").write_text("\n".join(["weight_decay,loss,seed", *rows]))
    import_csv(folder / "runs.csv", folder, RUN)
    return folder


@pytest.mark.parametrize(("timescales", "seeds"), [(12, 150), (1500, 1), (60, 30)])
def test_a_fit_of_many_probes_is_bounded_and_says_so(tmp_path: Path, timescales: int, seeds: int) -> None:
    """Its answer is that of all; time and memory are those of MOST_FITTED."""
    said: list[str] = []
    optimum = fit_stored(imported(tmp_path, timescales=timescales, seeds=seeds), said.append).optima[0]
    assert optimum.status == "located"
    assert optimum.weight_decay == pytest.approx(0.5, rel=0.15)
    assert f"{timescales * seeds} probes: {MOST_FITTED} at most are fitted" in " ".join(said)


def test_a_report_of_many_probes_stays_small(tmp_path: Path) -> None:
    """Not every probe is listed, and the page says so."""
    fit_stored(imported(tmp_path, timescales=12, seeds=100))
    page = write_report(tmp_path)
    assert page.stat().st_size < 2 << 20
    assert "200 more are in probes.jsonl" in page.read_text()


def test_what_is_fitted_of_many_does_not_depend_on_their_order() -> None:
    """Whole seeds, those that have most first, evenly spread where one alone is too much; few are all kept."""

    def probe(seed: int, number: int) -> ProbeResult:
        run = {**RUN, "weight_decay": 0.01 * 1.01**number}
        config = ProbeConfig.model_validate({"task": {"name": "x"}, "run": run, "seed": seed})
        return ProbeResult(key=config.key, config=config, status="done", loss=2.0, seconds=0.0)

    many = [probe(seed, number) for seed, count in ((0, 3), (1, 200), (2, 500)) for number in range(count)]
    kept = thinned(many)
    assert len(kept) == MOST_FITTED
    assert {result.config.seed for result in kept} == {2}
    assert {result.config.log2_tau for result in kept} >= {many[203].config.log2_tau, many[-1].config.log2_tau}
    shuffled = [*many]
    random.Random(0).shuffle(shuffled)
    assert thinned(shuffled) == kept
    assert thinned(many[:100]) == many[:100]


def test_where_every_probe_diverged_that_is_said(adamw_scale: Command, tmp_path: Path) -> None:
    """A loss that is not there is not flat."""
    rows = [f"{0.01 * 2**x},nan,{seed}" for x in range(7) for seed in range(2)]
    (tmp_path / "runs.csv").write_text("\n".join(["weight_decay,loss,seed", *rows]))
    import_csv(tmp_path / "runs.csv", tmp_path, RUN)
    outcome = adamw_scale("calibrate", "--out", str(tmp_path), "--fit-only")
    assert outcome.code == 1
    assert "every probe diverged" in outcome.out
    assert "flat" not in outcome.out + outcome.err
    assert "diverged" in (tmp_path / "report.html").read_text().partition("No optimum was located")[2][:60]
    assert (tmp_path / PROBES_FILE).exists()
