"""Tables of evidence: one CSV per kind, one row per setting; a row that cannot be read is named."""

import csv
from collections.abc import Callable
from importlib.resources import files
from typing import TypeVar

from adamw_scale.errors import SpecError

T = TypeVar("T")


def read_table(name: str, of: Callable[[dict[str, str]], T]) -> tuple[T, ...]:
    """Every row of a table of this folder, made into something.

    Raises:
        SpecError: a row cannot be read; its number and first cell are named.
    """
    with files("adamw_scale.evidence").joinpath(name).open(encoding="utf-8") as file:
        rows = []
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                rows.append(of(row))
            except (KeyError, TypeError, ValueError, SpecError) as error:
                raise SpecError(f"{name}, line {number} ({next(iter(row.values()))}): {error}") from error
    return tuple(rows)
