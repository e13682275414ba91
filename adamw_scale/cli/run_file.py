"""Reading what a user hands in: text of bounded size, as data and never as code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from adamw_scale.errors import SpecError
from adamw_scale.files import read_text

MAX_BYTES = 1 << 16


def read_run_file(path: str) -> dict[str, Any]:
    """A flat mapping from a TOML, YAML or JSON file; `-` is stdin, whose format is found out.

    Raises:
        SpecError: unreadable, not text, too large, not valid in its format, or not a flat mapping.
    """
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
