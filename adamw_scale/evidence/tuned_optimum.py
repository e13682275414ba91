"""Published settings in which weight decay was tuned: what rules and ranges are held against.

`tuned_optima.csv` has one row per setting, with its source, its search grid and what is uncertain
about it. Timescales are not stored; they follow from the run.
"""

from dataclasses import dataclass

from adamw_scale.errors import SpecError
from adamw_scale.evidence.recipe import holds, listed
from adamw_scale.evidence.table import read_table
from adamw_scale.spec.run import Timescale, TrainingRun

WORDS = ("name", "task", "grid", "source", "note")
_RUN_FIELDS = (
    "unit",
    "num_params",
    "dataset_size",
    "epochs",
    "batch_size",
    "peak_lr",
    "optimizer",
    "weight_decay",
    "schedule",
    "warmup_fraction",
    "final_lr_fraction",
    "decay_fraction",
)


@dataclass(frozen=True)
class TunedOptimum:
    """A published run whose weight decay was the best of a search over `grid`.

    `log2_deviation` is how well its optimum is known, a standard deviation in octaves: half a step of the grid, more
    where other hyperparameters were searched jointly, or where the value was read off a figure.
    """

    name: str
    task: str
    run: TrainingRun
    grid: str
    source: str
    note: str
    log2_deviation: float

    @property
    def timescale(self) -> Timescale:
        """The timescale that the tuned weight decay gives."""
        return self.run.timescale_of(self.run.current_weight_decay)


def tuned_optima(text: str = "") -> tuple[TunedOptimum, ...]:
    """Published tuned optima in the order of the table: all, or those with a text in one of `WORDS`.

    Raises:
        SpecError: none has it.
    """
    optima = read_table("tuned_optima.csv", _tuned_optimum)
    found = tuple(optimum for optimum in optima if holds(optimum, WORDS, text))
    if not found:
        raise SpecError(
            f"no tuned setting is left by {text[:60]!r} (searched in {', '.join(WORDS)}): the {len(optima)} have task "
            f"{listed(optimum.task for optimum in optima)}. Change or drop the text"
        )
    return found


def _tuned_optimum(row: dict[str, str]) -> TunedOptimum:
    run = TrainingRun.model_validate({name: row[name] for name in _RUN_FIELDS if row[name]})
    return TunedOptimum(run=run, log2_deviation=float(row["log2_deviation"]), **{name: row[name] for name in WORDS})
