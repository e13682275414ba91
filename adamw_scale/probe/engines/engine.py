"""What an engine provides: the one seam between a calibration and the machines it runs on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, Protocol, Self

from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.spec.run import TrainingRun
from adamw_scale.training.machine import usable_cores, usable_gpus
from adamw_scale.training.tasks.task import Listener, TaskSource

CLUSTER_JOBS = 8  # what a queue or a few nodes take; a cluster that has more is told with --jobs

Cohort = Sequence[ProbeConfig]  # probes that are trained at once


class Engine(Protocol):
    """Runs probes; a context manager, so that whatever it started ends with it.

    Args of the constructor: the task's source; `jobs`, how many cohorts at a time; the engine's own
    options (`--engine-option NAME=VALUE`), of which it refuses those it does not know.
    """

    name: ClassVar[str]

    def __init__(self, source: TaskSource, jobs: int, options: Mapping[str, str]) -> None: ...

    @staticmethod
    def elsewhere(options: Mapping[str, str]) -> bool:
        """Whether it trains on other machines: then the devices and cores of this one say nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def run(self, cohorts: Sequence[Cohort], listener: Listener) -> Iterator[list[ProbeResult]]:
        """Yield the results of each cohort as it is done, in any order.

        Raises:
            ProbeError: a probe could not be run at all.
        """
        ...


def in_cohorts(configs: Sequence[ProbeConfig], limit: Callable[[TrainingRun], int], jobs: int) -> list[Cohort]:
    """Cut probes into what can be trained at once, evenly, so that `jobs` workers all have work.

    No cohort has more probes than `limit` says of their run. The largest come first.
    """
    shapes: dict[tuple[object, ...], list[ProbeConfig]] = {}
    for config in configs:
        shapes.setdefault(config.shape, []).append(config)
    cohorts: list[Cohort] = []
    for alike in shapes.values():
        share = max(1, round(jobs * len(alike) / len(configs)))
        count = min(len(alike), max(share, -(-len(alike) // limit(alike[0].run))))
        cuts = [len(alike) * i // count for i in range(count + 1)]
        cohorts += [alike[start:stop] for start, stop in pairwise(cuts)]
    return sorted(cohorts, key=len, reverse=True)


def first_line(error: BaseException) -> str:
    """What an exception of a library says, for one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def default_jobs(source: TaskSource, device: str, *, elsewhere: bool) -> int:
    """Cohorts at a time: one a GPU or usable core, `CLUSTER_JOBS` elsewhere; one of a command, which may use all."""
    if elsewhere:
        return CLUSTER_JOBS
    if source.name == "command":
        return 1
    return max(1, len(usable_gpus())) if device == "cuda" else usable_cores()
