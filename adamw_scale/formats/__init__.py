"""Text in a format, as plain data and never as code: JSON, YAML, TOML, shell arguments, Python.

`parse` finds out which. Nothing is executed, imported or built beyond strings, numbers, lists and
mappings; nesting is bounded before a parser sees the text, so that hostile text costs little.

document.py   what a text says, whatever its format
data.py       JSON, TOML, YAML
shell.py      launches of a training in shell text, and their arguments
launchers.py  the program of a command line, behind torchrun and its like
bash/         what the commands of a script become, by its syntax
python.py     assignments and calls in Python text
notebook.py   the code cells of a Jupyter notebook, as Python or shell text
"""

import re
from collections.abc import Callable, Collection
from typing import Any

from adamw_scale.errors import SpecError
from adamw_scale.formats.data import json_of, toml_of, yaml_of
from adamw_scale.formats.document import Document, Unread
from adamw_scale.formats.notebook import NOTEBOOK, Notebook, is_notebook
from adamw_scale.formats.python import python_source
from adamw_scale.formats.shell import shell_arguments

FORMATS = ("JSON", "TOML", "YAML", "Python", "shell arguments")


def parse(text: str, suffix: str = "", among: Collection[str] = FORMATS, command: int | None = None) -> Document:
    """The document a text is.

    Args:
        text: A whole config, launch script or training script.
        suffix: Of its file (".yaml"); it settles the format where it is one of a format.
        among: Formats that it may be in; one alone settles it where the suffix does not, else the text is looked at.
        command: Number of the launch, from 1, where shell text has several.

    Raises:
        SpecError: not valid in its format, nested beyond reason, not a document with keys, or several launches.
    """
    if suffix.lower() == NOTEBOOK or (not suffix and is_notebook(text)):
        return _of_a_notebook(text, command)
    only = next(iter(among)) if len(among) == 1 else None
    return _read(text, _BY_SUFFIX.get(suffix.lower()) or only or _sniffed(text, among), command)


def _read(text: str, name: str, command: int | None) -> Document:
    """The document of a text in a format."""
    if command is not None and name != "shell arguments":
        raise SpecError(f"--command chooses among the launches of a shell script, and this is {name}: drop it")
    try:
        document = shell_arguments(text, command) if name == "shell arguments" else _PARSERS[name](text)
        document = document if document.text else document._replace(text=text)
        document.keys()  # refuses what aliases and names make of a few bytes
        return document
    except _INVALID as error:
        raise _not_valid(name, error) from None


def _of_a_notebook(text: str, command: int | None) -> Document:
    """What the code cells say; lines are told as those of a cell."""
    try:
        notebook = Notebook(text)
    except _INVALID as error:
        raise _not_valid("Jupyter notebook", error) from None
    try:
        document = _read(notebook.text, "shell arguments" if notebook.is_shell else "Python", command)
    except SpecError as error:
        raise SpecError(re.sub(r"\bline (\d+)", lambda found: notebook.where(int(found[1])), str(error))) from None
    return document._replace(calls=tuple(call._replace(cell_line=notebook.where(call.line)) for call in document.calls))


def _not_valid(name: str, error: Exception) -> SpecError:
    said = " ".join(str(error).split())[:160] or type(error).__name__
    return SpecError(f"not valid {name} ({said}): pass a complete file")


def _mapping(format_: str, read: Callable[[str], Any]) -> Callable[[str], Document]:
    def document(text: str) -> Document:
        content = read(text)
        if not isinstance(content, dict):
            raise ValueError("no mapping of keys to values")
        return Document(format_, content, lost=_included(content))

    return document


def _included(content: dict[str, Any]) -> tuple[str, ...]:
    """Other files that a text takes values from, which are not looked at."""
    found = [f"{key}: {str(content[key])[:40]}" for key in _INCLUDES if isinstance(content.get(key), str | list)]
    waiting, seen = list[Any]([content]), set[int]()
    while waiting:
        item = waiting.pop()
        if isinstance(item, Unread) and "include" in item.split(" ")[0].lower():
            found.append(str(item))
        elif isinstance(item, dict | list) and id(item) not in seen:
            seen.add(id(item))
            waiting.extend(item.values() if isinstance(item, dict) else item)
    return tuple(found)


def _sniffed(text: str, among: Collection[str]) -> str:
    """The format a text looks like; key=value is an assignment only where that may be one."""
    start = text.lstrip()[:1]
    if start == "{":
        return "JSON"
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    code = any(re.match(r"(import|from|def|class)\s+\w", line) for line in lines)
    if "shell arguments" in among and not code and (re.match(r"#!.*sh\b", text) or any(map(_LAUNCH.match, lines))):
        return "shell arguments"
    flags = sum(bool(re.search(r"(^|\s)--[a-zA-Z]", line)) for line in lines)
    colons = sum(bool(re.match(r"\s*(- )?[\w.\-\"']+\s*:(\s|$)", line)) for line in lines)
    tables = sum(bool(re.fullmatch(r"\s*\[[\w.\-]+\]\s*", line)) for line in lines)
    equals = sum(bool(re.search(r"\w\s*=[^=]|\w\(", line)) for line in lines)
    if flags and flags >= max(colons, tables):
        return "shell arguments"
    if tables:
        return "TOML"
    if any(re.match(r"\w+\s*=\s*(\{|dict\()", line) for line in lines):
        return "Python"  # "ds_config = {", however many colons follow
    if colons > equals:
        return "YAML"
    return "Python" if "Python" in among else "shell arguments"


_INVALID = (ValueError, SyntaxError, RecursionError, MemoryError)  # what a parser raises
_INCLUDES = ("defaults", "include", "includes", "extends", "_base_")  # keys at the top, of Hydra and its kin
# A line that runs a script, which is no line of any other format but within a string.
_LAUNCH = re.compile(
    r"""(?!.*['"]{3})(export\s+)?([A-Z_][A-Z\d_]*=[^\s(]*\s+)*(srun\s|nohup\s)?"""
    r"(python3?\s+(-\w\s+)*[\w./$-]+|torchrun|deepspeed|accelerate launch)(\s[^=:(]|\s[\w.]+=[^=]|$)"
)
_BY_SUFFIX = {
    ".json": "JSON",
    ".toml": "TOML",
    ".yaml": "YAML",
    ".yml": "YAML",
    ".py": "Python",
    ".sh": "shell arguments",
}
_PARSERS: dict[str, Callable[[str], Document]] = {
    "JSON": _mapping("JSON", json_of),
    "TOML": _mapping("TOML", toml_of),
    "YAML": _mapping("YAML", yaml_of),
    "Python": python_source,
}
