"""What a command said, and the metric in it.

Read are, and the first that has the metric counts:

1. lines of JSON on standard output, and in the {output} file (which may also be a single object over many lines)
2. trainer_state.json in {run_dir}, if the training ended with an evaluation (`run_dir`)
3. on standard output, what nanoGPT, transformers, Keras and Lightning print (`recognised`), often of four digits only
4. the event files of TensorBoard in {run_dir} (`run_dir`)

With `--metric-pattern` it is what that finds on either stream, and nothing else (`metric_pattern`).

An object with a "step" and a "loss" or "train_loss" is progress. The metric is that of the last object that holds it:
`--metric`, or without one the held-out loss that was printed (one of `HELD_OUT`; two are refused), or "loss". NaN and
infinity, in any spelling or as null, mean that the probe diverged.
"""

import codecs
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from adamw_scale.training.commands.metric_pattern import SECONDS, PatternSearch
from adamw_scale.training.commands.recognised import Recognised
from adamw_scale.training.commands.run_dir import of_event_files, of_trainer_state
from adamw_scale.training.commands.steps import STATE_FILE, Steps
from adamw_scale.units import LARGEST, float_of, printable

HELD_OUT = ("val_loss", "eval_loss", "test_loss")
TRAINING = ("train_loss", "loss")  # beside a train_loss, a loss is another one's
COMMON = (*TRAINING, "step", "epoch")  # nobody means these by a metric
SUMMARY = "train_runtime"  # in what Trainer logs at its end, whose train_loss is the mean of the whole run
JSON, TEXT, EVENTS = "a line of JSON", "a line of text", "an event file"
SOURCES = (JSON, STATE_FILE, TEXT, EVENTS)  # the first that has the metric counts
READ = (
    "a line of JSON on stdout, or in {output}; else trainer_state.json in {run_dir}; else what nanoGPT, transformers, "
    'Keras or Lightning print; else event files in {run_dir}; with "val_loss", "eval_loss", "test_loss" or, of '
    'held-out data, "loss" (or the name that --metric gives); or what --metric-pattern finds'
)
CURVE_POINTS = 200
MOST_NAMES = 8
LONGEST_LINE = 1 << 20
LARGEST_OUTPUT = 1 << 24  # bytes of an {output} file that are read as one object
CHUNK = 1 << 16
COLOUR = re.compile(rb"\x1b\[[0-9;]*[A-Za-z]")
HELD_OUT_TEXT = re.compile(rb"(?:val|valid|validation|eval|test)[ _/-]?loss[ \t:=]*(?=\d)", re.IGNORECASE)
NOT_JSON = re.compile(r"([:\[,]\s*)([+-]?)(nan|inf(?:inity)?)\b", re.IGNORECASE)


class _Heard:
    """The last objects of one source that hold what may be the metric, those of training apart."""

    def __init__(self, metric: str | None) -> None:
        self.metric = metric
        self.results: dict[str, dict[str, Any]] = {}
        self.training: dict[str, dict[str, Any]] = {}
        self._names = {metric} if metric not in (None, "loss") else {"loss", *HELD_OUT}

    @property
    def held_out(self) -> list[str]:
        """The held-out losses among the results."""
        return [name for name in HELD_OUT if name in self.results]

    @property
    def ambiguous(self) -> bool:
        """Whether it has several held-out losses, of which none was asked for."""
        return len(self.held_out) > 1 and self.metric is None

    def take(self, content: Mapping[str, Any]) -> tuple[float | None, float | None]:
        """Note an object; its step and training loss, where it has them.

        A null beside a step means not measured; elsewhere it is how NaN is written.
        """
        step = _number(content["step"]) if content.get("step") is not None else None
        present = {name: value for name, value in content.items() if value is not None or step is None}
        loss = next((_number(present[name]) for name in TRAINING if name in present), None)
        of_step = step is not None and math.isfinite(step) and loss is not None and SUMMARY not in content
        kept = self.training if of_step else self.results
        for name in self._names & present.keys():
            if _number(present[name]) is not None:
                (kept if name in TRAINING else self.results)[name] = dict(content)
        return (step, loss) if of_step else (None, loss)

    def chosen(self) -> tuple[str, dict[str, Any] | None]:
        """A metric that was asked for; else the held-out loss, if there is one; else "loss", if it is not of a step."""
        if self.metric is not None and (found := self.results.get(self.metric) or self.training.get(self.metric)):
            return self.metric, found
        held_out = self.held_out
        if len(held_out) == 1 and self.metric in (None, "loss"):
            return held_out[0], self.results[held_out[0]]
        if not held_out and self.metric is None:
            return "loss", self.results.get("loss")
        return self.metric or "loss", None


