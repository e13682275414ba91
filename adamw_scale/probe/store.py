"""What has been measured: an append-only file of results, keyed by the content of their configuration.

One JSON line per probe. Any number of processes may append at once: an append is one write of whole
lines, under a lock of the file itself that is held for just that long. Nothing is ever rewritten; a line that a
dying process left half written is skipped, and its probe runs again. Who calibrates in a folder is settled by
`folder_lock`, which lasts as long as the calibration.
"""

import codecs
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout
from pydantic_core import from_json

from adamw_scale.errors import AdamWScaleError, CalibrationError
from adamw_scale.spec.measurement import ProbeResult

PROBES_FILE = "probes.jsonl"
LOCK_FILE = "calibrating.lock"  # empty; may stay when nobody calibrates
HOLDER_FILE = "calibrating.json"  # who does, while somebody does
POLL_SECONDS = 0.5
UNSAID_SECONDS = 1.0  # for which a lock is waited for in silence
REMEMBERED = 256  # bytes, by which a file is known to be the one that was read
SCHEMA, VERSION = "adamw-scale/probe/", 1
BOM = codecs.BOM_UTF8  # some editors put it in front
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # of a file system that has none


class ProbeStore:
    """Results by key, backed by a file; a context manager that keeps the file open.

    The first result of a key counts; a failed one gives way to whatever follows it. `notices` tells
    what was skipped. Where files cannot be locked (on Windows, on some network file systems) only
    one process at a time may append.

    Args:
        path: The file; created if missing, its folder must exist.
        retry_failed: Leave out probes that failed before, so that they run again.
        read_only: Read what there is and create nothing.
        waiting: Told what is waited for, if another process holds the file for long.

    Raises:
        CalibrationError: a whole line is no result, or one of a newer version; or what was read is no longer there.
        OSError: the file cannot be opened, read or written; what was stored stays readable.
    """

    def __init__(
        self,
        path: Path,
        *,
        retry_failed: bool = False,
        read_only: bool = False,
        waiting: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.path = path
        self.waiting = waiting
        self.retry_failed = retry_failed
        self.read_only = read_only
        self.results: dict[str, ProbeResult] = {}
        self.notices: list[str] = []
        self._file: FileIO | None = None
        self._read = 0  # bytes
        self._end = b""  # of what was read
        self._line = 1

    def __enter__(self) -> Self:
        self._file = FileIO(self.path, "rb" if self.read_only else "ab+")
        try:
            with self._locked(self._file, exclusive=False):
                self._catch_up(self._file)
        except BaseException:
            self._file.close()
            raise
        if self.retry_failed:
            self.results = {key: result for key, result in self.results.items() if result.status != "failed"}
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def append(self, *results: ProbeResult) -> None:
        """Keep results, on disk when this returns; one that is stored already is not stored again.

        What other processes appended meanwhile is in `results` afterwards, too.
        """
        assert self._file is not None, "the store is open only inside its with block"
        new = {result.key: result for result in results if self._counts(result)}
        lines = b"".join(result.model_dump_json(by_alias=True).encode() + b"\n" for result in new.values())
        with self._locked(self._file, exclusive=True):
            self._refuse_changed(self._file)
            if lines:
                _write(self._file, b"\n" + lines if _last_line_is_open(self._file) else lines)
                os.fsync(self._file.fileno())
            self._catch_up(self._file)

    def refuse_changed(self) -> None:
        """CalibrationError where the file is gone, or no longer begins with what was read of it."""
        assert self._file is not None, "the store is open only inside its with block"
        with self._locked(self._file, exclusive=False):
            self._refuse_changed(self._file)

    def _refuse_changed(self, file: FileIO) -> None:
        try:
            is_there = os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        except FileNotFoundError:
            is_there = False
        file.seek(self._read - len(self._end))
        if not is_there or file.read(len(self._end)) != self._end:
            what = "cut or rewritten" if is_there else "deleted or replaced"
            raise CalibrationError(
                f"{self.path} was {what} while it was in use, and what it held of {len(self.results)} probes is lost: "
                "run the same command again, which trains what is missing"
            )

    @contextmanager
    def _locked(self, file: FileIO, *, exclusive: bool) -> Iterator[None]:
        """Hold the lock of a file itself, after waiting for whoever holds it; the lock goes with the process."""
        if sys.platform == "win32":
            yield
            return
        import fcntl

        how = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        with _where_there_are_locks():
            deadline = time.monotonic() + UNSAID_SECONDS
            while not _taken(file, how | fcntl.LOCK_NB):
                if time.monotonic() > deadline:
                    self.waiting(f"{self.path} is locked by another process that writes it: waiting for that to end")
                    fcntl.flock(file, how)
                    break
                time.sleep(UNSAID_SECONDS / 20)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)

    def _catch_up(self, file: FileIO) -> None:
        """Take in what was appended since the file was last read."""
        file.seek(self._read)
        content = file.readall()
        lines = content.split(b"\n")
        torn = []
        for number, line in enumerate(lines, start=self._line):
            if not line.strip():
                continue
            result = _result_of(line.removeprefix(BOM), f"{self.path} line {number}")
            if result is None:
                torn.append(number)
            else:
                self._keep(result)
        if torn:
            which = f"line {torn[0]} is" if len(torn) == 1 else f"{len(torn)} lines, the first of them {torn[0]}, are"
            self.notices.append(f"{self.path}: {which} torn or no JSON; skipped, as if never trained")
        self._read += len(content)
        self._end = (self._end + content)[-REMEMBERED:]
        self._line += len(lines) - 1

    def _counts(self, result: ProbeResult) -> bool:
        stored = self.results.get(result.key)
        return stored is None or stored.status == "failed"

    def _keep(self, result: ProbeResult) -> None:
        if self._counts(result):
            self.results[result.key] = result


