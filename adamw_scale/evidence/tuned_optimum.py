"""Published settings in which weight decay was tuned: what rules and ranges are held against.

`tuned_optima.csv` has one row per setting, with its source, its search grid and what is uncertain
about it. Timescales are not stored; they follow from the run.
"""

import csv
from dataclasses import dataclass
from importlib.resources import files

from adamw_scale.errors import SpecError
from adamw_scale.evidence.recipe import holds, listed
from adamw_scale.spec.run import Timescale, TrainingRun

WORDS = ("name", "task", "grid", "source", "note")
_RUN_FIELDS = (
    "unit",
    "num_params",
    "dataset_size",
    "epochs",
    "batch_size",
    "peak_lr",
    "weight_decay",
    "schedule",
    "warmup_fraction",
    "final_lr_fraction",
)


@dataclass(frozen=True)
class TunedOptimum:
    """A published run whose weight decay was the best of a search over `grid`."""

    name: str
    task: str
    run: TrainingRun
    grid: str
    source: str
    note: str

    @property
    def timescale(self) -> Timescale:
        """The timescale that the tuned weight decay gives."""
        return self.run.timescale_of(self.run.current_weight_decay)


def tuned_optima(text: str = "") -> tuple[TunedOptimum, ...]:
    """Published tuned optima in the order of the table: all, or those with a text in one of `WORDS`.

    Raises:
        SpecError: none has it.
    """
    with files("adamw_scale.evidence").joinpath("tuned_optima.csv").open(encoding="utf-8") as file:
        optima = tuple(_tuned_optimum(row) for row in csv.DictReader(file))
    found = tuple(optimum for optimum in optima if holds(optimum, WORDS, text))
    if not found:
        raise SpecError(
            f"no tuned setting is left by {text[:60]!r} (searched in {', '.join(WORDS)}): the {len(optima)} have task "
            f"{listed(optimum.task for optimum in optima)}. Change or drop the text"
        )
    return found


def _tuned_optimum(row: dict[str, str]) -> TunedOptimum:
    run = TrainingRun.model_validate({name: row[name] for name in _RUN_FIELDS if row[name]})
    return TunedOptimum(run=run, **{name: row[name] for name in WORDS})
