"""Slurm, through submitit: one job per cohort of probes, from a machine that may submit jobs.

Jobs run in the working directory, with this very package, and must see the calibration folder: there lie parcels,
replies and logs (DIR/slurm, removed when all went well), and the checkpoints that a job goes on from which was
preempted or whose time was up. A job that is requeued on its cluster's own account goes on as well.
"""

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
from adamw_scale.probe.engines.engine import Cohort, first_line
from adamw_scale.probe.engines.job_clusters import CLUSTERS
from adamw_scale.probe.engines.parcel import pack, train, unpack
from adamw_scale.spec.measurement import ProbeResult
from adamw_scale.training.options import number, refuse_unknown
from adamw_scale.training.tasks.task import Listener, TaskSource

OPTIONS = ("cluster", "partition", "time", "gpus", "cpus", "mem", "account", "qos", "setup")
ATTEMPTS = 4  # at a cohort whose job ends without a reply
NOT_AGAIN = ("CANCELLED", "OUT_OF_MEMORY")  # states of jobs that another attempt would not help
LEAST_MINUTES = 5  # submitit's signal comes 90 seconds before the end
MINUTES = 60
SECONDS_BETWEEN_NEWS = 2.0
POLL_SECONDS = 0.05  # between looks for replies, at first; doubled while there are none


@dataclass
class _Submitted:
    """A cohort and the job that trains it; `news` is the file where the job leaves its progress."""

    cohort: Cohort
    news: Path
    job: Any = None
    attempt: int = 1
    read: int = 0  # bytes of the news
    ended: float | None = None  # when it was first seen to have ended without a reply


class SlurmEngine:
    """Submits all cohorts as one job array of which `jobs` run at a time, and submits again what was preempted.

    Options: `cluster` (slurm; local, which runs jobs as processes here; debug, which runs them in this process; by
    default slurm where there is srun, else local), `time` (minutes, 60), `cpus` (1) and `gpus` (1 on CUDA, else 0) per
    cohort, `partition`, `mem`, `account` and `qos` as sbatch takes them, `setup`, a line of shell to run first. What
    only Slurm understands is ignored elsewhere.
    """

    name: ClassVar[str] = "slurm"

    def __init__(self, source: TaskSource, jobs: int, options: Mapping[str, str]) -> None:
        refuse_unknown(f"engine {self.name}", options, OPTIONS)
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
            "timeout_min": _whole("time", options.get("time", str(MINUTES)), LEAST_MINUTES, " of minutes"),
            "cpus_per_task": _whole("cpus", options.get("cpus", "1"), 1),
            "slurm_array_parallelism": jobs,
            "slurm_additional_parameters": {"requeue": True},
            "slurm_setup": [options["setup"]] if "setup" in options else None,
            **{f"slurm_{option}": options.get(option) for option in ("partition", "mem", "account", "qos")},
        }
        self._submitit = _library()
        self._submitted: list[_Submitted] = []
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
        self.cluster.cancel([each.job for each in self._submitted])
        self._submitted.clear()
        if not self._failed:
            rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):  # unless others put something there
                if self.source.folder is not None:
                    self.folder.parent.rmdir()

    def run(self, cohorts: Sequence[Cohort], listener: Listener) -> Iterator[list[ProbeResult]]:
        """Train the cohorts in jobs; results arrive in the order they are seen to be done."""
        waiting = [_Submitted(cohort, self.folder / f"{cohort[0].key}.news") for cohort in cohorts]
        pause = POLL_SECONDS
        while waiting or self._submitted:
            room = len(waiting) if self.cluster.queues else self.jobs - len(self._submitted)
            self._submit(waiting[:room])
            del waiting[:room]
            ended = [each for each in self._submitted if self._has_ended(each, listener)]
            for each in ended:
                self._submitted.remove(each)
                if self.cluster.has_reply(each.job):
                    yield unpack(self._reply(each), each.cohort, listener) or []
                else:
                    waiting.append(self._again(each))
            pause = POLL_SECONDS if ended else min(2 * pause, self.cluster.longest_poll)
            if not ended:
                time.sleep(pause)

    def _submit(self, new: Sequence[_Submitted]) -> None:
        if not new:
            return
        gpus = self.gpus if self.gpus is not None else int(new[0].cohort[0].device == "cuda")
        try:
            with self.cluster.submitting(self.folder / "submissions.log"):
                self._executor.update_parameters(**self.parameters, gpus_per_node=gpus or None)
                with self._executor.batch():
                    for each in new:
                        each.job = self._executor.submit(_Job(), pack(self.source, each.cohort), str(each.news))
        except (RuntimeError, OSError, ValueError) as error:
            raise ProbeError(f"the job was not taken: {first_line(error)}") from None
        self._submitted += new

    def _has_ended(self, submitted: _Submitted, listener: Listener) -> bool:
        """Pass on the news of a job; whether its reply is there, or there is no hope of one."""
        state = self.cluster.ended(submitted.job)
        self._listen(submitted, listener)
        if self.cluster.has_reply(submitted.job):
            return True
        if state is None:
            submitted.ended = None
        elif submitted.ended is None:
            submitted.ended = time.monotonic()
        return submitted.ended is not None and time.monotonic() - submitted.ended >= self.cluster.grace

    def _listen(self, submitted: _Submitted, listener: Listener) -> None:
        """Pass on the whole lines that a job has added to its news."""
        with suppress(OSError), submitted.news.open("rb") as file:
            file.seek(submitted.read)
            content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            submitted.read += len(whole)
            for message in whole.decode().splitlines():
                unpack(message, submitted.cohort, listener)

    def _reply(self, submitted: _Submitted) -> str:
        try:
            return str(submitted.job.result())
        except self._submitit.core.utils.UncompletedJobError:
            raise self._failure(submitted, "failed") from None

    def _again(self, submitted: _Submitted) -> _Submitted:
        """The same cohort for another attempt, unless that would not help."""
        state = self.cluster.ended(submitted.job) or ""
        if submitted.attempt == ATTEMPTS or state in NOT_AGAIN:
            times = f" (attempt {submitted.attempt})" if submitted.attempt > 1 else ""
            raise self._failure(submitted, f"ended without a reply{times}, {state}")
        self.cluster.cancel([submitted.job])  # should it come back after all
        return replace(submitted, attempt=submitted.attempt + 1, ended=None)

    def _failure(self, submitted: _Submitted, what: str) -> ProbeError:
        """One line with the last of a job's log, and where the log is; which is kept."""
        self._failed = True
        log = submitted.job.paths.stderr
        lines = []
        with suppress(OSError):
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        told = [line for line in lines if not line.startswith("srun:")] or lines or ["it is empty"]
        return ProbeError(f"job {submitted.job.job_id} {what}: {told[-1][:200]}. Its log: {log}. What is done is kept")


class _Job:
    """What a job does. submitit asks for a `checkpoint` when the job's time is up, and has it run again."""

    def __call__(self, parcel: str, news: str) -> str:
        """Train a parcel's cohort, and reply."""

        def leave(message: str) -> None:
            with Path(news).open("a") as file:
                file.write(message + "\n")

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
    return shlex.join(["env", f"PYTHONPATH={search_path}", sys.executable, "-P"])


def _cluster(options: Mapping[str, str]) -> str:
    return options.get("cluster") or ("local" if which("srun") is None else "slurm")


def _whole(option: str, text: str, least: int, unit: str = "") -> int:
    return int(number(f"--engine-option {option}", text, least, 10**6, f"whole number{unit}"))
