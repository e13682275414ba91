"""Ray: one task per cohort of probes, on the cores of this machine or on a cluster's nodes.

Without an address (option or RAY_ADDRESS) a Ray of this machine's is started for as long as the engine lives.
With one, this package is sent along with the job, so that the nodes need only what it depends on; a task of the
user's own must be importable there, and its data lie at the same path. Where the calibration folder is on a disk
that the nodes share, an interrupted cohort goes on from its checkpoint; elsewhere it starts anew.
"""

import asyncio
import math
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from socket import create_connection
from typing import Any, ClassVar, Self

from adamw_scale.errors import MissingExtraError, ProbeError
from adamw_scale.probe.engines.engine import Cohort, first_line
from adamw_scale.probe.engines.parcel import pack, train, unpack
from adamw_scale.spec.measurement import ProbeResult
from adamw_scale.training.commands.guard import descendants
from adamw_scale.training.options import number, refuse_unknown
from adamw_scale.training.tasks.task import Listener, TaskSource

LOCAL = "local"
ATTEMPTS = 20  # at a cohort whose worker or node is lost, as preemptible ones are; then it is an error
SECONDS_BETWEEN_NEWS = 0.25
CONNECT_SECONDS = 10.0
HEAD_SECONDS = 20.0  # without its head until a cluster is lost: Ray would end the whole program after 60
SECONDS_BETWEEN_LOOKS = 2.0  # at the head
STORE_BYTES = 100_000_000  # about Ray's least: what travels is text


@dataclass
class _Submitted:
    """A cohort that Ray has; `number` is its own for as long as the engine lives."""

    number: int
    cohort: Cohort
    attempt: int = 1


