"""A command as a probe in a folder of its own, and what is left of its processes."""

import os
import shlex
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adamw_scale.probe.sweep import Sweep
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.training.tasks.command import CommandTask
from adamw_scale.training.tasks.task import Progress, TaskSource

SCRIPTS = Path(__file__).parent / "scripts"
PYTHON = shlex.quote(sys.executable)
BASIN = f"sh {shlex.quote(str(SCRIPTS / 'basin.sh'))} {{lr}} {{weight_decay}} {{steps}} {{seed}}"
NANOGPT = (
    f"{PYTHON} {shlex.quote(str(SCRIPTS / 'nanogpt_train.py'))} --learning_rate={{lr}} --weight_decay={{weight_decay}} "
    "--max_iters={steps} --warmup_iters={warmup_steps} --beta1={beta1} --beta2={beta2} --seed={seed} --device=cpu "
    "--compile=False --batch_size=8 --block_size=32"
)
TRAINER = (
    f"{PYTHON} {shlex.quote(str(SCRIPTS / 'hf_train.py'))} --learning_rate {{lr}} --weight_decay {{weight_decay}} "
    "--max_steps {steps} --warmup_steps {warmup_steps} --seed {seed} --output_dir {run_dir} "
    "--per_device_train_batch_size 8"
)
RUN: dict[str, Any] = {"unit": "samples", "dataset_size": 50_000, "batch_size": 128, "epochs": 4, "peak_lr": 1e-3}
WD = "{weight_decay}"


def sweep_of(task: CommandTask, **fields: Any) -> Sweep:
    """The sweep of a command over a run."""
    run = task.default_run({**RUN, **fields})
    return Sweep(task=task.identity(run), data=task.describe_data(run), run=run)


def quiet(progress: Progress) -> None:
    """Progress that nobody needs."""


class Bench:
    """A folder with a command in it, run as a probe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: ProbeConfig | None = None

    def task(self, command: str, /, **options: str) -> CommandTask:
        """The task of a command with placeholders."""
        return CommandTask(TaskSource("command", None, {"command": command, **options}, str(self.folder)))

    def run(
        self,
        command: str,
        listener: Callable[[Progress], None] = quiet,
        /,
        *,
        fields: dict[str, Any] | None = None,
        **options: str,
    ) -> ProbeResult:
        """The result of one probe of a command."""
        task = self.task(command, **options)
        self.config = sweep_of(task, **(fields or {})).config(0, -2.0)
        return task.train([self.config], listener)[0]

    def script(self, template: str) -> str:
        """A command that runs a Python script of this text, with the weight decay after it."""
        path = self.folder / "script.py"
        path.write_text(textwrap.dedent(template))
        return f"{PYTHON} -S {shlex.quote(str(path))} {WD}"

    def says(self, *lines: str, status: int = 0) -> ProbeResult:
        """The result of a command that prints these lines and ends with a status."""
        return self.run(self.script(f"print({chr(10).join(lines)!r}); raise SystemExit({status})"))

    @property
    def log(self) -> bytes:
        """The log of the only probe."""
        (path,) = (self.folder / "logs").glob("*.log")
        return path.read_bytes()


def is_running(pid: int) -> bool:
    """Whether a process exists and is more than an entry that its parent has yet to read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children() -> set[str]:
    """Ids of this process' children, those too that have ended and were not waited for."""
    listed = (Path(f"/proc/self/task/{thread}/children") for thread in os.listdir("/proc/self/task"))
    return {pid for path in listed if path.exists() for pid in path.read_text().split()}


def eventually(condition: Callable[[], object], seconds: float = 30.0) -> bool:
    """Whether something comes true before the test gives up."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


TRAIN_ELSEWHERE = """
import json, resource, sys
from adamw_scale.training.commands import process
from adamw_scale.training.tasks.command import CommandTask
from adamw_scale.training.tasks.task import TaskSource
from adamw_scale.spec.measurement import ProbeConfig
process.GRACE_SECONDS = 1.0
task = CommandTask(TaskSource("command", None, {"command": sys.argv[1]}, sys.argv[2]))
memory = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = memory()
(result,) = task.train([ProbeConfig.model_validate_json(sys.argv[3])], lambda news: None)
print(json.dumps([result.loss, memory() - before]))
"""


def elsewhere(template: str, folder: Path, config: ProbeConfig) -> list[str]:
    """Arguments of a process that trains one probe and prints its loss and by how much its own memory grew, in KiB."""
    document = config.model_dump_json()
    return [sys.executable, "-c", TRAIN_ELSEWHERE, template, str(folder), document]
