"""Slurm, through submitit: one job per batch, from a machine that may submit jobs.

Jobs run in the working directory, with this very package, and must see the calibration folder: there lie parcels,
replies and logs (DIR/slurm, removed when all went well), and the checkpoints that a job goes on from which was
preempted or whose time was up. A job that is requeued on its cluster's own account goes on as well.
"""

import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree, which
from tempfile import mkdtemp
from typing import Any, ClassVar, Self

from adamw_scale.errors import MissingExtraError, ProbeError, SpecError
from adamw_scale.probe.engines.engine import Batch, refuse_unknown_options
from adamw_scale.probe.engines.job_clusters import CLUSTERS
from adamw_scale.probe.engines.parcel import ONE_THREAD, News, pack, tell, train, unpack
from adamw_scale.spec.measurement import ProbeResult
from adamw_scale.training.tasks.task import Listener, TaskSource

OPTIONS = ("cluster", "partition", "time", "gpus", "cpus", "mem", "account", "qos", "setup")
ATTEMPTS = 4  # at a batch whose job ends without a reply
NOT_AGAIN = ("CANCELLED", "OUT_OF_MEMORY")  # states of jobs that another attempt would not help
LEAST_MINUTES = 5  # submitit's signal comes 90 seconds before the end
MINUTES = 60
SECONDS_BETWEEN_NEWS = 2.0
POLL_SECONDS = 0.05  # between looks for replies, at first; doubled while there are none


@dataclass
class _Running:
    """A batch and the job that trains it; `news` is the file where the job leaves its progress."""

    batch: Batch
    news: Path
    job: Any = None
    attempt: int = 1
    read: int = 0  # bytes of the news
    ended: float | None = None  # when it was first seen to have ended without a reply


