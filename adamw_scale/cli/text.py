"""Plain text for people: labelled paragraphs, columns, colour on terminals only.

Not rich, on purpose: importing it takes longer than everything else `recommend` does.
"""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence

import typer

from adamw_scale.units import printable

MAX_WIDTH = 100
LABEL_WIDTH = 11


def width() -> int:
    """Columns to fill: the terminal's, or $COLUMNS, up to what reads well."""
    return min(MAX_WIDTH, max(40, shutil.get_terminal_size((80, 24)).columns))


def styled(text: str, *, bold: bool = False, dim: bool = False, color: str | None = None) -> str:
    """Text with a style, where stdout is a terminal and NO_COLOR is not set."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return typer.style(text, bold=bold, dim=dim, fg=color)


def say(*notices: str) -> None:
    """Lines on stderr, where everything goes that is not the answer."""
    for notice in notices:
        print(printable(notice), file=sys.stderr)


def labelled(label: str, text: str, color: str | None = None) -> str:
    """A paragraph wrapped beside its label."""
    lines = textwrap.wrap(text, width() - LABEL_WIDTH - 2, break_long_words=False) or [""]
    head = f"  {label:<{LABEL_WIDTH}}"
    first = styled(head, dim=color is None, color=color) + lines[0]
    return "\n".join([first, *(" " * len(head) + line for line in lines[1:])])


def paragraphs_of(rows: Mapping[str, str]) -> str:
    """Paragraphs beside their labels, one below the other."""
    return "\n".join(labelled(label, text) for label, text in rows.items())


def columns(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a dim header; the last column wraps, every other is as wide as its widest cell."""
    table = [list(header), *map(list, rows)]
    sizes = [max(len(row[i]) for row in table) for i in range(len(header) - 1)]
    indent = 2 + sum(size + 2 for size in sizes)
    out: list[str] = []
    for number, row in enumerate(table):
        wrapped = textwrap.wrap(row[-1], max(20, width() - indent), break_long_words=False) or [""]
        line = "  " + "".join(f"{cell:<{size}}  " for cell, size in zip(row, sizes, strict=False)) + wrapped[0]
        lines = [line.rstrip(), *(" " * indent + more for more in wrapped[1:])]
        out.extend(styled(line, dim=True) if number == 0 else line for line in lines)
    return "\n".join(out)
