"""Jupyter notebooks: the code cells as one text, and changes of that text as changes of the notebook's JSON.

The text is Python, without what only IPython understands (magics, `!commands`, help), in whose place is blank; or it
is the shell commands where the notebook does no more than launch a training with them. Every character of it stands
for one of a cell's source.
"""

import ast
import json
import re
import warnings
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, NamedTuple

from adamw_scale.errors import SpecError

NOTEBOOK = ".ipynb"
MOST_CODE = 1 << 18  # characters of all code cells
MOST_PIECES = 20_000  # cells and lines of them
PYTHON_CELLS = frozenset({"time", "timeit", "capture", "prun"})  # magics of a cell whose other lines are Python
SHELL_CELLS = frozenset({"bash", "sh", "shellscript"})  # the last one is an editor's word, in the metadata
LAUNCH = re.compile(
    r"(?m)^[ \t]*(?:\w+=\S+[ \t]+)*(?:(?:python3?|torchrun|deepspeed|accelerate\s+launch)\s(?:[^\n]*\.py\b|[^\n]*-m\s)"
    r"|(?:swift|axolotl|llamafactory-cli|trl)\s+\w)"
)
TRAINS = re.compile(r"Adam|\bLion\b|\boptim\b|Trainer|TrainingArguments|\bweight_decay\s*=|\.fit\(")
_MAGIC = re.compile(
    r"(?P<before>[ \t]*(?:\w[\w, \t]*=[ \t]*)?)(?:(?P<shell>!!?)|[%?]|[\w.*]+\?)(?P<command>.*)", re.DOTALL
)
_UNIT = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.|.", re.DOTALL)  # of JSON text, for one character


class Piece(NamedTuple):
    """A string of a cell's source: where it is in the text of all cells, and in the notebook, quotes included."""

    start: int
    end: int
    first: int
    last: int


class Cell(NamedTuple):
    """The strings of a cell's source, each with its first and last character in the notebook."""

    strings: list[tuple[str, int, int]]
    language: str


class Notebook:
    r"""The code of a notebook.

    Args:
        whole: The notebook, format 4.

    Attributes:
        text: Its code.
        is_shell: Whether that is shell text, and not Python.

    Raises:
        SpecError: it is of an older format or of another language, or has no code, or too much.
        ValueError: it is no notebook.

    Example:
        >>> cell = {"cell_type": "code", "source": ["%time\n", "lr = 1e-3"]}
        >>> made = Notebook(json.dumps({"cells": [cell], "nbformat": 4}))
        >>> made.text, made.where(2)
        ('_    \nlr = 1e-3', 'line 2 of cell 1')
    """

    def __init__(self, whole: str) -> None:
        self.whole = whole
        self._pieces: list[Piece] = []
        self._cells: list[tuple[int, int]] = []  # first line of each in the text, and its number among all cells
        sources: list[str] = []
        line, start = 1, 0
        languages: list[str] = []
        for number, cell in enumerate(_code_cells(whole), start=1):
            if cell is None:
                continue
            self._cells.append((line, number))
            for string, first, last in cell.strings:
                self._pieces.append(Piece(start, start + len(string), first, last))
                start += len(string)
            sources.append("".join(string for string, _, _ in cell.strings))
            languages.append(cell.language)
            start += 1  # the line end between two cells
            line += sources[-1].count("\n") + 1
            if start > MOST_CODE or len(self._pieces) + len(self._cells) > MOST_PIECES:
                most = f"{MOST_CODE >> 10} KiB or {MOST_PIECES:,} lines"
                raise SpecError(f"more than {most} of code are in the cells: pass a notebook that trains")
        if not any(source.strip() for source in sources):
            raise SpecError("no code cell is in this notebook: pass the one that trains")
        both = [_python_and_shell(*each) for each in zip(sources, languages, strict=True)]
        python, shell = ("\n".join(each) for each in zip(*both, strict=True))
        self.is_shell = bool(LAUNCH.search(shell)) and not TRAINS.search(python)
        self.text = shell if self.is_shell else python

    def where(self, line: int) -> str:
        """A line of the text, from 1, as one of a cell; cells of all kinds are counted."""
        first, number = self._cells[max(0, bisect_right(self._cells, (line, len(self.whole))) - 1)]
        return f"line {line - first + 1} of cell {number}"

    def line(self, line: int) -> int:
        """The line of the notebook's own JSON, from 1, in which a line of the text begins."""
        offset = sum(len(each) + 1 for each in self.text.split("\n")[: line - 1])
        place = self._pieces[bisect_right([each.start for each in self._pieces], offset) - 1]
        return self.whole.count("\n", 0, place.first) + 1

    def changed(self, text: str) -> str | None:
        """The notebook with another text, byte for byte the same elsewhere; None where a change is not in one cell."""
        old, new = self.text.split("\n"), text.split("\n")
        edits = []
        if len(old) == len(new):
            start = 0
            for before, after in zip(old, new, strict=True):
                edits += [_edit(before, after, start)] if before != after else []
                start += len(before) + 1
        else:
            edits = [_edit(self.text, text, 0)]
        whole = self.whole
        for start, end, written in reversed(edits):
            piece = next((each for each in self._pieces if each.start <= start and end <= each.end), None)
            if piece is None:
                return None
            places = [match.start() for match in _UNIT.finditer(self.whole, piece.first + 1, piece.last)]
            quoted = json.dumps(written, ensure_ascii=False)[1:-1]
            whole = whole[: places[start - piece.start]] + quoted + whole[places[end - piece.start] :]
        return whole