class RayEngine:
    """Keeps `jobs` cohorts with Ray at a time; one whose worker or node dies is given to Ray again.

    Options: `address` of a cluster ("auto" or host:port), `cpus` per cohort (1), `gpus` per cohort (1 on CUDA, else 0;
    a fraction shares a GPU). A program that called `ray.init` itself keeps its Ray, which must have this package.
    """

    name: ClassVar[str] = "ray"

    def __init__(self, source: TaskSource, jobs: int, options: Mapping[str, str]) -> None:
        refuse_unknown(f"engine {self.name}", options, ("address", "cpus", "gpus"))
        self.source = source
        self.jobs = jobs
        self.address = _address(options)
        self.cpus = number("--engine-option cpus", options.get("cpus", "1"), 0, 1024, "number")
        self.gpus = number("--engine-option gpus", options["gpus"], 0, 1024, "number") if "gpus" in options else None
        self._ray = _library()
        self._numbers = count()
        self._submitted: dict[Any, _Submitted] = {}  # by the reference to the reply
        self._most_gpus = math.inf  # for a cohort: of a cluster, which may grow
        self._head = _Head("")
        self._ending = ExitStack()
        self._train: Any = None
        self._inbox: Any = None
        self._news: Any = None

    @staticmethod
    def elsewhere(options: Mapping[str, str]) -> bool:
        """On a cluster, unless Ray is started for this machine."""
        return _address(options) != LOCAL

    def __enter__(self) -> Self:
        if not self._ray.is_initialized():
            self._start()
        self._head = _Head(self._ray.get_runtime_context().gcs_address)
        self._train = self._ray.remote(_train)
        self._inbox = self._ray.remote(_Inbox).options(num_cpus=0, scheduling_strategy=self._here()).remote()
        self._news = self._inbox.take.remote()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._head.is_lost:
            for reply in self._submitted:
                self._ray.cancel(reply, force=True)
            self._ray.kill(self._inbox)
        self._submitted.clear()
        self._ending.close()

    def run(self, cohorts: Sequence[Cohort], listener: Listener) -> Iterator[list[ProbeResult]]:
        """Train the cohorts wherever Ray puts them; results arrive in the order they finish."""
        waiting = [_Submitted(next(self._numbers), cohort) for cohort in cohorts][::-1]
        self._refuse_missing_gpus(cohorts)
        while waiting or self._submitted:
            while waiting and len(self._submitted) < self.jobs:
                self._submit(waiting.pop())
            awaited = [*self._submitted, *([self._news] if self._news else [])]
            ready, _ = self._ray.wait(awaited, timeout=SECONDS_BETWEEN_LOOKS)
            self._head.look()
            if not ready:
                continue
            if ready[0] == self._news:
                self._listen(listener)
                continue
            done = self._submitted.pop(ready[0])
            if (reply := self._reply(ready[0], done)) is None:
                done.attempt += 1
                waiting.append(done)
            else:
                yield unpack(reply, done.cohort, listener) or []

    def _gpus(self, cohort: Cohort) -> float:
        return self.gpus if self.gpus is not None else float(cohort[0].device == "cuda")

    def _refuse_missing_gpus(self, cohorts: Sequence[Cohort]) -> None:
        """ProbeError where a Ray that is this machine only would wait for ever."""
        needed = max(map(self._gpus, cohorts), default=0.0)
        if needed > self._most_gpus:
            raise ProbeError(
                f"{needed:g} GPUs per cohort: Ray finds {self._most_gpus:g} on this machine. Lower "
                "--engine-option gpus, or name a cluster with --engine-option address"
            )

    def _submit(self, new: _Submitted) -> None:
        gpus = self._gpus(new.cohort)
        # The engine counts attempts itself: Ray would repeat a cohort that runs out of memory for ever.
        task = self._train.options(num_cpus=self.cpus, num_gpus=gpus, max_retries=0)
        reply = task.remote(pack(self.source, new.cohort), new.number, self._inbox)
        self._submitted[reply] = new

    def _reply(self, reply: Any, submitted: _Submitted) -> str | None:
        """What came back; None where the worker was lost and the cohort may be tried again."""
        ray = self._ray.exceptions
        try:
            return str(self._ray.get(reply))
        except (ray.WorkerCrashedError, ray.NodeDiedError, ray.OutOfMemoryError, ray.ObjectLostError) as error:
            if submitted.attempt < ATTEMPTS:
                return None
            raise ProbeError(
                f"Ray lost the worker of a cohort {ATTEMPTS} times ({first_line(error)}); what is done is kept: run "
                "the same command again, with fewer --jobs if memory ran out"
            ) from None
        except ray.RayTaskError as error:
            raise ProbeError(f"a Ray worker failed: {type(error.cause).__name__}: {first_line(error.cause)}") from None
        except ray.RayError as error:
            raise ProbeError(f"Ray: {type(error).__name__}: {first_line(error)}") from None

    def _listen(self, listener: Listener) -> None:
        """Pass on news of cohorts in training. Without its inbox, whose node may be lost, the engine hears none."""
        try:
            arrived = self._ray.get(self._news)
        except self._ray.exceptions.RayError:
            self._news = None
            return
        self._news = self._inbox.take.remote()
        cohorts = {each.number: each.cohort for each in self._submitted.values()}
        for one, message in arrived:
            if one in cohorts:
                unpack(message, cohorts[one], listener)

    def _start(self) -> None:
        """Start a Ray of this machine's, or join the cluster; without a word on the terminal."""
        quiet = {"logging_level": "ERROR", "log_to_driver": False}
        cpus = max(1, round(self.jobs * self.cpus))
        local = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": STORE_BYTES}
        remote = {"runtime_env": {"py_modules": [str(Path(__file__).parents[2])]}}
        _refuse_silent_host(self.address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a Ray of ours reports to nobody
        self._ending.enter_context(_silence(self._ray))
        self._ending.callback(_shut_down, self._ray)
        try:
            is_local = self.address == LOCAL
            self._ray.init(self.address, **quiet, **(local if is_local else remote))
        except (OSError, RuntimeError, ValueError) as error:
            self._ending.close()
            raise ProbeError(f"--engine-option address={self.address}: {first_line(error)}") from None
        if is_local:
            self._most_gpus = self._ray.cluster_resources().get("GPU", 0.0)

    def _here(self) -> Any:
        """This node, if it takes actors: the inbox is to live as long as the engine."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=True)


class _Head:
    """The process that keeps a cluster together, Ray's GCS; no task starts or ends without it.

    Attributes:
        is_lost: Whether it has not answered for so long that nothing more is asked of it.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._looked = self._answered = time.monotonic()
        self.is_lost = False

    def look(self) -> None:
        """Now and then, see whether it answers; ProbeError where it has not for long."""
        now = time.monotonic()
        if now - self._looked < SECONDS_BETWEEN_LOOKS:
            return
        self._looked = now
        host, _, port = self._address.rpartition(":")
        with suppress(OSError):
            create_connection((host, int(port)), SECONDS_BETWEEN_LOOKS).close()
            self._answered = now
        if now - self._answered > HEAD_SECONDS:
            self.is_lost = True
            raise ProbeError(
                f"Ray's head at {self._address} has not answered for {HEAD_SECONDS:g} seconds; what is done is kept: "
                "run the same command again, once the cluster is up if it is not this machine's own"
            )


class _Inbox:
    """Where workers leave news; an actor. `take` waits until there are some, so that nobody polls."""

    def __init__(self) -> None:
        self._news: list[tuple[int, str]] = []
        self._arrived = asyncio.Event()

    async def put(self, number: int, message: str) -> None:
        """News of the cohort of that number."""
        self._news.append((number, message))
        self._arrived.set()

    async def take(self) -> list[tuple[int, str]]:
        """All news since the last time."""
        await self._arrived.wait()
        self._arrived.clear()
        taken, self._news = self._news, []
        return taken


def _train(parcel: str, number: int, inbox: Any) -> str:
    """What a worker does."""
    return train(parcel, lambda message: inbox.put.remote(number, message), SECONDS_BETWEEN_NEWS)


def _library() -> Any:
    try:
        import ray
    except ImportError:
        raise MissingExtraError("ray", "ray", "engine ray") from None
    return ray


@contextmanager
def _silence(ray: Any) -> Iterator[None]:
    """Keep from standard output what Ray prints there whatever it is told, such as the logs of a node that was lost."""
    worker = ray._private.worker
    printing = getattr(worker, "print_to_stdstream", None)
    worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        worker.print_to_stdstream = printing


def _shut_down(ray: Any) -> None:
    """End a Ray of ours with what it started, which outlives it where its head was lost."""
    node = ray._private.worker._global_node
    started = [info.process.pid for infos in node.all_processes.values() for info in infos] if node else []
    below = [process for pid in started for process in descendants(pid) or ()]
    ray.shutdown()
    for process in below:
        with suppress(OSError):
            os.kill(process, signal.SIGKILL)


def _address(options: Mapping[str, str]) -> str:
    return options.get("address") or os.environ.get("RAY_ADDRESS") or LOCAL


def _refuse_silent_host(address: str) -> None:
    """ProbeError where nobody listens at host:port, for which Ray would wait a minute."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        create_connection((host.rpartition("/")[2], int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise ProbeError(
            f"--engine-option address={address}: {error.strerror or error}. Pass the host:port that `ray start --head` "
            "printed, or auto on a node of the cluster"
        ) from None
