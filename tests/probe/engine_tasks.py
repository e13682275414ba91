"""A task that trains nothing, for testing engines: it does what its options say, wherever it is run.

Workers find it as an installed package's: `install` writes what pip would.
"""

import hashlib
import os
import signal
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from adamw_scale.errors import ProbeError
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.spec.run import TrainingRun
from adamw_scale.training.tasks.task import Listener, Progress, TaskSource

STEPS = 4


class ScriptedTask:
    """Leaves a file `KEY.ID` with its process id in `diary` whenever it starts a cohort, KEY being the first probe's.

    Options: `diary`, a folder; `seconds` a cohort takes; `together`, how many must be in training before any goes on;
    `deaths`, how often each cohort kills its process at half time; `error`, what it refuses to be trained with; `bug`,
    what it crashes with.
    """

    name: ClassVar[str] = "scripted"

    def __init__(self, source: TaskSource) -> None:
        source.only("diary", "seconds", "together", "deaths", "error", "bug")
        self.options = source.options

    def default_run(self, overrides: dict[str, Any]) -> TrainingRun:
        """A run of a hundred steps."""
        return TrainingRun.model_validate(
            {"unit": "samples", "dataset_size": 800, "epochs": 1, "batch_size": 8, "peak_lr": 1e-3, **overrides}
        )

    def identity(self, run: TrainingRun) -> dict[str, str]:
        """Its name."""
        return {"name": self.name}

    def describe_data(self, run: TrainingRun) -> str:
        """There are none."""
        return "training on nothing"

    def require_device(self, device: str) -> None:
        """Every device will do."""

    def cohort_limit(self, run: TrainingRun, device: str) -> int:
        """Two at once."""
        return 2

    def train(self, configs: Sequence[ProbeConfig], listener: Listener) -> list[ProbeResult]:
        """Losses that look measured: a hash of the configuration as a fraction."""
        diary, key = Path(self.options["diary"]), configs[0].key
        (diary / f"{key}.{uuid.uuid4().hex}").write_text(str(os.getpid()))
        for step in range(1, STEPS + 1):
            for config in configs:
                listener(Progress(config, step, STEPS, 1 / step))
            time.sleep(float(self.options.get("seconds", "0")) / STEPS)
            if step == STEPS // 2:
                while len({file.stem for file in diary.iterdir()}) < int(self.options.get("together", "1")):
                    time.sleep(0.05)
                self._misbehave(len(list(diary.glob(f"{key}.*"))))
        return [self._result(config) for config in configs]

    def _misbehave(self, starts: int) -> None:
        if "error" in self.options:
            raise ProbeError(self.options["error"])
        if "bug" in self.options:
            raise LookupError(self.options["bug"])
        if starts <= int(self.options.get("deaths", "0")):
            os.kill(os.getpid(), signal.SIGKILL)

    def _result(self, config: ProbeConfig) -> ProbeResult:
        loss = int.from_bytes(hashlib.sha256(config.key.encode()).digest()[:6]) / 3e13
        machine = {
            "packages": os.pathsep.join(place for place in sys.path if (Path(place) / "adamw_scale").is_dir()),
            "threads": os.environ.get("OMP_NUM_THREADS", ""),
            "node": os.environ.get("RAY_RAYLET_PID", ""),
        }
        return ProbeResult(
            key=config.key,
            config=config,
            status="done",
            loss=loss,
            seconds=0.1,
            curve=((1, loss / 3),),
            machine=machine,
        )


def install(folder: Path) -> None:
    """Declare the task in a folder, which is then to be on the path of Python."""
    package = folder / "engine_tasks-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: engine-tasks\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[adamw_scale.tasks]\nscripted = engine_tasks:ScriptedTask\n")
    (folder / "engine_tasks.py").write_bytes(Path(__file__).read_bytes())
