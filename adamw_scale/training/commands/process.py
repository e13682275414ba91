"""Running a command to its end, its output going to a log and to who listens, and leaving nothing of it behind.

The command runs in the user's folder and environment, under a guard that ends every descendant of it, whatever group
or session that is in (`setsid`, torchrun's workers), when it is told to or this process is gone, even by SIGKILL.
"""

import errno
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from selectors import EVENT_READ, BaseSelector, DefaultSelector
from typing import IO

from adamw_scale.errors import ProbeError
from adamw_scale.training.commands.guard import KILL_SECONDS, descendants
from adamw_scale.training.commands.output import CHUNK, Printed
from adamw_scale.units import printable

TAIL = 4096  # bytes of the log that are remembered for its last lines
LAST_LINES = 3
LARGEST_LOG, KEPT_OF_LOG = 1 << 25, 1 << 23  # bytes
LONGEST_QUOTE = 160
POLL_SECONDS = 0.2
LINGER_SECONDS = 1.0  # how long the output of an ended command is waited for where another process holds it open
GRACE_SECONDS = 10.0  # between SIGTERM and SIGKILL
LEFTOVER_SECONDS = 2.0  # the same for what a command left behind that has ended by itself
START_SECONDS = 60.0  # how long a guard may take to start the command
LONGEST_SELECT = 3600.0
GUARD = Path(__file__).with_name("guard.py")


class Log:
    """A probe's output as it comes, appended to a file of bounded size; a context manager."""

    def __init__(self, path: Path, arguments: Sequence[str]) -> None:
        self.path = path
        self._tail = b""
        self._file: IO[bytes] = open(path, "a+b", buffering=0, opener=_private)  # noqa: SIM115  # closed on exit
        self._first = f"$ {shlex.join(arguments)}\n".encode(errors="surrogateescape")
        self._file.write(self._first)
        self._left_out, self._above = 0, len(self._first)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, chunk: bytes) -> None:
        """Append output; of a log that has grown too large the end is kept, and what was left out is said."""
        self._file.write(chunk)
        self._tail = (self._tail + chunk)[-TAIL:]
        if (size := self._file.tell()) > LARGEST_LOG:
            kept = os.pread(self._file.fileno(), KEPT_OF_LOG, size - KEPT_OF_LOG)
            self._left_out += size - KEPT_OF_LOG - self._above
            note = f"adamw-scale: {self._left_out} bytes before this were left out of a log above {LARGEST_LOG}\n"
            self._file.truncate(0)
            above = self._first + note.encode()
            self._above = len(above)
            self._file.write(above + kept)

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


def _private(path: str, flags: int) -> int:
    """Opened so that only its owner may read what is created: a command line may hold a token."""
    return os.open(path, flags, 0o600)


