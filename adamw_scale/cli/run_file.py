"""Reading what a user hands in: text of bounded size, as data and never as code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from adamw_scale.errors import SpecError
from adamw_scale.files import read_text

MAX_BYTES = 1 << 16
Content = TypeVar("Content")


def read_run_file(path: str) -> dict[str, Any]:
    """A flat mapping from a TOML, YAML or JSON file; `-` is stdin, whose format is found out.

    Raises:
        SpecError: unreadable, not text, too large, not valid in its format, or not a flat mapping.
    """
    return _read(path, _fields)


def read_ladder_file(path: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What all runs of such a file share, and what each table under `run` says over it; without any, one says nothing.

    Raises:
        SpecError: as for a run file, or `run` holds anything but tables of fields.
    """
    return _read(path, _tables)


def _read(path: str, understand: Callable[[Any], Content]) -> Content:
    """What a file's data mean; `understand` raises ValueError where they are not what is read here."""
    from adamw_scale.formats.data import json_of, toml_of, yaml_of

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
        try:
            return understand(content)
        except ValueError as error:
            problems.append(str(error))
    if len(formats) > 1:
        problems = ["neither JSON nor TOML nor YAML with the fields of a run"]
    raise SpecError(f"{name}: {problems[0]}. Write for example: lr = 3e-4")


def _fields(content: Any) -> dict[str, Any]:
    if isinstance(content, dict) and str(content.get("schema", "")).startswith("adamw-scale/"):
        content = content.get("run")  # a document of this tool's own, such as recommend --json
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError("not a mapping of fields such as peak_lr: 3e-4")
    if nested := [key for key, value in content.items() if isinstance(value, dict)]:
        raise ValueError(f"holds a table {nested[0][:40]!r}: write the run's fields at the top level")
    return content


def _tables(content: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if not isinstance(content, dict) or not isinstance(content.get("run"), list):
        return _fields(content), [{}]
    shared = {key: value for key, value in content.items() if key != "run"}
    tables = [_fields(table) for table in content["run"]]
    if not tables:
        raise ValueError("its list 'run' is empty: write a [[run]] table for each run")
    return _fields(shared), tables
