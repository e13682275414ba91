"""What a calibration looks like while it runs."""

import os
import sys
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from adamw_scale.calibration import Watcher
from adamw_scale.probe.tasks.task import Progress
from adamw_scale.probe.plan import ProbeConfig, ProbeResult
from adamw_scale.units import format_percent


class _Stderr(Console):
    """Standard error that may be closed: a calibration goes on when nobody reads its progress."""

    def on_broken_pipe(self) -> None:
        """Write the rest nowhere."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


class Display:
    """Live progress on a terminal's stderr; one line per finished probe where stderr is no terminal."""

    def __init__(self) -> None:
        self.console = _Stderr(stderr=True, highlight=False)
        self.bars: Bars | None = None
        self.total: TaskID | None = None
        self.running: dict[str, TaskID] = {}
        self.done = 0

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self.bars = Bars(*columns, console=self.console, transient=True)
            self.bars.start()
            self.total = self.bars.add_task("starting", total=None, note="")
        return self

    def __exit__(self, *_: object) -> None:
        if self.bars is not None:
            self.bars.stop()

    def watcher(self) -> Watcher:
        """What a calibration reports to."""
        return Watcher(stage=self.stage, progress=self.progress, result=self.result, notice=self.notice)

    def notice(self, text: str) -> None:
        """A message that stays on the screen."""
        self.console.print(text, soft_wrap=True, markup=False)

    def stage(self, configs: list[ProbeConfig], done: int, likely: int) -> None:
        """The next probes are known."""
        if done and not self.done:
            self.notice(f"{done} probes of this calibration are already in the folder")
        self.done = done
        if self.bars is not None and self.total is not None:
            self.bars.update(
                self.total,
                description="probes",
                total=max(likely, done + len(configs)),
                completed=done,
                note=f"{done} of about {likely}",
            )

    def progress(self, news: Progress) -> None:
        """A probe got further."""
        if self.bars is None:
            return
        key = news.config.key
        if key not in self.running:
            self.running[key] = self.bars.add_task(_label(news.config), total=news.steps, note="")
        self.bars.update(self.running[key], completed=news.step, note=f"training loss {news.loss:.3f}")

    def result(self, result: ProbeResult) -> None:
        """A probe is done."""
        self.done += 1
        loss = "diverged" if result.loss is None else f"held-out loss {result.loss:.4f}"
        self.notice(f"{_label(result.config)}  {loss}  {result.seconds:.1f} s")
        if self.bars is not None and self.total is not None:
            if result.key in self.running:
                self.bars.remove_task(self.running.pop(result.key))
            self.bars.update(self.total, advance=1, note=f"{self.done} done")


def _label(config: ProbeConfig) -> str:
    tau = format_percent(2.0**config.log2_tau)
    return f"seed {config.seed}  timescale {tau:>7} of the run  λ {config.run.current_weight_decay:<7.3g}"
