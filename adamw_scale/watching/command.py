"""Running a command with the hook in its Python processes, and reading what these wrote down.

Its output goes to our error stream, from process to process, and through nobody's memory. Whatever becomes of it or of
us, nothing of it is left: the process group is ended, and on Linux so is what left the group, which is known by the
folder of records in its environment.
"""

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from adamw_scale.errors import ProbeError, SpecError
from adamw_scale.spec.watched import ProcessSeen
from adamw_scale.training.commands.process import GRACE_SECONDS, running

HOOK = Path(__file__).parent / "hook"
PLAN = "ADAMW_SCALE_WATCH"  # as hook/sitecustomize has it
OUTPUT = 2  # our error stream: stdout is for the answer
POLL_SECONDS = 0.1
LARGEST_RECORD = 1 << 26  # bytes
MOST_PROCESSES = 4096
TERMINATED = 143
Poll = Callable[[], int | None]


class Run(NamedTuple):
    """What came of a command."""

    status: int  # its exit status, the negative of a signal that ended it
    stopped: bool  # whether it was ended after the steps that were asked for
    processes: tuple[ProcessSeen, ...]  # those in which an optimizer stepped, the one to report first
    libraries: tuple[str, ...]  # torch, jax, tensorflow, where they were imported and nothing stepped


def watched(arguments: Sequence[str], steps: int | None, total: int | None) -> Run:
    """Run a command and look at its optimizers.

    Args:
        arguments: Program and arguments.
        steps: How many steps of an optimizer it is let run for; None to its end.
        total: Optimizer steps of the whole run, where the user says so; else the command is asked.

    Raises:
        SpecError: it cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix="adamw-scale-") as name, _ending_on_sigterm():
        folder = Path(name)
        plan = json.dumps({"folder": name, "steps": steps, "total": total})
        path = os.pathsep.join(filter(None, (str(HOOK), os.environ.get("PYTHONPATH"))))
        try:
            with running(arguments, output=OUTPUT, environment={PLAN: plan, "PYTHONPATH": path}) as (process, group):
                try:
                    _wait(process.poll, folder)
                except KeyboardInterrupt:
                    _forward(process.poll, group)
                    raise
            status = process.returncode
        except ProbeError as error:
            raise SpecError(str(error).replace("Change --command", "Check what stands after --")) from None
        finally:
            _end_strays(name)
        return Run(status, any(folder.glob("stopped-*")), _records(folder), _libraries(folder))


def _wait(status: Poll, folder: Path) -> None:
    """Until the command has ended, or was stopped in vain; a training that it left in the background is waited for."""
    deadline = float("inf")
    while time.monotonic() < deadline:
        stopped = any(folder.glob("stopped-*"))
        if status() is not None and not _trains_on(folder):
            return
        if stopped and deadline == float("inf"):
            deadline = time.monotonic() + GRACE_SECONDS
        time.sleep(POLL_SECONDS)


def _trains_on(folder: Path) -> bool:
    """Whether a training that was seen is still running, or one that was not seen yet may be."""
    seen = {file.stem.removeprefix("record-") for file in folder.glob("record-*.json")}
    strays = set(map(str, _strays(str(folder))))
    return bool(strays & seen if seen else strays)


def _forward(status: Poll, group: int) -> None:
    """Pass on Ctrl-C, and wait for the command to end of it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGINT)
    deadline = time.monotonic() + GRACE_SECONDS
    while status() is None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """SIGTERM ends us as an exception does, so that the command is ended too."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(TERMINATED)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _strays(folder: str) -> list[int]:
    """Processes with this folder in their environment; none where there is no /proc."""
    mark, found = os.fsencode(json.dumps(folder)), []
    for place in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in place.read_bytes() and (pid := int(place.parent.name)) != os.getpid() and not _is_dead(pid):
                found.append(pid)
    return found


def _is_dead(pid: int) -> bool:
    """Whether a process is gone but for its entry."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    return True


def _end_strays(folder: str) -> None:
    """End what left the process group: first as asked, then whatever it does."""
    for number, patience in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, 1.0)):
        deadline = time.monotonic() + patience
        for pid in (strays := _strays(folder)):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        while strays and time.monotonic() < deadline and (strays := _strays(folder)):
            time.sleep(POLL_SECONDS)


def _records(folder: Path) -> tuple[ProcessSeen, ...]:
    """What was seen in each process; rank 0 first, without ranks the one that stepped first."""
    found = []
    for file in sorted(folder.glob("record-*.json"))[:MOST_PROCESSES]:
        if file.stat().st_size <= LARGEST_RECORD:
            found.append((file.stat().st_ctime, ProcessSeen.from_json(file.read_bytes())))
    stepped = [each for _, each in sorted(found, key=lambda pair: pair[0]) if any(o.steps for o in each.optimizers)]
    return tuple(sorted(stepped, key=lambda each: each.rank if each.rank is not None else -1))


def _libraries(folder: Path) -> tuple[str, ...]:
    """What was imported in processes without a step."""
    names: dict[str, None] = {}
    for file in sorted(folder.glob("idle-*.json"))[:MOST_PROCESSES]:
        with suppress(OSError, ValueError, KeyError):
            names |= dict.fromkeys(map(str, json.loads(file.read_bytes())["libraries"]))
    return tuple(names)
