"""Results as training libraries print them, recognised line by line and told as the JSON objects that they are not.

nanoGPT       step 250: train loss 1.2345, val loss 1.2987
              iter 250: loss 1.2345, time 20.11ms, mfu 3.00%
transformers  {'eval_loss': 1.2987, 'epoch': 1.0}, in newer versions with numbers as text, of four digits
Keras         8/8 - 0s - 9ms/step - loss: 1.2345 - val_loss: 1.2987
Lightning     the table of trainer.validate() and trainer.test(), with or without rich

A loss of training is told as "train_loss", whatever it is called there.
"""

import ast
import re
from typing import Any

from adamw_scale.units import float_of

NUMBER = rb"([+-]?(?:\d+\.?\d*(?:e[+-]?\d+)?|nan|inf))"
NANOGPT_EVALUATION = re.compile(rb"step (\d{1,18}): train loss " + NUMBER + rb", val loss " + NUMBER, re.IGNORECASE)
NANOGPT_STEP = re.compile(rb"iter (\d{1,18}): loss " + NUMBER + rb", time ", re.IGNORECASE)
KERAS_STEP = re.compile(rb"\d+/\d+\b")
KERAS_PAIR = re.compile(rb"(\w+): " + NUMBER, re.IGNORECASE)
NOT_PYTHON = re.compile(rb"(:\s*)([+-]?(?:nan|inf)(?:inity)?)(?=\s*[,}])", re.IGNORECASE)
OF_TRAINING = ("epoch", "learning_rate", "grad_norm", "step", "train_runtime")  # beside the loss in a Trainer's dict
TABLE = re.compile(r"(?:Validate|Test) metric\s*[┃\s]\s*DataLoader \d")
ROW = re.compile(r"[│\s]\s*([^\s│]+(?: [^\s│]+)*)(?:\s*│\s*|\s{2,})([^\s│]+)")
LONGEST = 4096  # bytes of a line in which a result is looked for
LONGEST_TABLE = 1000  # rows


class Recognised:
    """Listens to lines of text, of which a table takes several."""

    def __init__(self) -> None:
        self._table: dict[str, Any] | None = None

    def line(self, line: bytes) -> dict[str, Any] | None:
        """What a line says, where it says something, or ends what does."""
        if len(line) > LONGEST:
            return None
        if self._table is not None and (ended := self._row(self._table, line.decode(errors="replace"))):
            return ended
        line = line.strip()
        if TABLE.search(line.decode(errors="replace")):
            self._table = {}
            return None
        return _of_nanogpt(line) or _of_trainer(line) or _of_keras(line)

    def _row(self, table: dict[str, Any], line: str) -> dict[str, Any] | None:
        """Take in a line of a table; all of the table where it ends, with a line that is no row."""
        if line.startswith(("┡", "├", "───")) and not table:
            return None
        row = ROW.fullmatch(line.rstrip(" │"))
        value = None if row is None else float_of(row[2])
        if row is None or value is None or len(table) > LONGEST_TABLE:
            self._table = None
            return table or None
        table |= named(row[1], value)
        return None


def named(name: str, value: Any) -> dict[str, Any]:
    """A number under its name, and a name such as val/loss also as val_loss."""
    return {name: value, name.replace("/", "_"): value}


def _of_nanogpt(line: bytes) -> dict[str, Any] | None:
    if found := NANOGPT_EVALUATION.match(line):
        return {"step": int(found[1][:18]), "train_loss": float(found[2]), "val_loss": float(found[3])}
    if found := NANOGPT_STEP.match(line):
        return {"step": int(found[1][:18]), "train_loss": float(found[2])}
    return None


def _of_trainer(line: bytes) -> dict[str, Any] | None:
    """A dict as Python prints it; the loss in it is held-out unless it stands with what belongs to training."""
    if not (line.startswith(b"{'") and line.endswith(b"}")):
        return None
    try:
        content = ast.literal_eval(NOT_PYTHON.sub(rb"\1'\2'", line).decode())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    if not isinstance(content, dict):
        return None
    numbers = {str(name): float_of(value) if isinstance(value, str) else value for name, value in content.items()}
    if "loss" in numbers and any(name in numbers for name in OF_TRAINING):
        numbers["train_loss"] = numbers.pop("loss")
    return numbers


def _of_keras(line: bytes) -> dict[str, Any] | None:
    """An epoch with its validation; what has no val_ is of training, or of evaluate(), which cannot be told apart."""
    step, *parts = line.split(b" - ")
    if b"val_" not in line or not KERAS_STEP.match(step):
        return None
    pairs = [found for part in parts if (found := KERAS_PAIR.fullmatch(part.strip()))]
    numbers: dict[str, Any] = {found[1].decode(): float(found[2]) for found in pairs}
    if "loss" in numbers:
        numbers["train_loss"] = numbers.pop("loss")
    return numbers or None
