"""What a tracker provides, and the words it is given: how a probe's result is named in any of them."""

from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from adamw_scale.errors import MissingExtraError
from adamw_scale.spec.measurement import ProbeResult
from adamw_scale.units import format_significant

PROJECT = "adamw-scale"  # of runs whose project the user's environment does not name
TRAINING_LOSS = "train/loss"


class Tracker(Protocol):
    """Writes results of probes where people already look at runs, one run per probe.

    A context manager; opening refuses plainly what cannot work, such as a missing login. All its
    methods but the constructor are called in one thread, which need not be the main one.

    Args of the constructor: the calibration folder, and a name for all of its runs.
    """

    name: ClassVar[str]

    def __init__(self, folder: Path, name: str) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def place(self) -> str:
        """One phrase for people: where the runs are found. Asked for once it is open."""
        ...

    def result(self, result: ProbeResult) -> None:
        """Write one probe's run, to its end; any exception ends the tracking."""
        ...


def library(module: str, package: str, tracker: str) -> Any:
    """A tracker's library, loaded where it is needed; the extra has the tracker's name.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtraError(package, tracker, f"--track {tracker}") from None


class TrackedRun:
    """A probe as a run of a tracker: in the words in which every tracker is told of it.

    Attributes:
        name: Such as "seed 0 tau 25%", the timescale as a share of the run.
        settings: What tells it from the others; decay in PyTorch's convention, tau_run of the run, tau_iters in steps.
        outcome: Its status, and why it failed if it did.
        curve: (step, training loss).
        final: What was measured on held-out data, and the seconds that training took.
        last_step: Where the final values belong: the last step of the run, or of the curve where that is further.
    """

    def __init__(self, result: ProbeResult) -> None:
        config, run = result.config, result.config.run
        tau = run.timescale_of(run.current_weight_decay)
        self.name = f"seed {config.seed} tau {format_significant(100 * 2.0**config.log2_tau)}%"
        self.settings: dict[str, str | int | float] = {
            "lr": run.lr,
            "weight_decay": run.current_weight_decay,
            "tau_run": tau.run,
            "tau_iters": tau.iters,
            "seed": config.seed,
            "task": config.task.get("name", ""),
            "key": config.key,
        }
        self.outcome: dict[str, str] = {"status": result.status, **({"reason": result.reason} if result.reason else {})}
        self.curve = result.curve
        measured = {**result.metrics, **({} if result.loss is None else {"loss": result.loss})}
        held_out = {f"held_out/{name}": value for name, value in measured.items()}
        self.final: dict[str, float] = {**held_out, "seconds": result.seconds}
        self.last_step = max([round(run.total_steps), *(step for step, _ in result.curve)])
