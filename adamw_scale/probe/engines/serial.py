"""One cohort of probes after the other, in this process."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Self

from adamw_scale.probe.engines.engine import Cohort
from adamw_scale.spec.measurement import ProbeResult
from adamw_scale.training.options import refuse_unknown
from adamw_scale.training.tasks import load_task
from adamw_scale.training.tasks.task import Listener, TaskSource


class SerialEngine:
    """The reference: no processes, no order but the given one. `jobs` is ignored."""

    name: ClassVar[str] = "serial"

    def __init__(self, source: TaskSource, jobs: int, options: Mapping[str, str]) -> None:
        refuse_unknown(f"engine {self.name}", options)
        self.task = load_task(source)

    @staticmethod
    def elsewhere(options: Mapping[str, str]) -> bool:
        """It trains in this process."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, cohorts: Sequence[Cohort], listener: Listener) -> Iterator[list[ProbeResult]]:
        """Train each cohort in turn."""
        for cohort in cohorts:
            yield self.task.train(cohort, listener)
