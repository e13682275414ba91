"""What a calibration looks like while it runs, on standard error."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self, TextIO, cast

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from adamw_scale.calibration import Watcher
from adamw_scale.cli.session import Running, Session
from adamw_scale.cli.sparklines import ASCII, BLOCKS, sparkline
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.training.tasks.task import Progress
from adamw_scale.units import format_percent, format_significant, printable

MOST_ROWS = 8  # of probes that run at once
ROOMY = 64  # columns from which on nothing is abbreviated
WIDEST_CURVE = 32
WIDEST_BAR = 30


class Unheard:
    """A stream that may be closed, full or gone: a calibration goes on when nobody can read its progress."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or else write nowhere from now on."""
        with self._or_nowhere():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or else write nowhere from now on."""
        with self._or_nowhere():
            self._stream.flush()

    @contextmanager
    def _or_nowhere(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):  # ValueError is that of a closed file
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def standard_error() -> Console:
    """A console on standard error, interactive where that is a terminal; $FORCE_COLOR makes no terminal of a file."""
    is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return Console(file=cast(TextIO, Unheard(sys.stderr)), highlight=False, force_interactive=is_terminal)


class Display:
    """Live progress on a terminal; one line per finished probe elsewhere."""

    def __init__(self, console: Console | None = None, session: Session | None = None) -> None:
        self.console = console or standard_error()
        self.session = session or Session()
        self._plain = not _shows(self.console, BLOCKS + "λ━")
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self.console.is_interactive:
            self._live = Live(get_renderable=self.picture, console=self.console, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def watcher(self) -> Watcher:
        """What a calibration reports to."""
        return Watcher(stage=self.stage, progress=self.progress, result=self.result, notice=self.notice)

    def notice(self, text: str) -> None:
        """A message that stays on the screen."""
        self.console.print(text, soft_wrap=True, markup=False, emoji=False)

    def stage(self, configs: list[ProbeConfig], done: int, likely: int) -> None:
        """The next probes are known."""
        if done and not self.session.done:
            self.notice(f"{done} probes of this calibration are already in the folder")
        self.session.stage(configs, done, likely)

    def progress(self, news: Progress) -> None:
        """A probe got further."""
        self.session.progress(news)

    def result(self, result: ProbeResult) -> None:
        """A probe has ended: how, in a line that stays."""
        self.session.result(result)
        config = result.config
        tau, decay = format_percent(2.0**config.log2_tau), config.run.current_weight_decay
        self.notice(
            f"seed {config.seed}  timescale {tau:>7} of the run  {self._symbol} {decay:<7.3g}  {_end(result)}  {result.seconds:.1f} s"
        )

    def picture(self) -> Group:
        """The lines below what stays, as wide and as high as the terminal allows."""
        running = list(self.session.running.values())
        rows = max(1, min(MOST_ROWS, self.console.height - 5))
        lines = [self._overview(), self._lowest(), self._cost(), *map(self._row, running[:rows])]
        if len(running) > rows:
            lines.append(f"  and {len(running) - rows} more")
        width = self.console.width
        return Group(*(Text(line[:width], no_wrap=True, overflow="crop") for line in lines if line))

    def _overview(self) -> str:
        session = self.session
        if not session.likely:
            return "starting"
        text = f"probes  {session.done} of about {session.likely}"
        if (left := session.seconds_left) is not None:
            text += f", {_duration(left)} left"
        room = min(WIDEST_BAR, self.console.width - len(text) - 2)
        return f"{text}  {self._bar(session.share, room)}" if room >= 10 else text

    def _bar(self, share: float, width: int) -> str:
        done = round(share * width)
        return ("#" if self._plain else "━") * done + ("." if self._plain else "┄") * (width - done)

    def _lowest(self) -> str:
        best = self.session.lowest
        if best is None:
            return ""
        text = f"lowest  loss {best.value:.4f} at {format_percent(2.0**best.config.log2_tau)}"
        return (
            f"{text} of the run, {self._symbol} {best.config.run.current_weight_decay:.3g}" if self._is_roomy else text
        )

    def _cost(self) -> str:
        session = self.session
        if not session.seconds:
            return ""
        unit = "GPU" if session.device == "cuda" else "core"
        text = f"cost    {format_significant(session.seconds)} {unit}-seconds"
        if not session.operations:
            return text
        return f"{text}, {session.operations:.2g} " + ("floating-point operations" if self._is_roomy else "flop")

    def _row(self, probe: Running) -> str:
        tau = format_percent(2.0**probe.config.log2_tau)
        name = (
            f"seed {probe.config.seed:<2} {tau:>7} of the run" if self._is_roomy else f"{probe.config.seed:<2} {tau:>6}"
        )
        head = f"  {name}  {probe.step:>{len(str(probe.steps))}}/{probe.steps}"
        loss = probe.losses[-1]
        tail = f"{loss:.3f}" if abs(loss) < 1e4 else f"{loss:.2g}"
        room = min(WIDEST_CURVE, self.console.width - len(head) - len(tail) - 4)
        curve = sparkline(probe.losses, room, ASCII if self._plain else BLOCKS)
        return f"{head}  {curve:<{max(0, room)}}  {tail}"

    @property
    def _symbol(self) -> str:
        return "wd" if self._plain else "λ"

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


def _duration(seconds: float) -> str:
    """A time to wait: 45 s, 12 min, 3 h 05 min, 2 days."""
    minutes, hours = round(seconds / 60), seconds / 3600
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{hours / 24:.0f} days"
