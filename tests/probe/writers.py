"""Processes that append to one store at once, or die while they do: `python writers.py concurrent|killed FILE`.

The report, one JSON document on stdout, is what append() returned for: those results must be in the file.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from adamw_scale import TrainingRun
from adamw_scale.probe.store import ProbeStore
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult

RUN = TrainingRun(dataset_size=16384, batch_size=256, epochs=32, peak_lr=2e-3, weight_decay=0.1)


def result(seed: int, points: int = 20, status: str = "done") -> ProbeResult:
    """A finished probe with a curve of so many points."""
    config = ProbeConfig(task={"name": "planted"}, run=RUN, seed=seed)
    loss, reason = (2.3 + seed, None) if status == "done" else (None, "it broke" if status == "failed" else None)
    curve = tuple((step, 3.0 + 1 / (step + 1)) for step in range(points))
    return ProbeResult.model_validate(
        {
            "key": config.key,
            "config": config,
            "status": status,
            "loss": loss,
            "reason": reason,
            "seconds": 1.5,
            "curve": curve,
        }
    )


def concurrent(path: Path, writers: int = 8, batches: int = 50) -> list[str]:
    """Several processes append batches of three, all at once."""
    pids = []
    for writer in range(writers):
        pid = os.fork()
        if not pid:
            with ProbeStore(path) as store:
                for batch in range(batches):
                    store.append(*(result(1000 * writer + 3 * batch + i) for i in range(3)))
            os._exit(0)
        pids.append(pid)
    assert all(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 for pid in pids)
    return [result(1000 * writer + i).key for writer in range(writers) for i in range(3 * batches)]


def killed(path: Path, rounds: int = 50) -> list[str]:
    """One process after another appends large batches until SIGKILL takes it at a random moment."""
    chance, promised = random.Random(0), []
    for turn in range(rounds):
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            append_for_ever(path, 1000 * turn, writing)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            promised.append(pipe.readline().strip())  # it is in its loop from here on
            time.sleep(chance.uniform(0, 0.02))
            os.kill(pid, signal.SIGKILL)
            promised += pipe.read().split()
        os.waitpid(pid, 0)
    return promised


def append_for_ever(path: Path, seed: int, writing: int) -> None:
    """Append batches of two results of 25 kB each, and say so after every one."""
    large = result(0, 1000)
    with ProbeStore(path) as store:
        while True:
            batch = []
            for _ in range(2):
                config = large.config.model_copy(update={"seed": seed})
                batch.append(large.model_copy(update={"key": config.key, "config": config}))
                seed += 1
            store.append(*batch)
            os.write(writing, "".join(f"{each.key}\n" for each in batch).encode())


if __name__ == "__main__":
    mode = {"concurrent": concurrent, "killed": killed}[sys.argv[1]]
    print(json.dumps(mode(Path(sys.argv[2]))))
