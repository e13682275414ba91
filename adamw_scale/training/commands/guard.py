"""Between us and a command: starts it, and ends every descendant of it, when it is told to or when we are gone.

    python guard.py GRACE_SECONDS STATUS_FD PROGRAM ARGUMENT ...

On Linux whatever a descendant leaves behind becomes this process' child (it is a subreaper), so that neither a group
nor a session of its own hides one. Where there is no /proc the command's process group stands for them.

Told: each byte on stdin is a signal that every descendant gets, and the end of stdin is SIGTERM. With the first one the
grace begins, at whose end they get SIGKILL. Tells, a line each: `pid N` or `error N`, and later `status N`.
"""

import errno
import math
import os
import select
import signal
import sys
import time
from contextlib import suppress

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
POLL_SECONDS = 0.05
KILL_SECONDS = 3.0  # how long the end of what got SIGKILL is waited for: the system may hold it longer


def descendants(ancestor: int) -> list[int] | None:
    """Processes below a process, not those that are dead and unread; None where there is no /proc."""
    parents: dict[int, int] = {}
    dead = set()
    try:
        entries = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    except OSError:
        return None
    for pid in entries:
        with suppress(OSError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
            state, parent = file.read().rpartition(b")")[2].split()[:2]
            parents[pid] = int(parent)
            if state in b"ZX":
                dead.add(pid)
    if not parents:
        return None
    below = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return sorted(below - dead - {ancestor})


class Guard:
    """The processes of one command, started when this is made."""

    def __init__(self, arguments: list[str], tell: int) -> None:
        self.tell = tell
        devnull = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        self.command = os.posix_spawnp(
            arguments[0],
            arguments,
            os.environ,
            file_actions=[devnull],
            setpgroup=0,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # which Python ignores
        )

    def say(self, line: str) -> None:
        """Tell, if anybody is left to hear it."""
        with suppress(OSError):
            os.write(self.tell, line.encode() + b"\n")

    def reap(self) -> None:
        """Take note of what has ended."""
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == self.command:
                    self.say(f"status {os.waitstatus_to_exitcode(found[1])}")

    def left(self) -> list[int]:
        """Descendants; without /proc the negative of the command's process group."""
        found = descendants(os.getpid())
        if found is not None:
            return found
        try:
            os.killpg(self.command, 0)
        except OSError:  # there is none, or only dead ones
            return []
        return [-self.command]

    def send(self, number: int) -> None:
        """Signal every descendant once, those too that are started meanwhile."""
        asked: set[int] = set()
        for _ in range(3):
            for pid in set(self.left()) - asked:
                asked.add(pid)
                with suppress(OSError):
                    os.kill(pid, number)

    def kill(self) -> None:
        """End every descendant."""
        deadline = time.monotonic() + KILL_SECONDS
        while self.left() and time.monotonic() < deadline:
            self.send(signal.SIGKILL)
            self.reap()
            time.sleep(POLL_SECONDS / 5)


def main() -> None:
    """Guard one command."""
    grace, tell = float(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(tell, False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # unlike SIG_IGN, the command does not inherit it
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        guard = Guard(sys.argv[3:], tell)
    except (OSError, ValueError) as error:  # ValueError for an empty name
        os.write(tell, f"error {getattr(error, 'errno', errno.ENOENT)}\n".encode())
        return
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):  # the command's own, which end with it
        os.dup2(nowhere, stream)
    guard.say(f"pid {guard.command}")
    _watch(guard, woken, grace)
    guard.reap()


def _watch(guard: Guard, woken: int, grace: float) -> None:
    """Pass on signals until every descendant has ended of them, or was killed."""
    heard, deadline = [0, woken], math.inf
    while True:
        ready, _, _ = select.select(heard, [], [], None if deadline == math.inf else POLL_SECONDS)
        if woken in ready:
            os.read(woken, 4096)
        guard.reap()
        if 0 in ready:
            told = os.read(0, 1)
            if not told:
                heard.remove(0)
            if told or deadline == math.inf:
                guard.send(number := told[0] if told else signal.SIGTERM)
                deadline = min(deadline, time.monotonic() + (0 if number == signal.SIGKILL else grace))
        if time.monotonic() > deadline:
            guard.kill()
            return
        if deadline < math.inf and not guard.left():
            return


if __name__ == "__main__":
    main()
