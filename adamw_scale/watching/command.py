"""Running a command with the hook in its Python processes, and reading what these wrote down.

Its output goes to our error stream, from process to process, and through nobody's memory. Whatever becomes of it or of
us, nothing of it is left (see `training.commands.guard`).
"""

import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from adamw_scale.errors import ProbeError, SpecError
from adamw_scale.hook.folder import environment, is_stopped, libraries, records, writers
from adamw_scale.spec.watched import ProcessSeen
from adamw_scale.training.commands.process import GRACE_SECONDS, Command, running

OUTPUT = 2  # our error stream: stdout is for the answer
POLL_SECONDS = 0.1
UNSAID_SECONDS = 1.0  # for which what a command left is waited for in silence
UNSEEN_SECONDS = 600.0  # for which a training is waited for there, if none has begun


class Run(NamedTuple):
    """What came of a command."""

    status: int  # its exit status, the negative of a signal that ended it
    stopped: bool  # whether it was ended after the steps that were asked for
    processes: tuple[ProcessSeen, ...]  # those in which an optimizer stepped, the one to report first
    libraries: tuple[str, ...]  # torch, jax, tensorflow, where they were imported and nothing stepped
    interrupted: bool = False  # whether our user ended it, with Ctrl-C


def watched(
    arguments: Sequence[str], steps: int | None, total: int | None, notice: Callable[[str], None] = lambda text: None
) -> Run:
    """Run a command and look at its optimizers; Ctrl-C is passed on to it, and what was seen until then is told.

    Args:
        arguments: Program and arguments.
        steps: How many steps of an optimizer it is let run for; None to its end.
        total: Optimizer steps of the whole run, where the user says so; else the command is asked.
        notice: Told what is waited for, if the command has ended and left something.

    Raises:
        SpecError: it cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix="adamw-scale-") as name:
        folder = Path(name)
        hooked, interrupted = environment(folder, steps=steps, total=total), False
        try:
            with running(arguments, output=OUTPUT, environment=hooked) as command:
                try:
                    _wait(command, folder, notice)
                except KeyboardInterrupt:
                    interrupted = True
                    command.ask(signal.SIGINT)
                    command.wait(GRACE_SECONDS)
        except ProbeError as error:
            raise SpecError(str(error).replace("Change --command", "Check what stands after --")) from None
        status = -signal.SIGKILL if command.status is None else command.status
        return Run(status, is_stopped(folder), records(folder), libraries(folder), interrupted)


def _wait(command: Command, folder: Path, notice: Callable[[str], None]) -> None:
    """Until the command has ended, or was stopped in vain; a training that it left in the background is waited for."""
    deadline, said = float("inf"), False
    ended: float | None = None
    while (now := time.monotonic()) < deadline:
        if is_stopped(folder):
            deadline = min(deadline, now + GRACE_SECONDS)
        if command.poll() is not None:
            ended = ended or now
            seen, left = writers(folder), set(command.descendants)
            if not (left & seen if seen else left) or (not seen and now - ended > UNSEEN_SECONDS):
                return
            if not said and now - ended > UNSAID_SECONDS:
                said = True
                which = ", ".join(map(str, sorted(left)[:4]))
                notice(f"the command has ended and left processes ({which}): a training there is waited for")
        time.sleep(POLL_SECONDS)