class SlurmEngine:
    """Submits all batches as one job array of which `jobs` run at a time, and submits again what was preempted.

    Options: `cluster` (slurm; local, which runs jobs as processes here; debug, which runs them in this process; by
    default slurm where there is srun, else local), `time` (minutes, 60), `cpus` (1) and `gpus` (1 on CUDA, else 0) per
    batch, `partition`, `mem`, `account` and `qos` as sbatch takes them, `setup`, a line of shell to run first. What
    only Slurm understands is ignored elsewhere.
    """

    name: ClassVar[str] = "slurm"

    def __init__(self, source: TaskSource, jobs: int, options: Mapping[str, str]) -> None:
        refuse_unknown_options(self.name, options, OPTIONS)
        for option, text in options.items():
            if not text.isprintable() or not text:
                raise SpecError(f"--engine-option {option}={text!r}: pass one line of text")
        self.source = source
        self.jobs = jobs
        name = _cluster(options)
        if name not in CLUSTERS:
            raise SpecError(f"--engine-option cluster={name}: pass one of {', '.join(CLUSTERS)}")
        self.cluster = CLUSTERS[name]()
        self.gpus = _whole("gpus", options["gpus"], 0) if "gpus" in options else None
        self.parameters = {
            "name": "adamw-scale",
            "timeout_min": _whole("time", options.get("time", str(MINUTES)), LEAST_MINUTES),
            "cpus_per_task": _whole("cpus", options.get("cpus", "1"), 1),
            "slurm_array_parallelism": jobs,
            "slurm_additional_parameters": {"requeue": True},
            "slurm_setup": [options["setup"]] if "setup" in options else None,
            **{f"slurm_{option}": options.get(option) for option in ("partition", "mem", "account", "qos")},
        }
        self._submitit = _library()
        self._running: list[_Running] = []
        self._failed = False

    @staticmethod
    def elsewhere(options: Mapping[str, str]) -> bool:
        """On Slurm's nodes; jobs of the other clusters run here."""
        return _cluster(options) == "slurm"

    def __enter__(self) -> Self:
        parent = Path(self.source.folder) / "slurm" if self.source.folder is not None else None
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True)
        self.folder = Path(mkdtemp(prefix="jobs-", dir=parent))
        python = _python()
        self._executor = self._submitit.AutoExecutor(
            self.folder, self.cluster.name, slurm_python=python, local_python=python
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.cancel([running.job for running in self._running])
        self._running.clear()
        if not self._failed:
            rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):  # unless others put something there
                if self.source.folder is not None:
                    self.folder.parent.rmdir()

    def run(self, batches: Sequence[Batch], listener: Listener) -> Iterator[list[ProbeResult]]:
        """Train the batches in jobs; results arrive in the order they are seen to be done."""
        waiting = [_Running(batch, self.folder / f"{batch[0].key}.news") for batch in batches]
        pause = POLL_SECONDS
        while waiting or self._running:
            room = len(waiting) if self.cluster.queues else self.jobs - len(self._running)
            self._submit(waiting[:room])
            del waiting[:room]
            ended = [running for running in self._running if self._has_ended(running, listener)]
            for running in ended:
                self._running.remove(running)
                if self.cluster.has_reply(running.job):
                    yield unpack(self._reply(running), running.batch, listener)
                else:
                    waiting.append(self._again(running))
            pause = POLL_SECONDS if ended else min(2 * pause, self.cluster.longest_poll)
            if not ended:
                time.sleep(pause)

    def _submit(self, batches: Sequence[_Running]) -> None:
        if not batches:
            return
        gpus = self.gpus if self.gpus is not None else int(batches[0].batch[0].device == "cuda")
        try:
            with self.cluster.submitting(self.folder / "submissions.log"):
                self._executor.update_parameters(**self.parameters, gpus_per_node=gpus or None)
                with self._executor.batch():
                    for running in batches:
                        parcel = pack(self.source, running.batch)
                        running.job = self._executor.submit(_Job(), parcel, str(running.news))
        except (RuntimeError, OSError, ValueError) as error:
            raise ProbeError(f"the job was not taken: {_first_line(error)}") from None
        self._running += batches

    def _has_ended(self, running: _Running, listener: Listener) -> bool:
        """Pass on the news of a job; whether its reply is there, or there is no hope of one."""
        state = self.cluster.ended(running.job)
        self._listen(running, listener)
        if self.cluster.has_reply(running.job):
            return True
        if state is None:
            running.ended = None
        elif running.ended is None:
            running.ended = time.monotonic()
        return running.ended is not None and time.monotonic() - running.ended >= self.cluster.grace

    def _listen(self, running: _Running, listener: Listener) -> None:
        """Pass on the whole lines that a job has added to its news."""
        with suppress(OSError), running.news.open("rb") as file:
            file.seek(running.read)
            content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            running.read += len(whole)
            for line in whole.splitlines():
                tell(json.loads(line), running.batch, listener)

    def _reply(self, running: _Running) -> str:
        try:
            return str(running.job.result())
        except self._submitit.core.utils.UncompletedJobError:
            raise self._failure(running, "failed") from None

    def _again(self, running: _Running) -> _Running:
        """The same batch for another attempt, unless that would not help."""
        state = self.cluster.ended(running.job) or ""
        if running.attempt == ATTEMPTS or state in NOT_AGAIN:
            times = f" (attempt {running.attempt})" if running.attempt > 1 else ""
            raise self._failure(running, f"ended without a reply{times}, {state}")
        self.cluster.cancel([running.job])  # should it come back after all
        return replace(running, attempt=running.attempt + 1, ended=None)

    def _failure(self, running: _Running, what: str) -> ProbeError:
        """One line with the last of a job's log, and where the log is; which is kept."""
        self._failed = True
        log = running.job.paths.stderr
        lines = []
        with suppress(OSError):
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        told = [line for line in lines if not line.startswith("srun:")] or lines or ["it is empty"]
        return ProbeError(f"job {running.job.job_id} {what}: {told[-1][:200]}. Its log: {log}. What is done is kept")


class _Job:
    """What a job does. submitit asks for a `checkpoint` when the job's time is up, and has it run again."""

    def __call__(self, parcel: str, news: str) -> str:
        """Train a parcel's batch, and reply."""

        def leave(rows: News) -> None:
            with Path(news).open("a") as file:
                file.write(json.dumps(rows) + "\n")

        return train(parcel, leave, SECONDS_BETWEEN_NEWS)

    def checkpoint(self, *arguments: str) -> Any:
        """The same again, which goes on from where the probes' own checkpoint is."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *arguments)


def _library() -> Any:
    try:
        import submitit
    except ImportError:
        raise MissingExtraError("submitit", "slurm", "engine slurm") from None
    logging.getLogger("submitit").setLevel(logging.CRITICAL)
    return submitit


def _python() -> str:
    """The command that starts Python in a job: with this very package, and no file of the working directory."""
    home = str(Path(__file__).parents[3])
    search_path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    threads = [f"{name}={value}" for name, value in ONE_THREAD.items()]
    return shlex.join(["env", f"PYTHONPATH={search_path}", *threads, sys.executable, "-P"])


def _cluster(options: Mapping[str, str]) -> str:
    return options.get("cluster") or ("local" if which("srun") is None else "slurm")


def _whole(name: str, text: str, least: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= 10**6:
        raise SpecError(f"--engine-option {name}={text}: pass a whole number, at least {least}")
    return int(text)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
