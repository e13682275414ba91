"""Optima that this project measured itself, on small trainings: how they move with data, epochs, batch, lr and width.

`measured_optima.csv` has one row per basin; tests/benchmarks/surfaces.py and heldout.py train them. Held-out loss, at
least three seeds each, schedule linear to zero after a short warm-up.
"""

from dataclasses import dataclass

from adamw_scale.evidence.table import read_table
from adamw_scale.spec.run import Timescale, TrainingRun

_RUN_FIELDS = ("unit", "num_params", "dataset_size", "epochs", "batch_size", "peak_lr", "width")


@dataclass(frozen=True)
class MeasuredOptimum:
    """A basin's minimum: of which training and run, log2 tau as a fraction of the run, and its standard deviation."""

    source: str
    run: TrainingRun
    log2_tau: float
    log2_deviation: float

    @property
    def timescale(self) -> Timescale:
        """The best timescale."""
        return self.run.timescale(run=2.0**self.log2_tau)


def measured_optima() -> tuple[MeasuredOptimum, ...]:
    """All of them, in the order of the table."""
    return read_table("measured_optima.csv", _measured_optimum)


def _measured_optimum(row: dict[str, str]) -> MeasuredOptimum:
    return MeasuredOptimum(
        source=f"this project, {row['training']}",
        run=TrainingRun.model_validate({name: row[name] for name in _RUN_FIELDS}),
        log2_tau=float(row["log2_tau_run"]),
        log2_deviation=float(row["log2_deviation"]),
    )
