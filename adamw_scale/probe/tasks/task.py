"""What a probe task provides."""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from adamw_scale.probe.plan import ProbeConfig, ProbeResult
from adamw_scale.spec import TrainingRun

Progress = Callable[[int, int, float], None]  # steps done, steps in all, training loss


class Task(Protocol):
    """Something that can train probes; constructed from the user's data path, or None for the default.

    Engines know no more of a task than this. Tasks that are a torch module and a loss derive from
    `probe.trainer.TorchTask` and leave the training to it.
    """

    name: ClassVar[str]

    def __init__(self, data: str | None) -> None: ...

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

    def train(self, config: ProbeConfig, progress: Progress) -> ProbeResult:
        """Train one probe to its end; the same configuration gives the same result.

        Raises:
            ProbeError: the probe cannot be run at all (a diverged one is a result).
        """
        ...
