"""Where jobs of the slurm engine run: on Slurm, or on this machine to try things out. What becomes of them there."""

import math
import os
import re
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from shutil import which
from typing import Any, ClassVar

from adamw_scale.errors import SpecError

GONE = "GONE"  # what the queue knows no more
ENDED = re.compile("GONE|BOOT_FAIL|CANCELLED|COMPLETED|DEADLINE|FAILED|NODE_FAIL|OUT_OF_MEMORY|PREEMPTED|TIMEOUT")
SECONDS_BETWEEN_QUESTIONS = 15.0  # that Slurm is asked
ANSWER_SECONDS = 60.0  # that Slurm may take for an answer
POLL_SECONDS = 0.05
FAREWELL_SECONDS = 10.0


class Cluster(ABC):
    """What the engine asks of where its jobs run."""

    name: ClassVar[str]  # submitit's
    queues: ClassVar[bool]  # takes any number of jobs at once
    longest_poll: ClassVar[float]  # seconds
    grace: ClassVar[float]  # seconds from the end of a job without a reply to the end of hope for one

    @abstractmethod
    def ended(self, job: Any) -> str | None:
        """The state of a job that has ended, else None."""

    def has_reply(self, job: Any) -> bool:
        """Whether the disk shows what the job replied."""
        return bool(job.paths.result_pickle.exists())

    @abstractmethod
    def cancel(self, jobs: Sequence[Any]) -> None:
        """End jobs; those on this machine before this returns."""

    @abstractmethod
    def submitting(self, log: Path) -> AbstractContextManager[None]:
        """Around submissions: nothing is to be printed on the terminal, neither now nor by what is started."""


class ThisMachine(Cluster):
    """submitit's "local": jobs are processes of this machine."""

    name: ClassVar[str] = "local"
    queues: ClassVar[bool] = False
    longest_poll: ClassVar[float] = 0.4
    grace: ClassVar[float] = 0.0

    def ended(self, job: Any) -> str | None:
        """What its process ended with."""
        return str(job.state) if job.done() else None

    def cancel(self, jobs: Sequence[Any]) -> None:
        """Interrupt their processes, which end what they started, and wait."""
        for job in jobs:
            job.cancel()
        deadline = time.monotonic() + FAREWELL_SECONDS
        while time.monotonic() < deadline and not all(job.done() for job in jobs):
            time.sleep(POLL_SECONDS)

    @contextmanager
    def submitting(self, log: Path) -> Iterator[None]:
        """The processes that are started print into the log."""
        kept = [os.dup(descriptor) for descriptor in (1, 2)]
        try:
            with log.open("ab") as file:
                for descriptor in (1, 2):
                    os.dup2(file.fileno(), descriptor)
            yield
        finally:
            for descriptor, original in zip((1, 2), kept, strict=True):
                os.dup2(original, descriptor)
                os.close(original)


class InThisProcess(ThisMachine):
    """submitit's "debug": jobs are calls in this process, where a debugger can stop them; asking for one makes it."""

    name: ClassVar[str] = "debug"
    longest_poll: ClassVar[float] = 0.0

    def has_reply(self, job: Any) -> bool:
        """A call has replied when it returns."""
        return True

    def cancel(self, jobs: Sequence[Any]) -> None:
        """A call has ended before it could be cancelled."""


class Slurm(Cluster):
    """A real cluster. What became of jobs is asked of its queue, not of its accounting, which many do without."""

    name: ClassVar[str] = "slurm"
    queues: ClassVar[bool] = True
    longest_poll: ClassVar[float] = 5.0
    grace: ClassVar[float] = 60.0  # for a network disk to show the reply, and for a preempted job to be queued again

    def __init__(self) -> None:
        if which("srun") is None:
            raise SpecError("--engine-option cluster=slurm: there is no srun here. Run on a machine that submits jobs")
        self._states: dict[str, str] | None = None
        self._asked = -math.inf

    def ended(self, job: Any) -> str | None:
        """The state in the queue, GONE for what it knows no more."""
        if time.monotonic() - self._asked > SECONDS_BETWEEN_QUESTIONS:
            self._ask()
        state = None if self._states is None else self._states.get(str(job.job_id), GONE)
        return state if state and ENDED.fullmatch(state) else None

    def cancel(self, jobs: Sequence[Any]) -> None:
        """Take jobs out of the queue."""
        if jobs:
            _run("scancel", "--quiet", *(str(job.job_id) for job in jobs))

    @contextmanager
    def submitting(self, log: Path) -> Iterator[None]:
        """What sbatch complains of is in the exception; submitit prints it as well."""
        with redirect_stderr(StringIO()):
            yield
        self._states, self._asked = None, -math.inf

    def _ask(self) -> None:
        """All the user's jobs, also those that ended minutes ago. A queue that does not answer is asked again later."""
        answer = _run("squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", "--format=%i %T")
        self._asked = time.monotonic()
        lines = [line.split(maxsplit=1) for line in answer.stdout.splitlines() if line.strip()]
        if answer.returncode == 0 and all(len(line) == 2 for line in lines):
            self._states = {line[0]: line[1] for line in lines}


CLUSTERS: Mapping[str, Callable[[], Cluster]] = {"slurm": Slurm, "local": ThisMachine, "debug": InThisProcess}


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Slurm's; one that does not answer in time has failed."""
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", "")