def _result_of(line: bytes, place: str) -> ProbeResult | None:
    """The result a line holds; None where the line is torn, CalibrationError where it is whole and something else."""
    try:
        content = from_json(line)
    except ValueError:
        return None
    schema = str(content.get("schema", "")) if isinstance(content, dict) else ""
    version = schema.removeprefix(SCHEMA)
    if schema.startswith(SCHEMA) and version.isdecimal() and int(version[:9]) > VERSION:
        raise CalibrationError(
            f"{place} was written by a newer version ({schema[:40]}): "
            "upgrade with pip install --upgrade adamw-scale, or choose another --out"
        )
    try:
        return ProbeResult.from_json(line)
    except AdamWScaleError as error:
        raise CalibrationError(
            f"{place} is no result of a probe ({str(error)[:160]}): delete that line, or choose another --out"
        ) from None


def _last_line_is_open(file: FileIO) -> bool:
    """Whether the last line of a file has no end: its writer died, or the disk was full."""
    end = file.seek(0, os.SEEK_END)
    if not end:
        return False
    file.seek(end - 1)
    return file.read(1) != b"\n"


def _write(file: FileIO, content: bytes) -> None:
    """Write everything; one call to the system unless the disk takes only a part."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _taken(file: FileIO, how: int) -> bool:
    """Whether a lock could be had at once."""
    import fcntl

    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _where_there_are_locks() -> Iterator[None]:
    """Go on without a lock on a file system that has none."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise


@contextmanager
def folder_lock(
    folder: Path, *, wait: bool = False, notice: Callable[[str], None] = lambda text: None
) -> Iterator[None]:
    """Hold a folder, in which one calibration goes on at a time, until the block ends or its process dies.

    Args:
        folder: Where the lock file is; must exist.
        wait: Wait until the folder is free, instead of refusing.
        notice: Told once, if there is something to wait for.

    Raises:
        CalibrationError: another process calibrates in the folder, and `wait` is not set.
        OSError: the folder cannot be written.
    """
    lock, holder = FileLock(folder / LOCK_FILE), folder / HOLDER_FILE
    with _where_there_are_locks():
        try:
            lock.acquire(timeout=0)
        except Timeout:
            taken = f"{folder} is being calibrated by {_named(holder)}"
            if not wait:
                raise CalibrationError(f"{taken}: wait for it with --wait, or choose another --out") from None
            notice(f"{taken}: waiting for it to end")
            lock.acquire(poll_interval=POLL_SECONDS)
    try:
        holder.write_text(_this_process())
        yield
    finally:
        with suppress(OSError):  # a folder that is gone or cannot be written holds nobody up
            holder.unlink()
        lock.release()


def _this_process() -> str:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "started": started})


def _named(holder: Path) -> str:
    """The process that holds a folder, for people."""
    try:
        content: dict[str, Any] = json.loads(holder.read_bytes())
        since = datetime.fromisoformat(content["started"]).astimezone()
        return f"process {int(content['pid'])} on {str(content['host'])[:100]} since {since:%H:%M}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
