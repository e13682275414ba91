"""What a probe task provides, and what it hears and says."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.spec.run import TrainingRun
from adamw_scale.training.options import refuse_unknown


@dataclass(frozen=True)
class TaskSource:
    """How to construct a task wherever a probe runs: plain values that travel as JSON.

    `name` is one of `TASKS` or "package.module:attribute"; `data` the path of the user's data;
    `options` what else the task takes, such as the command; `folder` that of the calibration, for
    checkpoints and logs.
    """

    name: str
    data: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None

    def only(self, *known: str) -> None:
        """Refuse options that the task does not know."""
        refuse_unknown(f"task {self.name}", self.options, known)


@dataclass(frozen=True)
class Progress:
    """News of a probe in training: steps done of all, and the training loss."""

    config: ProbeConfig
    step: int
    steps: int
    loss: float


Listener = Callable[[Progress], None]


class Task(Protocol):
    """Something that can train probes.

    Engines know no more of a task than this. Networks of torch derive from
    `tasks.network.NetworkTask` and leave the training to it.
    """

    name: ClassVar[str]

    def __init__(self, source: TaskSource) -> None: ...

    def default_run(self, overrides: dict[str, Any]) -> TrainingRun:
        """The run a probe makes, with the user's changes; SpecError for what this task cannot train."""
        ...

    def identity(self, run: TrainingRun) -> dict[str, str]:
        """Name and version of the task and hash of the data a run would use; part of a probe's key."""
        ...

    def describe_data(self, run: TrainingRun) -> str:
        """One phrase for people: how much of what is trained on."""
        ...

    def require_device(self, device: str) -> None:
        """ProbeError where this machine cannot train on that device."""
        ...

    def cohort_limit(self, run: TrainingRun, device: str) -> int:
        """How many probes are worth training at once in one process; 1 where that does not pay."""
        ...

    def train(self, configs: Sequence[ProbeConfig], listener: Listener) -> list[ProbeResult]:
        """Train probes that differ in learning rate, weight decay, betas or seed only, to their end.

        The same configuration gives the same result, whatever it is trained beside.

        Raises:
            ProbeError: a probe cannot be run at all (one that diverged or failed is a result).
        """
        ...
