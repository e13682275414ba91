"""How many steps a command really trained, as far as what it prints and writes tells.

Understood are "step 120/300", "iter 120:" and the like in text on either stream; "step", "global_step", "iter" and
"epoch" in lines of JSON and in the dicts that transformers' Trainer prints; and its trainer_state.json in {run_dir}.
Counters that start anew, such as those of an epoch or an evaluation, say nothing.
"""

import ast
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adamw_scale.errors import SpecError
from adamw_scale.spec.measurement import StepsSeen

TEXT = re.compile(
    rb"(?<![\w/-])(global[ _]step|step|iteration|iter)\b[ \t]*[:=#]?[ \t]*\[?[ \t]*"
    rb"(\d{1,12}(?:,\d{3})*)(?:[ \t]*(?:/|of)[ \t]*(\d{1,12}(?:,\d{3})*))?(?![\w.%])",
    re.IGNORECASE,
)
KEYS = ("global_step", "step", "iter", "iteration")  # the first that counted is believed
STATE_FILE = "trainer_state.json"
LONGEST = 4096  # bytes of a line of text in which steps are looked for
LARGEST_STATE = 1 << 26


@dataclass
class _Counter:
    """Values that rise, and by how much the last time and before."""

    last: float = -math.inf
    stride: float = math.inf
    usual: float = 0.0
    whole: float = 0.0  # N of k/N
    restarted: bool = False

    def hear(self, value: float, whole: float = 0.0) -> None:
        self.restarted |= value < self.last
        if value > self.last:
            self.usual = max(self.usual, 0.0 if math.isinf(self.stride) else self.stride)
            self.stride, self.last = value - self.last, value
        self.whole = whole

    def ends(self) -> tuple[float, float]:
        """Between what the count lies: a last value that came early is the end, and so is N of N."""
        if self.whole and self.last >= self.whole - 1:
            return self.whole, self.whole
        return self.last, self.last + (1 if self.stride < self.usual else self.stride)


class Steps:
    """Listens to what a command says of its steps."""

    def __init__(self) -> None:
        self._counters: dict[str, _Counter] = {}
        self._state: StepsSeen | None = None

    def text(self, line: bytes) -> None:
        """A line that is no JSON."""
        if len(line) > LONGEST:
            return
        if line.startswith(b"{'"):
            self._dict(line)
        elif found := TEXT.search(line):
            value, whole = (float((group or b"0").replace(b",", b"")) for group in (found[2], found[3]))
            self._hear(f"{found[1].decode().lower()} in its output", value, whole)

    def content(self, content: Mapping[str, Any]) -> None:
        """An object that it printed."""
        for key in (*KEYS, "epoch"):
            value = content.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
                self._hear(repr(key), float(value))

    def read(self, folder: Path) -> None:
        """A Trainer's state, of its end or, where there is none, of its last checkpoint."""
        files = [folder / STATE_FILE, *folder.glob(f"checkpoint-*/{STATE_FILE}")]
        states = [seen for file in files if (seen := _state_of(file)) is not None]
        self._state = max(states, key=lambda seen: seen.least, default=None)

    def seen(self) -> StepsSeen | None:
        """What is known; None where nothing is."""
        if self._state is not None:
            return self._state
        counted = {name: counter for name, counter in self._counters.items() if not counter.restarted and counter.last}
        ranked = [repr(key) for key in KEYS] + [name for name in counted if name.endswith("output")] + [repr("epoch")]
        for name in ranked:
            if name in counted:
                least, most = counted[name].ends()
                unit = "epochs" if name == repr("epoch") else "steps"
                return StepsSeen(unit=unit, least=least, most=most if math.isfinite(most) else None, source=name)
        return None

    def _hear(self, name: str, value: float, whole: float = 0.0) -> None:
        self._counters.setdefault(name, _Counter()).hear(value, whole)

    def _dict(self, line: bytes) -> None:
        try:
            content = ast.literal_eval(line.decode(errors="replace").strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return
        if isinstance(content, dict):
            self.content({str(key): _number(value) for key, value in content.items()})


def _number(value: object) -> object:
    """New versions of Trainer print numbers as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return None


def content_of(file: Path) -> bytes:
    """What a state's file holds; OSError where it is no file, as a pipe, or too large for a state."""
    if not file.is_file() or file.stat().st_size > LARGEST_STATE:
        raise OSError
    return file.read_bytes()


def _state_of(file: Path) -> StepsSeen | None:
    """What a state says; None where it is none."""
    try:
        content = json.loads(content_of(file))
        step, last = float(content["global_step"]), float(content.get("max_steps") or 0)
        ended = "checkpoint-" not in file.parent.name or step >= last
        return StepsSeen(unit="steps", least=step, most=step if ended else None, source=f"global_step of {STATE_FILE}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SpecError):
        return None
