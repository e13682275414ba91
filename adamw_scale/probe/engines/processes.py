"""Worker processes on this machine: one single-threaded process per core, or one per GPU."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import ClassVar, Self

from adamw_scale.errors import ProbeError
from adamw_scale.probe.engines.engine import Cohort
from adamw_scale.probe.engines.parcel import pack, unpack
from adamw_scale.spec.measurement import ProbeResult
from adamw_scale.training.commands.process import GRACE_SECONDS
from adamw_scale.training.machine import usable_gpus
from adamw_scale.training.options import refuse_unknown
from adamw_scale.training.tasks.task import Listener, Progress, TaskSource

GRACE = GRACE_SECONDS + 10  # seconds that a worker has to end in order, with the command it may be running
IMPATIENCE = 5.0  # the same for a worker that was interrupted twice
ATTEMPTS = 3  # at a cohort whose worker dies; then it is an error
HOME = str(Path(__file__).parents[3])
# This very package, and with -P no file of the working directory that has a module's name; PYTHONPATH is the user's.
WORKER = f"import sys; sys.path.insert(0, {HOME!r}); from adamw_scale.probe.engines.worker import run; run()"

Event = Progress | list[ProbeResult] | ProbeError


class WorkerDiedError(Exception):
    """A worker process ended without an answer, with this exit status."""


class ProcessesEngine:
    """Feeds `jobs` workers from one queue; a worker that dies is replaced, and its cohort given to another.

    Workers (`worker`) are sent parcels over pipes, live as long as the engine, and end with it. On CUDA
    worker i sees GPU i only, of those that CUDA_VISIBLE_DEVICES grants.
    """

    name: ClassVar[str] = "processes"

    def __init__(self, source: TaskSource, jobs: int, options: Mapping[str, str]) -> None:
        refuse_unknown(f"engine {self.name}", options)
        self.source = source
        self.jobs = jobs
        self._workers: list[_Worker] = []
        self._feeders: dict[_Worker, Thread] = {}  # the latest of each

    @staticmethod
    def elsewhere(options: Mapping[str, str]) -> bool:
        """It trains on this machine."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._end_workers(GRACE)
        except BaseException:  # interrupted once more: so is what the workers wait for
            self._end_workers(IMPATIENCE)
            raise
        finally:
            deadline = time.monotonic() + IMPATIENCE
            for worker, feeder in self._feeders.items():
                feeder.join(
                    max(0.0, deadline - time.monotonic())
                )  # its worker's replies end, unless a stray holds them
                if not feeder.is_alive():
                    worker.close()
            self._workers.clear()
            self._feeders.clear()

    def _end_workers(self, patience: float) -> None:
        """Ask every worker to end, and see to it in so many seconds."""
        for worker in self._workers:
            worker.terminate()
        deadline = time.monotonic() + patience
        for worker in self._workers:
            worker.kill_at(deadline)

    def run(self, cohorts: Sequence[Cohort], listener: Listener) -> Iterator[list[ProbeResult]]:
        """Train the cohorts on all workers; results arrive in the order they finish."""
        gpus = usable_gpus() if any(config.device == "cuda" for cohort in cohorts for config in cohort) else []
        while len(self._workers) < min(self.jobs, len(cohorts)):
            gpu = gpus[len(self._workers) % len(gpus)] if gpus else None
            self._workers.append(_Worker(self.source, gpu))
        waiting: Queue[Cohort] = Queue()
        events: Queue[Event] = Queue()
        for cohort in cohorts:
            waiting.put(cohort)
        for worker in self._workers:
            feeder = Thread(target=_feed, args=(worker, waiting, events), daemon=True)
            feeder.start()
            self._feeders[worker] = feeder
        unfinished = len(cohorts)
        while unfinished:
            event = events.get()
            if isinstance(event, ProbeError):
                raise event
            if isinstance(event, Progress):
                listener(event)
            else:
                unfinished -= 1
                yield event


class _Worker:
    """A worker process, started when it is first needed and again when it has died."""

    def __init__(self, source: TaskSource, gpu: str | None) -> None:
        self.source = source
        self.gpu = gpu
        self.ended = False
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        """In a session of its own: Ctrl-C reaches the parent only, which ends it in order."""
        environment = os.environ if self.gpu is None else {**os.environ, "CUDA_VISIBLE_DEVICES": self.gpu}
        return subprocess.Popen(
            [sys.executable, "-P", "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=environment,
        )

    def train(self, cohort: Cohort, listener: Listener) -> list[ProbeResult]:
        """What the worker measures of one cohort; `listener` hears what it says meanwhile.

        Raises:
            WorkerDiedError: it ended without results.
            ProbeError: the cohort cannot be trained.
        """
        if self.process.poll() is not None and not self.ended:
            self.close()
            self.process = self._start()
            if self.ended:  # while it was starting
                self.process.kill()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):  # a worker that is gone is noticed when its messages end
            self.process.stdin.write(pack(self.source, cohort) + "\n")
            self.process.stdin.flush()
        with suppress(ValueError):  # it died while writing
            for message in self.process.stdout:
                if (results := unpack(message, cohort, listener)) is not None:
                    return results
        raise WorkerDiedError(self.process.wait())

    def terminate(self) -> None:
        """Ask the process to end with whatever it started, and start it no more."""
        self.ended = True
        self.process.terminate()

    def kill_at(self, deadline: float) -> None:
        """Wait for the end until then, and no longer."""
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()

    def close(self) -> None:
        """Free what a process that has ended leaves behind."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(IMPATIENCE)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


def _feed(worker: _Worker, waiting: "Queue[Cohort]", events: "Queue[Event]") -> None:
    """Give one worker cohorts until none waits; every way this can end leaves an event."""
    with suppress(Empty):
        while not worker.ended:
            cohort = waiting.get_nowait()
            try:
                events.put(_train(worker, cohort, events.put))
            except ProbeError as error:
                events.put(error)
                return
            except Exception as error:  # a thread that dies silently would leave the engine waiting
                events.put(ProbeError(f"a worker process answered {type(error).__name__}: {error}"))
                return


def _train(worker: _Worker, cohort: Cohort, listener: Listener) -> list[ProbeResult]:
    attempt = 1
    while True:
        try:
            return worker.train(cohort, listener)
        except WorkerDiedError as death:
            if attempt == ATTEMPTS or worker.ended:
                raise ProbeError(
                    f"a worker process died (status {death}) while training, {attempt} times; what is done is kept: "
                    "run the same command again, with fewer --jobs if memory ran out"
                ) from None
            attempt += 1
