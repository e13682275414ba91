"""Worker processes on this machine, one single-threaded process per core."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import ClassVar, Self

from adamw_scale.errors import ProbeError
from adamw_scale.probe.engines.engine import Listener, Progress, TaskSource
from adamw_scale.probe.plan import ProbeConfig, ProbeResult

Event = Progress | ProbeResult | ProbeError


class ProcessesEngine:
    """Feeds `jobs` workers from one queue; a worker that dies is an error, not a hang.

    Workers speak JSON lines over pipes (`worker.py`), live as long as the engine, and end with it.
    """

    name: ClassVar[str] = "processes"

    def __init__(self, source: TaskSource, jobs: int) -> None:
        self.source = source
        self.jobs = jobs
        self._workers: list[subprocess.Popen[str]] = []
        self._feeders: list[Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.kill()
        for feeder in self._feeders:
            feeder.join()  # ends when its worker's replies end
        for worker in self._workers:
            worker.wait()
            for pipe in (worker.stdin, worker.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()
        self._workers.clear()
        self._feeders.clear()

    def run(self, configs: Sequence[ProbeConfig], listener: Listener) -> Iterator[ProbeResult]:
        """Train the configurations on all workers; results arrive in the order they finish."""
        while len(self._workers) < min(self.jobs, len(configs)):
            self._workers.append(self._start())
        waiting: Queue[ProbeConfig] = Queue()
        events: Queue[Event] = Queue()
        for config in configs:
            waiting.put(config)
        for worker in self._workers:
            feeder = Thread(target=_feed, args=(worker, waiting, events), daemon=True)
            feeder.start()
            self._feeders.append(feeder)
        unfinished = len(configs)
        while unfinished:
            event = events.get()
            if isinstance(event, ProbeError):
                raise event
            if isinstance(event, Progress):
                listener(event)
            else:
                unfinished -= 1
                yield event

    def _start(self) -> subprocess.Popen[str]:
        """A worker in a session of its own: Ctrl-C reaches the parent only, which ends it in order."""
        # The worker runs this very package, and no file of the working directory that has a module's name.
        home = str(Path(__file__).parents[3])
        search_path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "adamw_scale.probe.engines.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": search_path, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        assert worker.stdin is not None
        _send(worker, json.dumps({"name": self.source.name, "data": self.source.data}))
        return worker


def _feed(worker: subprocess.Popen[str], waiting: Queue[ProbeConfig], events: Queue[Event]) -> None:
    """Give one worker probes until none waits; every way this can end leaves an event."""
    while True:
        try:
            config = waiting.get_nowait()
        except Empty:
            return
        try:
            _send(worker, config.model_dump_json(exclude_defaults=True))
            for event in _replies(worker, config):
                events.put(event)
        except ProbeError as error:
            events.put(error)
            return
        except Exception as error:  # a thread that dies silently would leave the engine waiting
            events.put(ProbeError(f"a worker process answered {type(error).__name__}: {error}"))
            return


def _replies(worker: subprocess.Popen[str], config: ProbeConfig) -> Iterator[Event]:
    """What a worker says about one probe, up to and with its result."""
    assert worker.stdout is not None
    for line in worker.stdout:
        message = json.loads(line)
        if "progress" in message:
            yield Progress(config, *message["progress"])
        elif "result" in message:
            yield ProbeResult.model_validate(message["result"])
            return
        else:
            raise ProbeError(message["error"])
    raise ProbeError(
        f"a worker process died (status {worker.wait()}) while training; what is done is kept: "
        "run the same command again, with fewer --jobs if memory ran out"
    )


def _send(worker: subprocess.Popen[str], line: str) -> None:
    """Write one line; a worker that is gone is noticed when its replies end."""
    assert worker.stdin is not None
    try:
        worker.stdin.write(line + "\n")
        worker.stdin.flush()
    except BrokenPipeError:
        pass
