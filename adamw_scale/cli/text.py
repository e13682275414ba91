"""Plain text for people: labelled paragraphs, columns, colour on terminals only.

Not rich, on purpose: importing it takes longer than everything else `recommend` does.
"""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, TextIO

import typer

from adamw_scale.units import printable

MAX_WIDTH = 100
LABEL_WIDTH = 11


# Bold, dim, italic, underlined, their ends, and the usual colours: nothing that hides text or moves the cursor.
STYLE = re.compile(r"(\x1b\[(?:(?:[0-4]|2[2-4]|[39][0-7]|39);?)*m)")
COLOURS_FORCED = ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS")  # as typer has it


class Unheard:
    """A stream that may be closed, full or gone: nobody reads what is written, and nothing else changes."""

    borne: ClassVar[tuple[type[Exception], ...]] = (OSError, ValueError)  # ValueError is that of a closed file

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or else write nowhere from now on."""
        with self._or_nowhere():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or else write nowhere from now on."""
        with self._or_nowhere():
            self._stream.flush()

    @contextmanager
    def _or_nowhere(self) -> Iterator[None]:
        try:
            yield
        except self.borne:
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


class Answer(Unheard):
    """Standard output: nothing passes that a terminal would obey, and a reader that leaves early changes nothing."""

    borne: ClassVar[tuple[type[Exception], ...]] = (BrokenPipeError,)  # a full disk is an error of ours

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._is_styled = stream.isatty() or any(os.environ.get(name) for name in COLOURS_FORCED)

    def write(self, text: str) -> int:
        """Write what can be shown of it."""
        parts = STYLE.split(text) if self._is_styled else [text]
        super().write("".join(part if number % 2 else _shown(part) for number, part in enumerate(parts)))
        return len(text)


def _shown(text: str) -> str:
    """Text on as many lines as it has, without what a terminal would obey."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else "?" for each in text)


def width() -> int:
    """Columns to fill: the terminal's, or $COLUMNS, up to what reads well."""
    return min(MAX_WIDTH, max(40, shutil.get_terminal_size((80, 24)).columns))


def styled(text: str, *, bold: bool = False, dim: bool = False, color: str | None = None) -> str:
    """Text with a style, where stdout is a terminal that knows colours and NO_COLOR is not set."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
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
