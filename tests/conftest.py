"""Shared fixtures: the command line in-process, a fake engine with a planted optimum."""

import importlib
import importlib.util
import math
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, ClassVar

import pytest
from hypothesis import settings

from adamw_scale.cli import main as cli
from adamw_scale.probe.engines.engine import Cohort
from adamw_scale.probe.engines.serial import SerialEngine
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.training.tasks.task import Listener, Progress, TaskSource

settings.register_profile("default", deadline=None, derandomize=True)
settings.load_profile("default")


# One of each schedule, as fields of a run.
EVERY_SCHEDULE: dict[str, dict[str, Any]] = {
    "constant": {"warmup_fraction": 0.05},
    "linear": {"warmup_fraction": 0.05, "final_lr_fraction": 0.1},
    "cosine": {"final_lr_fraction": 0.1},
    "wsd": {"warmup_fraction": 0.1, "decay_fraction": 0.3},
    "wsd-cosine": {"decay_fraction": 0.2, "final_lr_fraction": 0.05},
    "wsd-1-sqrt": {"warmup_fraction": 0.01},
    "inverse-sqrt": {"warmup_fraction": 0.02},
    "polynomial": {"schedule_power": 3.0, "warmup_fraction": 0.02},
    "exponential": {"final_lr_fraction": 0.01},
    "step": {"milestones": (0.8, 0.9), "step_factor": 0.316, "warmup_fraction": 0.01},
    "one-cycle": {},
    "cosine-restarts": {"cycles": 3, "cycle_growth": 2.0, "warmup_fraction": 0.02},
    "table": {"schedule_table": ((0.0, 0.0), (0.1, 1.0), (0.5, 1.0), (0.5, 0.4), (1.0, 0.0))},
}


@pytest.fixture(scope="session", autouse=True)
def _what_tests_start_heeds_signals() -> None:
    """Under nohup or in the background signals are ignored, also by what is started, unless they have a handler."""
    for number in {signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)}:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # pytest itself goes on ignoring it


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


def piped(text: str, *arguments: str) -> Outcome:
    """Run `... | adamw-scale ...` as a process, with this text on its stdin."""
    process = subprocess.run(
        [sys.executable, "-m", "adamw_scale", *arguments], input=text, capture_output=True, text=True, check=False
    )
    return Outcome(process.returncode, process.stdout, process.stderr)


@pytest.fixture
def adamw_scale(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `adamw-scale ...` in this process."""

    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr("sys.argv", ["adamw-scale", *arguments])
        monkeypatch.setattr(cli.app, "registered_commands", [])
        monkeypatch.setattr(cli.app, "registered_groups", [])
        with pytest.raises(SystemExit) as end:
            cli.run()
        captured = capsys.readouterr()
        return Outcome(int(end.value.code or 0), captured.out, captured.err)

    return run


class PlantedEngine(SerialEngine):
    """An engine that trains nothing: a basin with a known minimum, steeper on the left, plus paired noise.

    `drift` moves the minimum from seed to seed, in octaves.
    """

    name: ClassVar[str] = "planted"
    minimum: ClassVar[float] = -2.4
    noise: ClassVar[float] = 0.004
    depth: ClassVar[float] = 1.0
    drift: ClassVar[float] = 0.0
    trained: ClassVar[list[str]] = []

    def __init__(self, source: TaskSource, jobs: int, options: Mapping[str, str]) -> None:
        pass

    def run(self, cohorts: Sequence[Cohort], listener: Listener) -> Iterator[list[ProbeResult]]:
        """Evaluate the planted basin."""
        for cohort in cohorts:
            yield [self.result(config, listener) for config in cohort]

    def result(self, config: ProbeConfig, listener: Listener) -> ProbeResult:
        """One probe's planted loss."""
        self.trained.append(config.key)
        listener(Progress(config, 1, 1, 3.0))
        loss = self.loss(config.log2_tau, config.seed)
        status = "done" if math.isfinite(loss) else "diverged"
        return ProbeResult(
            key=config.key, config=config, status=status, loss=loss if status == "done" else None, seconds=0.0
        )

    def loss(self, x: float, seed: int) -> float:
        """Asymmetric basin with one level per seed and small independent noise."""
        level, noise = random.Random(seed).gauss(0, 0.1), random.Random(f"{seed}/{x:.6f}").gauss(0, self.noise)
        shift = random.Random(f"where {seed}").gauss(0, self.drift)
        d = x - self.minimum - shift
        basin = 0.05 * d**2 * (1.3 if d < 0 else 0.8) / (1 + 0.1 * abs(d))
        return 2.3 + level + self.depth * (basin + 1e-9) + noise


@pytest.fixture
def planted() -> type[PlantedEngine]:
    """A fresh engine class, whose minimum, noise and depth a test may set."""

    class Fresh(PlantedEngine):
        trained: ClassVar[list[str]] = []

    return Fresh


@cache
def alone(name: str, unused: str, *members: str) -> Any:
    """A module without its parent packages, which want torchvision, and without one unused import of its own."""
    package, *inner = name.split(".")[:-1]
    if package in sys.modules:
        return importlib.import_module(name)
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"could not import {package!r}")
    path = spec.submodule_search_locations[0]
    try:
        for parent in (package, *(f"{package}.{each}" for each in inner)):
            sys.modules[parent] = ModuleType(parent)
            sys.modules[parent].__path__ = [path + parent.removeprefix(package).replace(".", "/")]
        sys.modules[unused] = ModuleType(unused)
        vars(sys.modules[unused]).update(dict.fromkeys(members))
        return importlib.import_module(name)
    finally:
        for loaded in [each for each in sys.modules if each.partition(".")[0] == package]:
            del sys.modules[loaded]
