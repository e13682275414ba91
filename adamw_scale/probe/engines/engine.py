"""What an engine provides: the one seam between a calibration and the machines it runs on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from adamw_scale.probe.plan import ProbeConfig, ProbeResult


@dataclass(frozen=True)
class TaskSource:
    """How to construct the task wherever a probe runs: its name and the path of the user's data."""

    name: str
    data: str | None


@dataclass(frozen=True)
class Progress:
    """A running probe's news: steps done of all, and the training loss."""

    config: ProbeConfig
    step: int
    steps: int
    loss: float


Listener = Callable[[Progress], None]


class Engine(Protocol):
    """Runs probes; a context manager, so that whatever it started ends with it."""

    name: ClassVar[str]

    def __init__(self, source: TaskSource, jobs: int) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def run(self, configs: Sequence[ProbeConfig], listener: Listener) -> Iterator[ProbeResult]:
        """Yield each probe's result as it is done, in any order.

        Raises:
            ProbeError: a probe could not be run at all.
        """
        ...