def execute(
    arguments: Sequence[str], log: Log, printed: Printed, timeout: float, environment: Mapping[str, str]
) -> int | None:
    """Run a command to its end; whatever happens here, no descendant of it is left.

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

    with running(arguments, environment=environment) as command, DefaultSelector() as selector:
        for pipe, hear in ((command.stdout, heard), (command.stderr, overheard)):
            assert pipe is not None
            selector.register(pipe, EVENT_READ, hear)
        status = _listen(command, selector, time.monotonic() + timeout)
        if status is None:
            command.ask(signal.SIGTERM)
            _listen(command, selector, time.monotonic() + GRACE_SECONDS)
    printed.end()
    return status


class Command:
    """A command that was started, seen through the guard that it runs under (see `guard`).

    `status` is how it ended, once that is known: its exit status or the negative of a signal.
    """

    def __init__(self, arguments: Sequence[str], output: int, environment: Mapping[str, str]) -> None:
        told, tell = os.pipe()
        guard = [sys.executable, "-I", "-S", str(GUARD), f"{GRACE_SECONDS:g}", str(tell), *arguments]
        try:
            self._guard = subprocess.Popen(
                guard,
                env={"PYTHONUNBUFFERED": "1", **os.environ, **environment},  # a Python prints what it says at once
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                bufsize=0,
                pass_fds=[tell],
                process_group=0,
            )
        except (OSError, ValueError) as error:
            os.close(told)
            raise _unstarted(arguments, error) from None
        finally:
            os.close(tell)
        self.stdout, self.stderr = self._guard.stdout, self._guard.stderr
        self._told: IO[bytes] = open(told, "rb", buffering=0)  # noqa: SIM115  # closed in `end`
        self._said, self._asked, self._pid = b"", False, 0
        self.status: int | None = None
        try:
            word, number = self._next(START_SECONDS) or ("error", errno.ETIMEDOUT)
            if word != "pid":
                number = number if word == "error" else errno.ECHILD
                raise _unstarted(arguments, OSError(number, os.strerror(number)))
            self._pid = number
        except BaseException:
            self.end()
            raise

    def poll(self) -> int | None:
        """Its exit status, if it has ended; where its guard was killed, that of SIGKILL."""
        return self.wait(0.0)

    def wait(self, seconds: float) -> int | None:
        """The same, after waiting for it."""
        if self.status is None and (said := self._next(seconds)):
            self.status = said[1]
        return self.status

    def ask(self, number: signal.Signals) -> None:
        """Send every descendant a signal; with the first one its time to end begins."""
        self._asked = True
        assert self._guard.stdin is not None
        with suppress(OSError, ValueError):  # the guard has ended, so everything has
            self._guard.stdin.write(bytes([number]))

    @property
    def descendants(self) -> list[int]:
        """What is running of it; nothing where the system does not tell."""
        return descendants(self._guard.pid) or []

    def end(self) -> None:
        """End whatever is left, in its own time; an interrupt meanwhile cuts that short."""
        try:
            if not self._asked:
                is_done = self.poll() is not None
                self.ask(signal.SIGTERM)
                if is_done:  # and only what it left behind is asked
                    with suppress(subprocess.TimeoutExpired):
                        self._guard.wait(LEFTOVER_SECONDS)
                    self.ask(signal.SIGKILL)
            self._guard.wait(GRACE_SECONDS + 2 * KILL_SECONDS)
        except subprocess.TimeoutExpired:
            self._guard.kill()
        except BaseException:
            self.ask(signal.SIGKILL)
            raise
        finally:
            with suppress(subprocess.TimeoutExpired):
                self._guard.wait(2 * KILL_SECONDS)
            self.poll()  # while it can still be read
            for pipe in (self._guard.stdin, self.stdout, self.stderr, self._told):
                if pipe is not None:
                    pipe.close()
            if self._guard.returncode and self._pid:  # it was killed itself: its own group is all that can be ended
                with suppress(OSError):
                    os.killpg(self._pid, signal.SIGKILL)

    def _next(self, seconds: float) -> tuple[str, int] | None:
        """What the guard says next, a word and a number; None where it says nothing for so long."""
        deadline = time.monotonic() + seconds
        with DefaultSelector() as selector:
            selector.register(self._told, EVENT_READ)
            while b"\n" not in self._said:
                if not selector.select(min(max(0.0, deadline - time.monotonic()), LONGEST_SELECT)):
                    if time.monotonic() >= deadline:
                        return None
                elif not (chunk := self._told.read(CHUNK)):
                    return "status", -signal.SIGKILL  # the guard is gone
                else:
                    self._said += chunk
        line, _, self._said = self._said.partition(b"\n")
        word, number = line.decode().split()
        return word, int(number)


@contextmanager
def running(
    arguments: Sequence[str], *, output: int = subprocess.PIPE, environment: Mapping[str, str] | None = None
) -> Iterator[Command]:
    """A started command, all of which is ended with the block.

    Args:
        arguments: Program and arguments.
        output: Where its output and error stream go, as `subprocess` takes it.
        environment: What it has beside the user's own environment.

    Raises:
        ProbeError: it cannot be started.
    """
    command = Command(arguments, output, environment or {})
    try:
        yield command
    finally:
        command.end()


def _unstarted(arguments: Sequence[str], error: Exception) -> ProbeError:
    reason = error.strerror if isinstance(error, OSError) else error
    return ProbeError(f"{arguments[0]!r} cannot be started: {reason}. Change --command")


def _listen(command: Command, selector: BaseSelector, deadline: float) -> int | None:
    """Pass on output until the command ends or the deadline, of the monotonic clock, is reached; its status if so.

    A process that it left behind may hold the pipes open; that one is not waited for.
    """
    ended = False
    while selector.get_map() and time.monotonic() < deadline:
        if not ended and command.poll() is not None:
            ended, deadline = True, min(deadline, time.monotonic() + LINGER_SECONDS)
        for key, _ in selector.select(min(POLL_SECONDS, max(0.0, deadline - time.monotonic()))):
            chunk = os.read(key.fd, CHUNK)
            key.data(chunk)
            if not chunk:
                selector.unregister(key.fileobj)
    return command.wait(max(0.0, deadline - time.monotonic()))


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
