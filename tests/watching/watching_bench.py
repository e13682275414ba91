"""Trainings that are watched: their scripts, and what they write down of themselves."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Command

SCRIPTS = Path(__file__).parent / "scripts"
PYTHON = sys.executable


@dataclass(frozen=True)
class Seen:
    """What an audit of a command said, and what the command says of itself."""

    code: int
    document: dict[str, Any]
    err: str
    truth: list[dict[str, Any]]

    @property
    def codes(self) -> dict[str, str]:
        """Severity of each finding, by its code."""
        return {finding["code"]: finding["severity"] for finding in self.document["findings"]}

    def message(self, code: str) -> str:
        """What a finding says."""
        return next(finding["message"] for finding in self.document["findings"] if finding["code"] == code)

    def agrees(self, number: int = 0, optimizer: int = 0) -> None:
        """Learning rate and weight decay of every step and group are those that the training wrote down."""
        seen = self.document["optimizers"][optimizer]
        steps = seen["steps"]
        truth = [step["groups"] for step in self.truth if step.get("optimizer", 0) == number][:steps]
        assert len(truth) == steps
        for index, group in enumerate(seen["groups"]):
            for name, curve in (("lr", group["lrs"]), ("weight_decay", group["decays"])):
                assert values(curve, steps) == pytest.approx([step[index][name] for step in truth], rel=1e-6), name


def values(curve: list[list[float]], steps: int) -> list[float]:
    """A curve's value at every step."""
    found: list[float] = []
    for step in range(1, steps + 1):
        found.append(next(value for at, value in reversed(curve) if at <= step))
    return found


Watch = Callable[..., Seen]


def watching(adamw_scale: Command, folder: Path) -> Watch:
    """What audits a script of `scripts`, which writes its truth to the file that is its first argument."""

    def run(script: str, *arguments: str, options: tuple[str, ...] = (), start: tuple[str, ...] = (PYTHON,)) -> Seen:
        truth = folder / "truth.jsonl"
        truth.unlink(missing_ok=True)
        command = (*start, str(SCRIPTS / script), str(truth), *arguments)
        outcome = adamw_scale("audit", "--json", *options, "--", *command)
        document = json.loads(outcome.out) if outcome.out else {}
        lines = truth.read_text().splitlines() if truth.exists() else []
        return Seen(outcome.code, document, outcome.err, [json.loads(line) for line in lines])

    return run
