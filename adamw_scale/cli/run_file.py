"""Reading what a user hands in: text of bounded size, as data and never as code."""

import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adamw_scale.errors import SpecError

MAX_BYTES = 1 << 16


def read_run_file(path: str) -> dict[str, Any]:
    """A flat mapping from a TOML, YAML or JSON file; `-` is stdin, whose format is found out.

    Raises:
        SpecError: unreadable, not text, too large, not valid in its format, or not a flat mapping.
    """
    from adamw_scale.formats import json_of, toml_of, yaml_of

    name = "stdin" if path == "-" else path
    text = read_text(path, MAX_BYTES)
    suffix = Path(path).suffix.lower()
    known: dict[str, dict[str, Callable[[str], Any]]] = {
        ".json": {"JSON": json_of},
        ".toml": {"TOML": toml_of},
        ".yaml": {"YAML": yaml_of},
        ".yml": {"YAML": yaml_of},
    }
    formats = known.get(suffix, {"JSON": json_of, "TOML": toml_of, "YAML": yaml_of})
    problems = []
    for format_name, parse in formats.items():
        try:
            content = parse(text)
        except (ValueError, RecursionError) as error:
            problems.append(f"not valid {format_name} ({' '.join(str(error).split())[:160]})")
            continue
        if isinstance(content, dict) and str(content.get("schema", "")).startswith("adamw-scale/"):
            content = content.get("run")  # a document of this tool's own, such as recommend --json
        if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
            problems.append("not a mapping of fields such as peak_lr: 3e-4")
        elif nested := [key for key, value in content.items() if isinstance(value, dict)]:
            problems.append(f"holds a table {nested[0][:40]!r}: write the run's fields at the top level")
        else:
            return content
    if len(formats) > 1:
        problems = ["neither JSON nor TOML nor YAML with the fields of a run"]
    raise SpecError(f"{name}: {problems[0]}. Write for example: lr = 3e-4")


def read_text(path: str, limit: int) -> str:
    """Text of a file, or of stdin for `-`, at most `limit` bytes.

    Raises:
        SpecError: missing, not a regular file, too large, or not UTF-8 text.
    """
    name = "stdin" if path == "-" else path[:200]
    try:
        if path == "-":
            data = sys.stdin.buffer.read(limit + 1) if sys.stdin is not None else b""
        else:
            if not path or not stat.S_ISREG(Path(path).stat().st_mode):
                raise SpecError(f"{name or 'an empty path'} is not a file. Pass a file, or - and pipe the text in")
            with Path(path).open("rb") as file:
                data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise SpecError(f"{name}: {getattr(error, 'strerror', None) or error}. Pass a readable file") from None
    if len(data) > limit:
        raise SpecError(f"{name}: larger than {limit >> 10} KiB, so it is not what is read here. Pass another file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError(f"{name}: not UTF-8 text. Pass a text file") from None
    if "\0" in text:
        raise SpecError(f"{name}: a binary file. Pass a text file")
    return text
