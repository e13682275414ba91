"""The options that describe a run, shared by every command that needs one.

They are read off `TrainingRun`: a field added there is a flag here, with the field's description as
its help. A few shorthands stand beside the fields, on the command line and in files alike:
tokens, samples (dataset_size and unit in one), lr, params, warmup (a fraction below 1, else steps).
"""

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from adamw_scale.errors import SpecError
from adamw_scale.spec import TrainingRun, flag
from adamw_scale.units import parse_quantity

MAX_RUN_FILE_BYTES = 1 << 20
MAX_BRACKETS = 1000  # the YAML scanner takes time quadratic in their nesting
SHORTHANDS = {"lr": "peak_lr", "params": "num_params", "params_kind": "num_params_kind"}
PANEL = "The run"

Given = dict[str, Any]


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all run options; it receives those that were used as one mapping, `given`.

    A command's own option takes the place of a run option of the same name.
    """
    fields = {name: flag(name) for name in TrainingRun.model_fields if not name.startswith("warmup")}
    helps = {name: field.description for name, field in TrainingRun.model_fields.items()}
    options = {
        "run": typer.Option(
            "--run",
            help="TOML, YAML or JSON file with these fields; - reads stdin. Flags override it.",
            metavar="FILE",
            rich_help_panel=PANEL,
        ),
        "tokens": typer.Option(
            "--tokens", help="data set in tokens: --dataset-size with --unit tokens", metavar="N", rich_help_panel=PANEL
        ),
        "samples": typer.Option(
            "--samples",
            help="data set in samples: --dataset-size with --unit samples",
            metavar="N",
            rich_help_panel=PANEL,
        ),
        "warmup": typer.Option(
            "--warmup",
            help="linear warm-up: a fraction (2%, 0.02) or a number of steps",
            metavar="N",
            rich_help_panel=PANEL,
        ),
        **{
            name: typer.Option(text, help=helps[name], metavar="VALUE", rich_help_panel=PANEL)
            for name, text in fields.items()
        },
    }
    taken = inspect.signature(command).parameters
    options = {name: option for name, option in options.items() if name not in taken}
    own = [parameter for parameter in taken.values() if parameter.name != "given"]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option])
        for name, option in options.items()
    ]

    @functools.wraps(command)
    def with_run(**values: Any) -> None:
        given = {name: values.pop(name) for name in options if values.get(name) is not None}
        command(given=given, **{name: value for name, value in values.items() if name not in options})

    with_run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    return with_run


def fields_from(given: Given) -> Given:
    """Fields of `TrainingRun` from a run file and the flags that override it.

    Raises:
        SpecError: the file cannot be read, or shorthands contradict each other.
    """
    flags = _expand({name: value for name, value in given.items() if name != "run"})
    fields = _expand(read_run_file(given["run"])) if "run" in given else {}
    if {"warmup_fraction", "warmup_steps"} & flags.keys():
        fields = {name: value for name, value in fields.items() if not name.startswith("warmup_")}
    return {**fields, **flags}


def run_from(given: Given) -> TrainingRun:
    """The run that file and flags describe."""
    return TrainingRun.model_validate(fields_from(given))


def _expand(values: Mapping[str, Any]) -> Given:
    """Replace shorthands by the fields they stand for."""
    fields = {SHORTHANDS.get(name, name): value for name, value in values.items()}
    for unit in ("tokens", "samples"):
        if unit in fields:
            other = "samples" if unit == "tokens" else "tokens"
            if other in fields or fields.get("unit", unit) != unit:
                raise SpecError(
                    f"tokens and samples are mixed: every size of a run is in one unit. Keep --{unit} or --{other}"
                )
            if "dataset_size" in fields:
                raise SpecError(f"--{unit} and --dataset-size both give the size of the data set: keep one")
            fields |= {"dataset_size": fields.pop(unit), "unit": unit}
    if "warmup" in fields:
        warmup = fields.pop("warmup")
        try:
            amount = parse_quantity(str(warmup))
        except SpecError as error:
            raise SpecError(f"warmup: {error}") from None
        fields["warmup_fraction" if amount < 1 or "%" in str(warmup) else "warmup_steps"] = amount
    return fields


def read_run_file(path: str) -> Given:
    """A flat mapping from a TOML, YAML or JSON file; `-` is stdin, whose format is found out.

    Raises:
        SpecError: unreadable, not text, too large, not valid in its format, or not a flat mapping.
    """
    name = "stdin" if path == "-" else path
    text = read_text(path, MAX_RUN_FILE_BYTES)
    suffix = Path(path).suffix.lower()
    parsers = {".json": [_json], ".toml": [_toml], ".yaml": [_yaml], ".yml": [_yaml]}.get(suffix, [_json, _toml, _yaml])
    problem = ""
    for parser in parsers:
        try:
            content = parser(text)
        except (ValueError, RecursionError) as error:
            problem = problem or f"not valid {parser.__name__[1:].upper()} ({str(error).splitlines()[0][:100]})"
            continue
        if isinstance(content, dict) and all(isinstance(key, str) for key in content):
            nested = [key for key, value in content.items() if isinstance(value, dict)]
            if not nested:
                return content
            problem = f"holds a table {nested[0][:40]!r}: write the run's fields at the top level"
        else:
            problem = problem or "not a mapping of fields such as peak_lr: 3e-4"
    if len(parsers) > 1:
        problem = "neither JSON nor TOML nor YAML with the fields of a run"
    raise SpecError(f"{name}: {problem}")


def read_text(path: str, limit: int) -> str:
    """Text of a file, or of stdin for `-`, at most `limit` bytes.

    Raises:
        SpecError: missing, a folder, too large, or not UTF-8 text.
    """
    name = "stdin" if path == "-" else path
    try:
        if path == "-":
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(limit + 1)
    except OSError as error:
        raise SpecError(f"{name}: {error.strerror or error}. Pass a readable file") from None
    if len(data) > limit:
        raise SpecError(
            f"{name}: larger than {limit >> 20} MiB, so it is not what this option reads. Pass another file"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError(f"{name}: not UTF-8 text. Pass a text file") from None
    if "\0" in text:
        raise SpecError(f"{name}: a binary file. Pass a text file")
    return text


def _json(text: str) -> Any:
    import json

    return json.loads(text)


def _toml(text: str) -> Any:
    import tomllib

    return tomllib.loads(text)


def _yaml(text: str) -> Any:
    """YAML as data: safe loader, and no aliases, which a few bytes can expand without bound."""
    import yaml

    if text.count("[") + text.count("{") > MAX_BRACKETS:
        raise ValueError("nested too deeply")
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=yaml.SafeLoader)):
            raise ValueError("aliases are not read")
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
