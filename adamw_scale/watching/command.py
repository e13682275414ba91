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
from adamw_scale.hook.folder import environment, is_stopped, libraries, records, writers
from adamw_scale.spec.watched import ProcessSeen
from adamw_scale.training.commands.process import GRACE_SECONDS, running

OUTPUT = 2  # our error stream: stdout is for the answer
POLL_SECONDS = 0.1
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
        hooked = environment(folder, steps=steps, total=total)
        try:
            with running(arguments, output=OUTPUT, environment=hooked) as (process, group):
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
        return Run(status, is_stopped(folder), records(folder), libraries(folder))


def _wait(status: Poll, folder: Path) -> None:
    """Until the command has ended, or was stopped in vain; a training that it left in the background is waited for."""
    deadline = float("inf")
    while time.monotonic() < deadline:
        stopped = is_stopped(folder)
        if status() is not None and not _trains_on(folder):
            return
        if stopped and deadline == float("inf"):
            deadline = time.monotonic() + GRACE_SECONDS
        time.sleep(POLL_SECONDS)


def _trains_on(folder: Path) -> bool:
    """Whether a training that was seen is still running, or one that was not seen yet may be."""
    seen, strays = writers(folder), set(_strays(str(folder)))
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
