"""What a calibration looks like while it runs, on standard error."""

import math
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TextIO, cast

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from adamw_scale.calibration import Watcher
from adamw_scale.cli.sparklines import ASCII, BLOCKS, sparkline
from adamw_scale.cli.text import Unheard
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult, flops_of
from adamw_scale.spec.run import TrainingRun
from adamw_scale.training.tasks import task
from adamw_scale.units import format_percent, format_significant, printable

MOST_ROWS = 8  # of probes in training
ROOMY = 64  # columns from which on nothing is abbreviated
WIDEST_CURVE = 32
WIDEST_BAR = 30
REDRAWN_PER_SECOND = 4
CROPPED = Column(no_wrap=True, overflow="crop")  # rich's ellipsis is not in every encoding


def standard_error() -> Console:
    """A console on standard error, interactive where that is a terminal; $FORCE_COLOR makes no terminal of a file."""
    is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return Console(file=cast(TextIO, Unheard(sys.stderr)), highlight=False, force_interactive=is_terminal)


@dataclass
class ProbeInTraining:
    """How far a probe is, and its (step, training loss) so far."""

    config: ProbeConfig
    step: int = 0
    steps: int = 1
    curve: list[tuple[int, float]] = field(default_factory=list)

    def hear(self, news: task.Progress) -> None:
        """Take in news; where training went back to an earlier step, so does the curve."""
        self.curve = [point for point in self.curve if point[0] < news.step] + [(news.step, news.loss)]
        self.step, self.steps = news.step, news.steps


class Display(Progress):
    """Live progress on a terminal; one line per finished probe elsewhere.

    The bar counts parts of probes, too, since those that run side by side end together. How long the rest takes is told
    from what was trained since the calibration was started; the cost adds up over workers.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        console = console or standard_error()
        super().__init__(
            TextColumn("probes  {task.fields[done]} of about {task.total}", table_column=CROPPED),
            TimeRemainingColumn(table_column=CROPPED),
            TextColumn("left", table_column=CROPPED),
            BarColumn(WIDEST_BAR),
            console=console,
            get_time=clock,
            speed_estimate_period=math.inf,
            refresh_per_second=REDRAWN_PER_SECOND,
            transient=True,
            disable=not console.is_interactive,
        )
        self.in_training: dict[str, ProbeInTraining] = {}
        self.lowest: ProbeResult | None = None
        self.seconds = 0.0
        self.operations = 0.0  # 6·N·D, where N is known
        self._done = 0
        self._unit = "core"
        has_blocks = _shows(console, BLOCKS + "λ")
        self._symbol, self._levels = ("λ", BLOCKS) if has_blocks else ("wd", ASCII)

    def stop(self) -> None:
        """Leave the screen as it was; elsewhere rich would print an empty line."""
        if not self.disable:
            super().stop()

    def watcher(self) -> Watcher:
        """What a calibration reports to."""
        return Watcher(stage=self.stage, progress=self.progress, result=self.result, notice=self.notice)

    def notice(self, text: str) -> None:
        """A message that stays on the screen, on as many lines as it has."""
        text = "\n".join(map(printable, text.splitlines()))
        self.console.print(text, soft_wrap=True, markup=False, emoji=False)

    def stage(self, configs: list[ProbeConfig], done: int, likely: int) -> None:
        """The next probes are known: `done` of about `likely` were trained, also by earlier calibrations."""
        total = max(likely, done + len(configs))
        if not self.tasks:
            self.add_task("", total=total, completed=done, done=done)
            if done:
                self.notice(f"{done} probes of this calibration are already in the folder")
        self._done, self.in_training = done, {}
        self._unit = "GPU" if configs[0].device == "cuda" else "core"
        self._count(total=total)

    def progress(self, news: task.Progress) -> None:
        """A probe got further."""
        self.in_training.setdefault(news.config.key, ProbeInTraining(news.config)).hear(news)
        self._count()

    def result(self, result: ProbeResult) -> None:
        """A probe has ended: how, in a line that stays."""
        config, run = result.config, result.config.run
        self.in_training.pop(result.key, None)
        self._done += 1
        self._count()
        self.seconds += result.seconds
        if result.status != "failed":
            self.operations += flops_of(run)
        if result.loss is not None and (self.lowest is None or result.loss < self.lowest.value):
            self.lowest = result
        self.notice(
            f"seed {config.seed}  timescale {format_percent(2.0**config.log2_tau):>7} of the run  "
            f"{self._symbol} {_decay_of(run):<7.3g}  {_end(result)}  {result.seconds:.1f} s"
        )

    def _count(self, total: float | None = None) -> None:
        """Let the bar know; it has one task, the calibration."""
        parts = sum(probe.step / max(1, probe.steps) for probe in self.in_training.values())
        for one in self.task_ids:
            self.update(one, total=total, completed=self._done + parts, done=self._done)

    def get_renderables(self) -> Iterable[RenderableType]:
        """The lines below what stays, as wide and as high as the terminal allows."""
        if not self.tasks:
            yield "starting"
            return
        probes = list(self.in_training.values())
        rows = max(1, min(MOST_ROWS, self.console.height - 5))
        lines = [self._lowest(), self._cost(), *map(self._row, probes[:rows])]
        if len(probes) > rows:
            lines.append(f"  and {len(probes) - rows} more")
        yield self.make_tasks_table(self.tasks)
        yield from (Text(line[: self.console.width], no_wrap=True, overflow="crop") for line in lines if line)

    def _lowest(self) -> str:
        best = self.lowest
        if best is None:
            return ""
        text = f"lowest  loss {best.value:.4f} at {format_percent(2.0**best.config.log2_tau)}"
        return f"{text} of the run, {self._symbol} {_decay_of(best.config.run):.3g}" if self._is_roomy else text

    def _cost(self) -> str:
        if not self.seconds:
            return ""
        text = f"cost    {format_significant(self.seconds)} {self._unit}-seconds"
        if not self.operations:
            return text
        return f"{text}, {self.operations:.2g} " + ("floating-point operations" if self._is_roomy else "flop")

    def _row(self, probe: ProbeInTraining) -> str:
        tau = format_percent(2.0**probe.config.log2_tau)
        name = (
            f"seed {probe.config.seed:<2} {tau:>7} of the run" if self._is_roomy else f"{probe.config.seed:<2} {tau:>6}"
        )
        head = f"  {name}  {probe.step:>{len(str(probe.steps))}}/{probe.steps}"
        losses = [loss for _, loss in probe.curve]
        loss = losses[-1]
        tail = f"{loss:.3f}" if abs(loss) < 1e4 else f"{loss:.2g}"
        room = min(WIDEST_CURVE, self.console.width - len(head) - len(tail) - 4)
        curve = sparkline(losses, room, self._levels)
        return f"{head}  {curve:<{max(0, room)}}  {tail}"

    @property
    def _is_roomy(self) -> bool:
        return self.console.width >= ROOMY


def _shows(console: Console, characters: str) -> bool:
    """Whether a console's encoding has these characters."""
    try:
        characters.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _end(result: ProbeResult) -> str:
    """How a probe ended, for people."""
    if result.status == "failed":
        return f"failed: {printable(result.reason or '')}"
    return "diverged" if result.loss is None else f"held-out loss {result.loss:.4f}"


def _decay_of(run: TrainingRun) -> float:
    """A probe's weight decay on the hidden matrices; its run has what multipliers apply to."""
    return run.current_weight_decay * run.on_hidden.weight_decay