def is_notebook(text: str) -> bool:
    """Whether a text is a notebook, by what each of them says."""
    return text.lstrip()[:1] == "{" and re.search(r'"nbformat"\s*:', text) is not None


def _edit(old: str, new: str, start: int) -> tuple[int, int, str]:
    """The one part that differs, and what takes its place."""
    shorter = min(len(old), len(new))
    head = next((place for place in range(shorter) if old[place] != new[place]), shorter)
    tail = next((place for place in range(shorter - head) if old[-1 - place] != new[-1 - place]), shorter - head)
    return start + head, start + len(old) - tail, new[head : len(new) - tail]


def _code_cells(whole: str) -> Iterator[Cell | None]:
    """Each code cell; None for other cells."""
    cursor, told = _Cursor(whole), dict[str, Any]()
    for key in cursor.members():
        if key == "cells":
            for _ in cursor.items("[]"):
                yield _cell(cursor)
        else:
            told[key] = cursor.value()
    if cursor.at < len(whole):
        raise json.JSONDecodeError("Extra data", whole, cursor.at)
    if not isinstance(told.get("nbformat"), int) or told["nbformat"] < 4:
        raise SpecError("a notebook of an older format than 4: jupyter nbconvert --to notebook FILE writes a new one")
    language = _language(told, "language_info", "name")
    if language not in ("python", "ipython"):
        raise SpecError(f"a notebook in {language}, and only those in Python are read")


def _language(told: dict[str, Any], *path: str) -> str:
    """What metadata says of a language."""
    found: Any = told.get("metadata")
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return str(found or "python")[:40]


def _cell(cursor: "_Cursor") -> Cell | None:
    """The cell that comes next; None where that is no code."""
    told, found = dict[str, Any](), list[tuple[str, int, int]]()
    for name in cursor.members():
        if name == "source":
            found = []
            for _ in cursor.items("[]") if cursor.at_mark("[") else [None]:
                first, value = cursor.at, cursor.value()
                if not isinstance(value, str):
                    raise ValueError("a source that is no text")
                found.append((value, first, cursor.at - 1))
        else:
            told[name] = cursor.value()
    return Cell(found, _language(told, "vscode", "languageId")) if told.get("cell_type") == "code" else None


class _Cursor:
    """A place in JSON text that moves over one value after the other, of which none is kept."""

    def __init__(self, whole: str) -> None:
        self.whole, self.at = whole, 0
        self._decode = json.JSONDecoder().raw_decode
        self._over("")

    def at_mark(self, mark: str) -> bool:
        """Whether the next character is this one."""
        return self.whole.startswith(mark, self.at)

    def value(self) -> Any:
        """What is here."""
        found, self.at = self._decode(self.whole, self.at)
        return found

    def items(self, brackets: str) -> Iterator[None]:
        """Stop at each item of a list or mapping; who asks has to move over it."""
        self._over(brackets[0])
        more = not self.at_mark(brackets[1])
        while more:
            yield
            self._over("")
            more = self.at_mark(",")
            self._over("," if more else "")
        self._over(brackets[1])

    def members(self) -> Iterator[str]:
        """The key of each value of a mapping; who asks has to move over the value."""
        for _ in self.items("{}"):
            key = self.value()
            self._over("")
            self._over(":")
            yield str(key)

    def _over(self, mark: str) -> None:
        """Move over a mark and the space behind it."""
        if not self.at_mark(mark):
            raise json.JSONDecodeError(f"Expecting {mark!r}", self.whole, self.at)
        self.at += len(mark)
        while self.whole[self.at : self.at + 1] in _SPACES:
            self.at += 1


_SPACES = frozenset(" \t\r\n")


def _python_and_shell(source: str, language: str) -> tuple[str, str]:
    """A cell's Python, and its shell commands, each with blanks for all else."""
    if language != "python":
        return _blank(source), source if language in SHELL_CELLS else _blank(source)
    head = re.match(r"\s*%%(\w+)[^\n]*", source)
    if head is None and _parses(source):
        return source, _blank(source)
    start = head.end() if head else 0
    if head is not None and head[1] not in PYTHON_CELLS:
        body = source[start:]
        return _blank(source), _blank(head[0]) + (body if head[1] in SHELL_CELLS else _blank(body))
    python, shell = [], []
    goes_on = is_shell = False
    for line in source[start:].split("\n"):
        magic = None if goes_on else _MAGIC.match(line)
        if magic:
            is_shell = magic["shell"] is not None
            kept = magic.end("before")
            python.append(line[:kept] + "_" + _blank(line[kept + 1 :]))
            shell.append(_blank(line[: magic.start("command")]) + _command(magic["command"]))
        else:
            python.append(_blank(line) if goes_on else line)
            shell.append(_command(line))
        if not (is_shell and (goes_on or magic)):
            shell[-1] = _blank(line)
        goes_on = bool(magic or goes_on) and line.rstrip().endswith("\\")
    blank = _blank(source[:start])
    return blank + "\n".join(python), blank + "\n".join(shell)


def _parses(source: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(source)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return False
    return True


def _command(text: str) -> str:
    """A shell command; what IPython puts into it from Python is a variable, where it is a name at the end of a word."""
    return re.sub(r"\{(\w+)\}(?=\s|$)", r"$\1 ", text)


def _blank(text: str) -> str:
    return re.sub(r"[^\r\n]", " ", text)
