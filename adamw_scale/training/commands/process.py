"""Running a command to its end, its output going to a log and to who listens, and leaving nothing of it behind.

The command runs in the user's folder and environment, in a process group of its own with a guard that ends the group
as soon as this process is gone, even by SIGKILL. Processes that leave the group (`setsid`, torchrun's workers) must
be ended by the one that started them, which is asked with SIGTERM first.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from selectors import EVENT_READ, BaseSelector, DefaultSelector
from typing import IO, Any

from adamw_scale.errors import ProbeError
from adamw_scale.training.commands.output import CHUNK, Printed
from adamw_scale.units import printable

TAIL = 4096  # bytes of the log that are remembered for its last lines
LAST_LINES = 3
LONGEST_QUOTE = 160
POLL_SECONDS = 0.2
LINGER_SECONDS = 1.0  # how long the output of an ended command is waited for where another process holds it open
GRACE_SECONDS = 10.0  # between SIGTERM and SIGKILL


class Log:
    """A probe's output as it comes, appended to a file that is never read back; a context manager."""

    def __init__(self, path: Path, arguments: Sequence[str]) -> None:
        self.path = path
        self._tail = b""
        self._file: IO[bytes] = path.open("ab", buffering=0)
        self._file.write(f"$ {shlex.join(arguments)}\n".encode(errors="surrogateescape"))

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, chunk: bytes) -> None:
        """Append output."""
        self._file.write(chunk)
        self._tail = (self._tail + chunk)[-TAIL:]

    def close_with(self, note: str) -> None:
        """Append what came of it, on a line of its own."""
        gap = "" if not self._tail or self._tail.endswith(b"\n") else "\n"
        self._file.write(f"{gap}adamw-scale: {note}\n".encode(errors="surrogateescape"))

    @property
    def last_lines(self) -> str:
        """The last lines that are not blank, printable and shortened."""
        lines = [line for line in self._tail.decode(errors="replace").splitlines() if line.strip()]
        shown = [printable(line)[-LONGEST_QUOTE:] for line in lines[-LAST_LINES:]]
        return " | ".join(shown) or "it printed nothing"


# The guard leads the command's process group. It waits for its parent, this process, to go, and then ends the group.
GUARD = f"""
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.read(0, 1)
os.killpg(0, signal.SIGTERM)
time.sleep({GRACE_SECONDS})
os.killpg(0, signal.SIGKILL)
"""


def execute(
    arguments: Sequence[str], log: Log, printed: Printed, timeout: float, environment: Mapping[str, str]
) -> int | None:
    """Run a command to its end; whatever happens here, nothing of its process group is left.

    Args:
        arguments: Program and arguments.
        log: Where its output goes.
        printed: Who reads it.
        timeout: Seconds that it may take.
        environment: What it has beside the user's own environment.

    Returns:
        Its exit status, the negative of a signal that ended it, or None where the time ran out.

    Raises:
        ProbeError: it cannot be started.
    """

    def heard(chunk: bytes) -> None:
        log.write(chunk)
        printed.feed(chunk)

    def overheard(chunk: bytes) -> None:
        log.write(chunk)
        printed.overheard(chunk)

    with running(arguments, environment=environment) as (process, group), DefaultSelector() as selector:
        for pipe, hear in ((process.stdout, heard), (process.stderr, overheard)):
            assert pipe is not None
            selector.register(pipe, EVENT_READ, hear)
        ended = _listen(process, selector, time.monotonic() + timeout)
        if not ended:
            _signal(group, signal.SIGTERM)
            _listen(process, selector, time.monotonic() + GRACE_SECONDS)
    printed.end()
    return process.returncode if ended else None


@contextmanager
def running(
    arguments: Sequence[str], *, output: int = subprocess.PIPE, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A started command and its process group, which is ended with the block.

    Args:
        arguments: Program and arguments.
        output: Where its output and error stream go, as `subprocess` takes it.
        environment: What it has beside the user's own environment.

    Raises:
        ProbeError: it cannot be started.
    """
    nothing = subprocess.DEVNULL
    with ExitStack() as stack:
        watch = [sys.executable, "-I", "-S", "-c", GUARD]
        guard = stack.enter_context(_start(watch, stdin=subprocess.PIPE, stdout=nothing, stderr=nothing, group=0))
        stack.callback(_kill, guard, guard.pid)
        streams = {"stdin": nothing, "stdout": output, "stderr": output}
        own = environment or {}
        process = stack.enter_context(_start(arguments, group=guard.pid, bufsize=0, environment=own, **streams))
        stack.callback(_kill, process, guard.pid)
        stack.callback(_ask_to_end, process, guard.pid)
        yield process, guard.pid


def _start(
    arguments: Sequence[str], *, group: int, environment: Mapping[str, str] | None = None, **how: Any
) -> subprocess.Popen[bytes]:
    """A process in the user's environment; a Python in it prints what it says at once."""
    try:
        env = {"PYTHONUNBUFFERED": "1", **os.environ, **(environment or {})}
        return subprocess.Popen(arguments, env=env, process_group=group, **how)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ProbeError(f"{arguments[0]!r} cannot be started: {reason}. Change --command") from None


def _ask_to_end(process: subprocess.Popen[bytes], group: int) -> None:
    if process.poll() is None:
        _signal(group, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)


def _kill(process: subprocess.Popen[bytes], group: int) -> None:
    _signal(group, signal.SIGKILL)
    process.wait()


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # it is gone, or all that is left of it is unreaped
        os.killpg(group, number)


def _listen(process: subprocess.Popen[bytes], selector: BaseSelector, deadline: float) -> bool:
    """Pass on output until the command ends (True) or the deadline, of the monotonic clock, is reached.

    A process that it left behind may hold the pipes open; that one is not waited for.
    """
    ended = False
    while selector.get_map() and time.monotonic() < deadline:
        if not ended and process.poll() is not None:
            ended, deadline = True, min(deadline, time.monotonic() + LINGER_SECONDS)
        for key, _ in selector.select(min(POLL_SECONDS, max(0.0, deadline - time.monotonic()))):
            chunk = os.read(key.fd, CHUNK)
            key.data(chunk)
            if not chunk:
                selector.unregister(key.fileobj)
    with suppress(subprocess.TimeoutExpired):
        process.wait(max(0.0, deadline - time.monotonic()))
    return process.poll() is not None


def how_it_ended(status: int | None, timeout: float) -> str:
    """A status that is not success, for people."""
    if status is None:
        return f"it took longer than --timeout {timeout:g} (seconds)"
    if status > 0:
        return f"exit status {status}"
    with suppress(ValueError):
        name = signal.Signals(-status).name
        return f"killed by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
    return f"killed by signal {-status}"
