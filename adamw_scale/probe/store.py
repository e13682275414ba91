"""What has been measured: an append-only file of results, keyed by the content of their configuration.

One JSON line per probe, flushed to disk before the next is started. A process that dies while
writing leaves a torn last line; opening the store drops it and says so. Nothing is ever rewritten.
"""

import os
import sys
from pathlib import Path
from typing import IO, Self

from adamw_scale.errors import AdamWScaleError, CalibrationError
from adamw_scale.probe.plan import ProbeResult


class ProbeStore:
    """Results by key, backed by a file; a context manager that holds the file's lock.

    Args:
        path: The file; created if missing, its folder must exist.

    Raises:
        CalibrationError: another process writes to the file, or a line other than the last is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[str, ProbeResult] = {}
        self.notices: list[str] = []
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self._file = self.path.open("a+b")
        try:
            _lock(self._file, self.path)
            self._load(self._file)
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def append(self, result: ProbeResult) -> None:
        """Keep a result, on disk when this returns."""
        assert self._file is not None, "the store is open only inside its with block"
        self._file.write(result.model_dump_json(by_alias=True).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.results[result.key] = result

    def _load(self, file: IO[bytes]) -> None:
        file.seek(0)
        end = 0
        for number, line in enumerate(file.readlines(), start=1):
            if not line.endswith(b"\n"):
                file.truncate(end)
                self.notices.append(f"{self.path}: dropped a torn last line ({len(line)} bytes); its probe runs again")
                return
            try:
                result = ProbeResult.from_json(line)
            except AdamWScaleError as error:
                raise CalibrationError(
                    f"{self.path} line {number} is damaged ({str(error)[:160]}): delete that line, or choose another --out"
                ) from None
            self.results[result.key] = result
            end += len(line)


def _lock(file: IO[bytes], path: Path) -> None:
    """Refuse a second writer; the lock goes with the process, however it ends."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise CalibrationError(
            f"{path} is in use by another calibration: wait for it, or choose another --out"
        ) from None
