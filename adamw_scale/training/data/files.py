"""What every source needs of a file: that it is there, not too large, and refused in one line where it is broken."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from adamw_scale.errors import AdamWScaleError, MissingExtraError, SpecError
from adamw_scale.units import format_count, printable

MAX_BYTES = 1 << 30  # of a text or a table, in memory
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
