"""The options that describe a run, shared by every command that needs one.

They are read off `TrainingRun`: a field added there is a flag here, with the field's description as
its help. A few shorthands stand beside the fields, on the command line and in files alike:
tokens, samples (dataset_size and unit in one), lr, params, warmup (a fraction below 1, else steps).
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from adamw_scale.cli.run_file import read_run_file
from adamw_scale.errors import SpecError, UnknownNameError
from adamw_scale.noun import flag
from adamw_scale.spec import UNITS, TrainingRun
from adamw_scale.units import parse_quantity

SHORTHANDS = {"lr": "peak_lr", "learning_rate": "peak_lr", "params": "num_params", "params_kind": "num_params_kind"}
SPECIAL = {
    "run": ("FILE", "TOML, YAML or JSON file with these fields; - reads stdin. Flags override it."),
    "tokens": ("N", "unique tokens in the data set, one epoch (1.3B, 512k, ...)"),
    "samples": ("N", "unique samples in the data set, one epoch; every size is then in samples"),
    "dataset_size": ("N", "the same in the unit of --unit"),
    "warmup": ("N", "linear warm-up: a fraction of the run (2%, 0.02) or a number of steps"),
}

Given = dict[str, Any]


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all run options; it receives those that were used as one mapping, `given`.

    A command's own option takes the place of a run option of the same name.
    """
    own = inspect.signature(command).parameters
    options = {
        name: typer.Option(*_spellings(name), help=text, metavar=metavar, rich_help_panel="The run")
        for name, (metavar, text) in {**SPECIAL, **_described_fields()}.items()
        if name not in own
    }
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option])
        for name, option in options.items()
    ]

    @functools.wraps(command)
    def with_run(**values: Any) -> None:
        given = {name: values.pop(name) for name in options if values.get(name) is not None}
        command(given=given, **{name: value for name, value in values.items() if name not in options})

    kept = [parameter for name, parameter in own.items() if name != "given"]
    with_run.__signature__ = inspect.Signature([*kept, *shared])  # type: ignore[attr-defined]
    return with_run


def _described_fields() -> dict[str, tuple[str, str]]:
    """Metavar and help of every field that has a flag of its own."""
    return {
        name: ("VALUE", field.description or "")
        for name, field in TrainingRun.model_fields.items()
        if name not in SPECIAL and not name.startswith("warmup_")
    }


def _spellings(name: str) -> list[str]:
    """A field's short flag, and its own name as a flag."""
    plain = "--" + name.replace("_", "-")
    return [plain] if name in SPECIAL else list(dict.fromkeys([flag(TrainingRun, name), plain]))


def fields_from(given: Given) -> Given:
    """Fields of `TrainingRun` from a run file and the flags that override it.

    Raises:
        SpecError: the file cannot be read, or two values are for the same thing.
    """
    flags = _expand({name: value for name, value in given.items() if name != "run"})
    fields = _expand(read_run_file(given["run"])) if "run" in given else {}
    if "unit" in flags and fields.get("unit", flags["unit"]) != flags["unit"]:
        raise _mixed_units()
    if {"warmup_fraction", "warmup_steps"} & flags.keys():
        fields = {name: value for name, value in fields.items() if not name.startswith("warmup_")}
    return {**fields, **flags}


def run_from(given: Given) -> TrainingRun:
    """The run that file and flags describe."""
    return TrainingRun.model_validate(fields_from(given))


def _mixed_units() -> SpecError:
    return SpecError(
        "tokens and samples are mixed: every size of a run is in one unit, so keep either --tokens or --samples"
    )


def _expand(values: Mapping[str, Any]) -> Given:
    """Replace shorthands by the fields they stand for; what is said twice is refused."""
    fields: Given = {}
    for name, value in values.items():
        plain = name.replace("-", "_")
        field = SHORTHANDS.get(plain, plain)
        if field in fields:
            raise SpecError(f"{name} and another spelling of {field} were both given: keep one")
        if field not in TrainingRun.model_fields and field not in SPECIAL:
            raise UnknownNameError("field of a run", name, {*TrainingRun.model_fields, *SPECIAL, *SHORTHANDS} - {"run"})
        fields[field] = value
    for unit in UNITS:
        if unit not in fields:
            continue
        if any(other in fields for other in UNITS if other != unit) or fields.get("unit", unit) != unit:
            raise _mixed_units()
        if "dataset_size" in fields:
            raise SpecError(f"--{unit} and --dataset-size both give the size of the data set: keep one")
        fields |= {"dataset_size": fields.pop(unit), "unit": unit}
    if "warmup" in fields:
        if {"warmup_fraction", "warmup_steps"} & fields.keys():
            raise SpecError("warmup and warmup_fraction or warmup_steps were both given: keep one")
        warmup = fields.pop("warmup")
        try:
            amount = parse_quantity(str(warmup))
        except SpecError as error:
            raise SpecError(f"warmup: {error}") from None
        fields["warmup_fraction" if amount < 1 or "%" in str(warmup) else "warmup_steps"] = amount
    return fields
