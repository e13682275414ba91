"""What a command said: the JSON objects that it printed or wrote, and the metric in them.

They are read from its standard output, and from the {output} file if it has one: every line that is a JSON object (a
file may also hold a single object over many lines). An object with a "step" and a "loss" or "train_loss" is progress.
The metric is that of the last object that holds it: `--metric`, or without one the held-out loss that was printed (one
of `HELD_OUT`), or "loss". NaN and infinity, in any spelling or as null, mean that the probe diverged. Python's own way
of printing a dict is not read: trainers that print one round it to four digits first.
"""

import codecs
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adamw_scale.training.commands.steps import Steps
from adamw_scale.units import printable

HELD_OUT = ("val_loss", "eval_loss", "test_loss")
TRAINING = ("train_loss", "loss")  # beside a train_loss, a loss is another one's
SUMMARY = "train_runtime"  # in what Trainer logs at its end, whose train_loss is the mean of the whole run
READ = (
    'a line of JSON on stdout, or in {output}, with "val_loss", "eval_loss", "test_loss" or, of held-out data, "loss" '
    "(or the name that --metric gives)"
)
CURVE_POINTS = 200
LONGEST_LINE = 1 << 20
LARGEST_OUTPUT = 1 << 24  # bytes of an {output} file that are read as one object
CHUNK = 1 << 16
COLOUR = re.compile(rb"\x1b\[[0-9;]*[A-Za-z]")
PYTHON_DICT = re.compile(rb"\{\s*'")
NOT_JSON = re.compile(r"([:\[,]\s*)([+-]?)(nan|inf(?:inity)?)\b", re.IGNORECASE)


class Printed:
    """What a command said, line by line, of which the little that matters is kept.

    `heard` is told about training losses, at most `CURVE_POINTS` times over `steps`.
    """

    def __init__(self, metric: str | None, steps: int, heard: Callable[[int, float], None]) -> None:
        self.metric = metric
        self.steps = steps
        self.heard = heard
        self.curve: list[tuple[int, float]] = []
        self.last_loss = 0.0
        self.trained = Steps()
        self._names = {metric} if metric not in (None, "loss") else {"loss", *HELD_OUT}
        self._results: dict[str, dict[str, Any]] = {}
        self._training: dict[str, dict[str, Any]] = {}
        self._python_dicts = False
        self._rest = bytearray()
        self._overheard = b""
        self._point = -1

    def feed(self, chunk: bytes) -> None:
        """Take in output as it comes, in pieces of any size; lines above 1 MiB are passed over."""
        self._rest += chunk
        if b"\n" in chunk:
            *lines, rest = self._rest.split(b"\n")
            for line in lines:
                self._line(bytes(line))
            self._rest = rest
        if len(self._rest) > LONGEST_LINE:
            self._rest[LONGEST_LINE + 1 :] = b""

    def end(self) -> None:
        """The output ended, perhaps without a newline."""
        self._line(bytes(self._rest))
        self._rest.clear()
        self.overheard(b"\n")

    def overheard(self, chunk: bytes) -> None:
        """Take in the error stream, which holds no result but may count steps."""
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
                self.feed(chunk)
        self.end()

    def measured(self) -> tuple[str, float | None, dict[str, float]]:
        """Name and value of the metric (None where there is none), and every other number printed beside it."""
        name, found = self._chosen()
        if found is None:
            return name, None, {}
        numbers = {other: _number(value) for other, value in found.items() if other != name}
        others = {printable(other): v for other, v in numbers.items() if v is not None and math.isfinite(v)}
        return name, _number(found[name]), others

    def shown(self) -> str:
        """The metric for people."""
        name, value, _ = self.measured()
        return f"{name} {value!r}" if value is not None else f"training loss {self.last_loss!r}"

    def complaint(self) -> str:
        """Why there is no metric."""
        several = [name for name in HELD_OUT if name in self._results]
        if len(several) > 1 and self.metric is None:
            return f"it printed {' and '.join(several)}: choose with --metric"
        if self._training and self.metric is None:
            return (
                'it printed losses of training steps only: print {"loss": ...} of held-out data at its end, or pass '
                "--metric loss to take the last of them"
            )
        looked = f"looked for was {READ}"
        if self._python_dicts:
            return f"it printed Python dicts, whose numbers may be rounded: print(json.dumps(...)) them; {looked}"
        return (
            f"it printed no line that is a JSON object with {self.metric or 'loss'!r}: print one at its end, "
            f'print(json.dumps({{"val_loss": ...}})), or change --metric; {looked}'
        )

    def _chosen(self) -> tuple[str, dict[str, Any] | None]:
        """A metric that was asked for; else the held-out loss, if there is one; else "loss", if it is not of a step."""
        if self.metric is not None and (found := self._results.get(self.metric) or self._training.get(self.metric)):
            return self.metric, found
        held_out = [name for name in HELD_OUT if name in self._results]
        if len(held_out) == 1 and self.metric in (None, "loss"):
            return held_out[0], self._results[held_out[0]]
        if not held_out and self.metric is None:
            return "loss", self._results.get("loss")
        return self.metric or "loss", None

    def _line(self, line: bytes) -> None:
        line = line.rstrip(b"\r").rsplit(b"\r", 1)[-1]  # what a progress bar wrote over is gone
        line = COLOUR.sub(b"", line)
        if len(line) <= LONGEST_LINE and (content := _parsed(line)) is not None:
            self._take(content)
            return
        self._python_dicts |= PYTHON_DICT.match(line) is not None
        self.trained.text(line)

    def _take(self, content: dict[str, Any]) -> None:
        """Note an object. A null beside a step means not measured; elsewhere it is how NaN is written."""
        self.trained.content(content)
        step = _number(content["step"]) if content.get("step") is not None else None
        present = {name: value for name, value in content.items() if value is not None or step is None}
        loss = next((_number(present[name]) for name in TRAINING if name in present), None)
        kept = self._results
        if step is not None and math.isfinite(step) and loss is not None and SUMMARY not in content:
            self._progress(int(step), loss)
            kept = self._training
        for name in self._names & present.keys():
            if _number(present[name]) is not None:
                (kept if name in TRAINING else self._results)[name] = content

    def _progress(self, step: int, loss: float) -> None:
        self.last_loss = loss
        point = min(CURVE_POINTS, step * CURVE_POINTS // self.steps)
        if point > self._point:
            self._point = point
            self.heard(min(step, self.steps), loss)
            if math.isfinite(loss):
                self.curve.append((step, loss))


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
        return float(value)
    except OverflowError:
        return math.inf
