"""What a calibration has done since it was started, in numbers: counts, time, cost, and the lowest loss."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from adamw_scale.spec.measurement import ProbeConfig, ProbeResult, flops_of
from adamw_scale.training.tasks.task import Progress

ENOUGH_TO_TELL = 0.1  # probes that must have been trained before the rest is foretold


@dataclass
class Running:
    """A probe in training: how far it is, and its (step, training loss) so far."""

    config: ProbeConfig
    step: int = 0
    steps: int = 1
    curve: list[tuple[int, float]] = field(default_factory=list)

    def hear(self, news: Progress) -> None:
        """Take in news; where training went back to an earlier step, so does the curve."""
        self.curve = [point for point in self.curve if point[0] < news.step] + [(news.step, news.loss)]
        self.step, self.steps = news.step, news.steps

    @property
    def losses(self) -> Sequence[float]:
        """Training losses, oldest first."""
        return [loss for _, loss in self.curve]


@dataclass
class Session:
    """Counts what a calibration reports; `done` of about `likely` probes are known, also from earlier sessions.

    `seconds` adds up over workers, `operations` are 6·N·D where N is known.
    """

    clock: Callable[[], float] = time.monotonic
    done: int = 0
    likely: int = 0
    device: str = "cpu"
    running: dict[str, Running] = field(default_factory=dict)
    seconds: float = 0.0
    operations: float = 0.0
    lowest: ProbeResult | None = None
    _trained: int = 0
    _started: float | None = None

    def stage(self, configs: Sequence[ProbeConfig], done: int, likely: int) -> None:
        """The next probes are known."""
        self.done, self.likely, self.device = done, max(likely, done + len(configs)), configs[0].device
        self.running = {}
        self._started = self.clock() if self._started is None else self._started

    def progress(self, news: Progress) -> None:
        """A probe got further."""
        self.running.setdefault(news.config.key, Running(news.config)).hear(news)

    def result(self, result: ProbeResult) -> None:
        """A probe has ended."""
        self.running.pop(result.key, None)
        self.done += 1
        self._trained += 1
        self.seconds += result.seconds
        run = result.config.run
        if result.status != "failed":
            self.operations += flops_of(run)
        if result.loss is not None and (self.lowest is None or result.loss < self.lowest.value):
            self.lowest = result

    @property
    def parts(self) -> float:
        """Probes that the running ones add up to."""
        return sum(each.step / max(1, each.steps) for each in list(self.running.values()))

    @property
    def share(self) -> float:
        """Of everything that is likely to be trained, how much has been."""
        return min(1.0, (self.done + self.parts) / max(1, self.likely))

    @property
    def seconds_left(self) -> float | None:
        """Until about `likely` probes are done, at this session's pace; None while that cannot be told."""
        trained = self._trained + self.parts
        if self._started is None or trained < ENOUGH_TO_TELL:
            return None
        return (self.clock() - self._started) / trained * max(0.0, self.likely - self.done - self.parts)
