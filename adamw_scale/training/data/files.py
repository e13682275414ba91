"""What every source needs of a file: that it is there, not too large, and refused in one line where it is broken."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from adamw_scale.errors import AdamWScaleError, MissingExtraError, SpecError
from adamw_scale.units import format_count, printable

MAX_BYTES = 1 << 30  # of a text or a table, in memory
MOST_FILES = 100_000  # of a folder that are looked at
MAX_VALUES = 1 << 28  # numbers in the inputs of all examples, which are 32 bits wide


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a library raises on a broken file into one line that names the file."""
    try:
        yield
    except AdamWScaleError:
        raise
    except OSError as error:
        raise refusal(path, f"{printable(str(error.strerror or error))[:160]}. Pass a readable {kind}") from None
    except Exception as error:
        says = printable(str(error) or type(error).__name__)[:160]
        raise refusal(path, f"not a readable {kind} ({says}): write it again, or pass another") from None


def refusal(path: Path, reason: str) -> SpecError:
    """The error of a file that cannot be used."""
    return SpecError(f"--data {printable(str(path))}: {reason}")


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder, in order of their names, but hidden ones.

    Raises:
        SpecError: it holds more than is looked at.
        OSError: a folder in it cannot be read.
    """

    def fail(error: OSError) -> None:
        raise error

    found, looked_at = [], 0
    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        found += [file for name in names if not name.startswith(".") and (file := Path(place, name)).is_file()]
        looked_at += len(folders) + len(names)
        if looked_at > MOST_FILES:
            raise refusal(folder, f"more than {MOST_FILES:,} files: pass a smaller folder, or write them into one file")
    return sorted(found)


def refuse_size(path: Path, size: int, most: int = MAX_BYTES, unit: str = "bytes") -> None:
    """SpecError for an empty file, and for one with more in it than is read into memory."""
    if size == 0:
        raise refusal(path, "it is empty: pass one with data in it")
    if size > most:
        raise refusal(
            path, f"{format_count(size)} {unit} are more than the {format_count(most)} that are read: pass a part of it"
        )


def data_library(module: str, package: str, needed_for: str) -> Any:
    """A module of the extra `data`, loaded where it is needed.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtraError(package, "data", needed_for) from None
