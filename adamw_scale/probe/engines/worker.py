"""A process that trains probes: a parcel a line in on stdin, messages out on stdout (see `parcel`), until stdin ends.

SIGTERM ends the worker in order, with whatever it started; and so does the death of its parent, by whatever signal.
"""

import os
import signal
import sys
import time
from threading import Thread

from adamw_scale.probe.engines.parcel import train
from adamw_scale.training.tasks import load_task
from adamw_scale.training.tasks.task import Task, TaskSource

PARENT_CHECKED_EVERY = 0.5  # seconds


def run() -> None:
    """Be a worker until there is nothing more to do."""
    try:
        main()
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(1)  # the parent is gone or leaving: nothing to report, nobody to report to


def main() -> None:
    """Serve parcels until stdin ends."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not get into the replies

    def say(message: str) -> None:
        print(message, file=replies, flush=True)

    tasks: list[Task] = []

    def load(source: TaskSource) -> Task:
        if (
            not tasks
        ):  # its data are read once, not for every cohort: this process serves one engine, which has one task
            tasks.append(load_task(source))
        return tasks[0]

    for parcel in sys.stdin:
        say(train(parcel, say, load=load))


def _end_with(parent: int) -> None:
    """End this process when its parent has gone."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECKED_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)
