"""A process that trains probes: batches of configurations in on stdin, progress and results out on stdout.

The protocol is one JSON document per line. In: first the task's source, then one batch (a list of
ProbeConfigs) per line, until end of file. Out: {"progress": [index, step, steps, loss]} while training,
{"results": [ProbeResult, ...]} when done, {"error": message} if the batch cannot be run. SIGTERM ends the worker in
order, with whatever it started; and so does the death of its parent, by whatever signal.
"""

import json
import os
import signal
import sys
import time
from threading import Thread
from typing import Any

from adamw_scale.errors import AdamWScaleError
from adamw_scale.probe.engines.engine import Batch
from adamw_scale.spec.measurement import ProbeConfig
from adamw_scale.training.tasks import load_task
from adamw_scale.training.tasks.task import Progress, Task, TaskSource

PARENT_CHECKED_EVERY = 0.5  # seconds


def run() -> None:
    """Be a worker until there is nothing more to do."""
    try:
        main()
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(1)  # the parent is gone or leaving: nothing to report, nobody to report to


def main() -> None:
    """Serve batches until stdin ends."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not get into the replies

    def reply(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=replies, flush=True)

    try:
        source = TaskSource(**json.loads(sys.stdin.readline()))
        if source.name != "command":  # a command's threads are its own; ours would spin against the other workers'
            os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        task = load_task(source)
        for line in sys.stdin:
            batch = [ProbeConfig.model_validate(config) for config in json.loads(line)]
            reply({"results": _results(task, batch, reply)})
    except AdamWScaleError as error:
        reply({"error": str(error)})


def _end_with(parent: int) -> None:
    """End this process when its parent has gone."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECKED_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)


def _results(task: Task, batch: Batch, reply: Any) -> list[dict[str, Any]]:
    index = {config.key: i for i, config in enumerate(batch)}

    def listener(news: Progress) -> None:
        reply({"progress": [index[news.config.key], news.step, news.steps, news.loss]})

    return [result.model_dump(mode="json", by_alias=True) for result in task.train(batch, listener)]
