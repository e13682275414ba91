"""A batch as text, for engines whose workers may be on other machines: what goes there and what comes back is JSON.

A parcel holds the task's source, the batch's configurations and the working directory; a reply holds the
results, or the message of the error that kept the batch from being run. News of a batch are rows of
[index of the probe in the batch, step, steps, training loss].
"""

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from adamw_scale.errors import AdamWScaleError, ProbeError
from adamw_scale.probe.engines.engine import Batch
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.training.tasks import load_task
from adamw_scale.training.tasks.task import Listener, Progress, TaskSource

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

News = Sequence[tuple[int, int, int, float]]


def pack(source: TaskSource, batch: Batch) -> str:
    """The parcel of one batch."""
    configs = [config.model_dump(mode="json") for config in batch]
    return json.dumps({"source": asdict(source), "configs": configs, "directory": os.getcwd()})


def train(parcel: str, send: Callable[[News], None], seconds: float) -> str:
    """Train a parcel's batch on this machine, in one thread, and reply.

    Paths mean what they meant where the parcel was packed, if this machine has that directory. A calibration
    folder that is not here is left out: then a batch that is interrupted starts anew.

    Args:
        parcel: What `pack` made.
        send: Told the newest of each probe, at most once in so many seconds; the last goes with the reply.
        seconds: See `send`.
    """
    content = json.loads(parcel)
    os.environ.update(ONE_THREAD)  # before torch is imported
    with suppress(OSError):
        os.chdir(content["directory"])
    source = TaskSource(**content["source"])
    if source.folder is not None and not Path(source.folder).is_dir():
        source = replace(source, folder=None)
    batch = [ProbeConfig.model_validate(config) for config in content["configs"]]
    reporter = _Reporter(batch, send, seconds)
    try:
        results = load_task(source).train(batch, reporter.hear)
    except AdamWScaleError as error:
        return json.dumps({"error": str(error)})
    content = [result.model_dump(mode="json", by_alias=True) for result in results]
    return json.dumps({"news": reporter.take(), "results": content})


def unpack(reply: str, batch: Batch, listener: Listener) -> list[ProbeResult]:
    """The results of a reply, after the last news; ProbeError where it says that the batch could not be run."""
    content = json.loads(reply)
    if "error" in content:
        raise ProbeError(content["error"])
    tell(content["news"], batch, listener)
    return [ProbeResult.model_validate(result) for result in content["results"]]


def tell(news: News, batch: Batch, listener: Listener) -> None:
    """Pass a batch's news on."""
    for index, step, steps, loss in news:
        listener(Progress(batch[index], step, steps, loss))


class _Reporter:
    """Gathers the newest of each probe, and sends it now and then."""

    def __init__(self, batch: Batch, send: Callable[[News], None], seconds: float) -> None:
        self._index = {config.key: i for i, config in enumerate(batch)}
        self._send = send
        self._seconds = seconds
        self._newest: dict[int, tuple[int, int, int, float]] = {}
        self._sent = -math.inf

    def hear(self, news: Progress) -> None:
        """A task's listener."""
        index = self._index[news.config.key]
        self._newest[index] = (index, news.step, news.steps, news.loss)
        if time.monotonic() - self._sent > self._seconds:
            self._send(self.take())
            self._sent = time.monotonic()

    def take(self) -> News:
        """What was not sent yet."""
        newest, self._newest = self._newest, {}
        return list(newest.values())