class Printed:
    """What a command said, line by line, of which the little that matters is kept.

    `heard` is told about training losses, at most `CURVE_POINTS` times over `steps`.
    """

    def __init__(
        self, metric: str | None, steps: int, heard: Callable[[int, float], None], pattern: str | None = None
    ) -> None:
        self.metric = metric
        self.steps = steps
        self.heard = heard
        self.curve: list[tuple[int, float]] = []
        self.trained = Steps()
        self._search = PatternSearch(pattern) if pattern is not None else None
        self._sources = {name: _Heard(metric) for name in SOURCES}
        self._losses: dict[str, float] = {}  # the last of training, by source
        self._recognised = Recognised()
        self._names: dict[str, None] = {}
        self._unread: str | None = None
        self._hint: str | None = None  # text before a number that may be meant
        self._rest = bytearray()
        self._overheard = b""
        self._point = -1

    @property
    def last_loss(self) -> float:
        """The last training loss; 0 where none was printed."""
        return self._losses.get(JSON, self._losses.get(TEXT, 0.0))

    def feed(self, chunk: bytes) -> None:
        """Take in output as it comes, in pieces of any size; lines above 1 MiB are passed over."""
        if self._search is not None:
            self._search.feed("stdout", chunk)
        self._feed(chunk)

    def end(self) -> None:
        """The output ended, perhaps without a newline."""
        if self._search is not None:
            self._search.end()
        self._end()
        self._count(b"\n")

    def overheard(self, chunk: bytes) -> None:
        """Take in the error stream, which may count steps; it holds no result but that of a pattern."""
        if self._search is not None:
            self._search.feed("stderr", chunk)
        self._count(chunk)

    def _count(self, chunk: bytes) -> None:
        """Steps on the error stream, in pieces of any size."""
        *lines, self._overheard = (self._overheard + chunk).replace(b"\r", b"\n")[-LONGEST_LINE:].split(b"\n")
        for line in lines:
            self.trained.text(COLOUR.sub(b"", line))

    def read(self, file: Path) -> None:
        """Take in a file that holds a JSON object, or one on each line; a missing file says nothing."""
        if not file.is_file():
            return
        if file.stat().st_size <= LARGEST_OUTPUT and (content := _parsed(file.read_bytes())) is not None:
            self._take(content)
            return
        with file.open("rb") as lines:
            while chunk := lines.read(CHUNK):
                self._feed(chunk)
        self._end()

    def read_folder(self, folder: Path) -> None:
        """Take in what a command left in its {run_dir}."""
        self.trained.read(folder)
        for content in of_trainer_state(folder):
            self._note(STATE_FILE, content)
        if self._measured()[1] is None:
            content, self._unread = of_event_files(folder)
            self._note(EVENTS, content)

    def measured(self) -> tuple[str, float | None, dict[str, float]]:
        """Name and value of the metric (None where there is none), and every other number printed beside it."""
        if self._search is not None:
            return self.metric or "loss", _number_of(self._search.last), {}
        name, found, _ = self._measured()
        if found is None:
            return name, None, {}
        numbers = {other: _number(value) for other, value in found.items() if other != name}
        others = {printable(other): v for other, v in numbers.items() if v is not None and math.isfinite(v)}
        return name, _number(found[name]), others

    def shown(self) -> str:
        """The metric for people, and where it is from."""
        name, value, _ = self.measured()
        source = "--metric-pattern" if self._search is not None else self._measured()[2]
        return f"{name} {value!r} of {source}" if value is not None else f"training loss {self.last_loss!r}"

    def complaint(self) -> str:
        """Why there is no metric."""
        if self._search is not None:
            return _complaint_of(self._search)
        for heard in self._sources.values():
            if heard.ambiguous:
                return f"it printed {' and '.join(heard.held_out)}: choose with --metric"
        if any(heard.training for heard in self._sources.values()) and self.metric is None:
            return (
                'it printed losses of training steps only: print {"loss": ...} of held-out data at its end, or pass '
                "--metric loss to take the last of them"
            )
        printed = f"it printed {', '.join(self._names)}; " if self._names else ""
        unread = f"{self._unread}; " if self._unread else ""
        hint = f"for {self._hint!r} in its text pass --metric-pattern '{self._hint}([0-9.]+)'; " if self._hint else ""
        return (
            f"{hint}it printed no line that is a JSON object with {self.metric or 'loss'!r}: print one at its end, "
            f'print(json.dumps({{"val_loss": ...}})), or change --metric; {printed}{unread}looked for was {READ}'
        )

    def _measured(self) -> tuple[str, dict[str, Any] | None, str]:
        """Name, object and source of the metric."""
        for source, heard in self._sources.items():
            name, found = heard.chosen()
            if found is not None or heard.ambiguous:
                return name, found, source
        return self.metric or "loss", None, JSON

    def _feed(self, chunk: bytes) -> None:
        self._rest += chunk
        if b"\n" in chunk:
            *lines, rest = self._rest.split(b"\n")
            for line in lines:
                self._line(bytes(line))
            self._rest = rest
        if len(self._rest) > LONGEST_LINE:
            self._rest[LONGEST_LINE + 1 :] = b""

    def _end(self) -> None:
        self._line(bytes(self._rest))
        self._rest.clear()

    def _line(self, line: bytes) -> None:
        line = line.rstrip(b"\r").rsplit(b"\r", 1)[-1]  # what a progress bar wrote over is gone
        line = COLOUR.sub(b"", line)
        if len(line) <= LONGEST_LINE and (content := _parsed(line)) is not None:
            self._take(content)
            return
        self.trained.text(line)
        if (told := self._recognised.line(line)) is not None:
            self._note(TEXT, told)
        elif found := HELD_OUT_TEXT.search(line[:LONGEST_LINE]):
            self._hint = printable(found[0].decode(errors="replace"))

    def _take(self, content: dict[str, Any]) -> None:
        self.trained.content(content)
        self._note(JSON, content)

    def _note(self, source: str, content: Mapping[str, Any]) -> None:
        """Take in an object of a source."""
        step, loss = self._sources[source].take(content)
        for name, value in content.items():
            if len(self._names) < MOST_NAMES and name not in COMMON and _number(value) is not None:
                self._names[printable(name)[:60]] = None
        if source in (STATE_FILE, EVENTS) or loss is None or SUMMARY in content:
            return
        if step is not None or (source == TEXT and "train_loss" in content):
            self._losses[source] = loss
        if step is not None and (source == JSON or JSON not in self._losses):
            self._progress(int(step), loss)

    def _progress(self, step: int, loss: float) -> None:
        point = min(CURVE_POINTS, step * CURVE_POINTS // self.steps)
        if point > self._point:
            self._point = point
            self.heard(min(step, self.steps), loss)
            if math.isfinite(loss):
                self.curve.append((step, loss))


def _complaint_of(search: PatternSearch) -> str:
    if search.timed_out:
        return f"--metric-pattern took more than {SECONDS} s on its output: write it without nested repetitions"
    if search.last is None:
        return "--metric-pattern matched none of its lines, on stdout or stderr: mend the pattern"
    return f"--metric-pattern found {printable(search.last)[:60]!r} last, which is no number: narrow its group"


def _number_of(text: str | None) -> float | None:
    """What a pattern found, as a number; None where it is none."""
    value = float_of(text or "")
    return None if value is None else _bounded(value)


def _parsed(text: bytes) -> dict[str, Any] | None:
    """A JSON object, with nan and inf as other languages print them; None for anything else."""
    text = text.removeprefix(codecs.BOM_UTF8).strip()
    if not (text.startswith(b"{") and text.endswith(b"}")):
        return None
    decoded = text.decode(errors="replace")
    for candidate in (decoded, NOT_JSON.sub(lambda match: f"{match[1]}NaN", decoded)):
        try:
            content = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        return content if isinstance(content, dict) else None
    return None


def _number(value: Any) -> float | None:
    """A JSON value as a number: null and the words for it are NaN, other text and containers are none."""
    if value is None or (isinstance(value, str) and value.lower().lstrip("+-") in ("nan", "inf", "infinity")):
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return _bounded(float(value))
    except OverflowError:
        return math.inf


def _bounded(value: float) -> float:
    """A number, infinite beyond what can be reckoned with."""
    return value if not abs(value) > LARGEST else math.copysign(math.inf, value)
