"""One probe after the other, in this process."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

from adamw_scale.probe import TASKS
from adamw_scale.probe.engines.engine import Listener, Progress, TaskSource
from adamw_scale.probe.plan import ProbeConfig, ProbeResult


class SerialEngine:
    """The reference: no processes, no order but the given one. `jobs` is ignored."""

    name: ClassVar[str] = "serial"

    def __init__(self, source: TaskSource, jobs: int) -> None:
        self.task = TASKS[source.name](source.data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, configs: Sequence[ProbeConfig], listener: Listener) -> Iterator[ProbeResult]:
        """Train each configuration in turn."""
        for config in configs:

            def report(step: int, steps: int, loss: float, config: ProbeConfig = config) -> None:
                listener(Progress(config, step, steps, loss))

            yield self.task.train(config, report)
