"""What travels between an engine and its workers, as lines of JSON: a parcel goes there, messages come back.

A parcel holds the task's source, the configurations of a cohort and the working directory. A message holds `news`, rows
of [index of the probe in the cohort, step, steps, training loss]; the last one also the `results`, or the `error` that
kept the cohort from being trained.
"""

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from adamw_scale.errors import AdamWScaleError, ProbeError
from adamw_scale.probe.engines.engine import Cohort
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.training.tasks import load_task
from adamw_scale.training.tasks.task import Listener, Progress, Task, TaskSource

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def pack(source: TaskSource, cohort: Cohort) -> str:
    """The parcel of one cohort."""
    configs = [config.model_dump(mode="json") for config in cohort]
    return json.dumps({"source": asdict(source), "configs": configs, "directory": os.getcwd()})


def train(
    parcel: str,
    send: Callable[[str], None],
    seconds: float = 0.0,
    load: Callable[[TaskSource], Task] = load_task,
) -> str:
    """Train a parcel's cohort on this machine, and give the last message.

    Paths mean what they meant where the parcel was packed, if this machine has that directory. A calibration
    folder that is not here is left out: then a cohort that is interrupted starts anew. Threads would spin against
    those of other workers, so there is one; but those of a command are its own affair.

    Args:
        parcel: What `pack` made.
        send: Told the newest of each probe in a message, at most once in so many seconds.
        seconds: See `send`.
        load: What makes the task; a process that serves one engine only may keep it for the next cohort.
    """
    content = json.loads(parcel)
    if content["source"]["name"] != "command":
        os.environ.update(ONE_THREAD)  # before torch is imported
    with suppress(OSError):
        os.chdir(content["directory"])
    cohort = [ProbeConfig.model_validate(config) for config in content["configs"]]
    reporter = _Reporter(cohort, send, seconds)
    try:
        results = load(_described(content["source"])).train(cohort, reporter.hear)
    except AdamWScaleError as error:
        return json.dumps({"error": str(error)})
    return reporter.message(results=[result.model_dump(mode="json", by_alias=True) for result in results])


def unpack(message: str, cohort: Cohort, listener: Listener) -> list[ProbeResult] | None:
    """Pass the news of a message on; its results, or None while the cohort is still in training.

    Raises:
        ProbeError: the cohort could not be trained.
        ValueError: the message is torn.
    """
    content = json.loads(message)
    if "error" in content:
        raise ProbeError(content["error"])
    for index, step, steps, loss in content["news"]:
        listener(Progress(cohort[index], step, steps, loss))
    return [ProbeResult.model_validate(result) for result in content["results"]] if "results" in content else None


def _described(source: Mapping[str, Any]) -> TaskSource:
    """The task's source, without a calibration folder that is not here."""
    described = TaskSource(**source)
    here = described.folder is None or Path(described.folder).is_dir()
    return described if here else replace(described, folder=None)


class _Reporter:
    """Gathers the newest of each probe, and sends it now and then."""

    def __init__(self, cohort: Cohort, send: Callable[[str], None], seconds: float) -> None:
        self._index = {config.key: i for i, config in enumerate(cohort)}
        self._send = send
        self._seconds = seconds
        self._newest: dict[int, tuple[int, int, int, float]] = {}
        self._sent = -math.inf

    def hear(self, news: Progress) -> None:
        """A task's listener."""
        index = self._index[news.config.key]
        self._newest[index] = (index, news.step, news.steps, news.loss)
        if time.monotonic() - self._sent >= self._seconds:
            self._send(self.message())
            self._sent = time.monotonic()

    def message(self, **more: object) -> str:
        """What was not sent yet, and whatever else there is to say."""
        newest, self._newest = self._newest, {}
        return json.dumps({"news": list(newest.values()), **more})
