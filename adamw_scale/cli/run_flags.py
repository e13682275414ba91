"""The options that describe a run, shared by every command that needs one.

They are read off `TrainingRun`: a field added there is a flag here, with the field's description as
its help. A few shorthands stand beside the fields, on the command line and in files alike:
tokens, samples (dataset_size and unit in one), lr, params, warmup (a fraction below 1, else steps).
"""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from adamw_scale.cli.run_file import read_run_file
from adamw_scale.cli.schedule_file import read_schedule_file
from adamw_scale.errors import MissingInputError, SpecError
from adamw_scale.noun import flag
from adamw_scale.spec.run import SHORTHANDS, UNITS, TrainingRun, described_by, mixed_units, sized_by_steps
from adamw_scale.theory import schedules
from adamw_scale.units import parse_quantity

SPECIAL = {
    "run": ("FILE", "TOML, YAML or JSON file with these fields; - reads stdin. Flags override it."),
    "tokens": ("N", "unique tokens in the data set, one epoch (1.3B, 512k, ...)"),
    "samples": ("N", "unique samples in the data set, one epoch; every size is then in samples"),
    "dataset_size": ("N", "the same in the unit of --unit"),
    "steps": ("N", "optimizer steps of the run, where the size of the data set (or epochs) is not given"),
    "warmup": ("N", "linear warm-up: a fraction of the run (2%, 0.02) or a number of steps"),
    "schedule_file": ("FILE", "table: learning rates, one a line for every step, or two columns: step and lr"),
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
        if name not in SPECIAL and not name.startswith("warmup_") and name != "schedule_table"
    }


def _spellings(name: str) -> list[str]:
    """A field's short flag, and its own name as a flag."""
    plain = "--" + name.replace("_", "-")
    return [plain] if name in SPECIAL else list(dict.fromkeys([flag(TrainingRun, name), plain]))


def words_from(given: Given) -> Given:
    """Fields of `TrainingRun`, and `steps`, from a run file and the flags that override it.

    Raises:
        SpecError: the file cannot be read, or two values are for the same thing.
    """
    flags = described_by(_with_table({name: value for name, value in given.items() if name != "run"}))
    said = described_by(_with_table(read_run_file(given["run"]))) if "run" in given else {}
    if "unit" in flags and said.get("unit", flags["unit"]) != flags["unit"]:
        raise mixed_units()
    if {"warmup_fraction", "warmup_steps"} & flags.keys():
        said = {name: value for name, value in said.items() if not name.startswith("warmup_")}
    if "schedule_table" in flags:
        said = {name: value for name, value in said.items() if name not in schedules.OPTIONS}
    return {**said, **flags}


def fields_from(given: Given) -> Given:
    """Fields of `TrainingRun` from a run file and the flags that override it.

    Raises:
        SpecError: the file cannot be read, or two values are for the same thing.
    """
    return sized_by_steps(words_from(given))


def run_from(given: Given) -> TrainingRun:
    """The run that file and flags describe."""
    return TrainingRun.model_validate(fields_from(given))


def run_of_any_data(given: Given) -> TrainingRun:
    """The run, where only its steps matter: without sizes it counts batches, one a step."""
    if {"tokens", "samples", "dataset_size", "batch_size", "run"} & given.keys():
        return run_from(given)
    if not {"steps", "schedule_file"} & given.keys():
        raise MissingInputError("how long is the run? Pass --steps, or the data set and --batch-size")
    return run_from({**given, "unit": "samples", "batch_size": "1"})


def _with_table(words: Mapping[str, Any]) -> Given:
    """What was said, with `schedule_file` replaced by what it holds: the schedule, and steps and peak where nothing else gives them."""
    said = {name.replace("-", "_"): value for name, value in words.items()}
    if "schedule_file" not in said:
        return said
    name = str(said.pop("schedule_file"))
    if said.get("schedule", "table") != "table" or "schedule_table" in said:
        raise SpecError("--schedule-file is a schedule of its own: drop --schedule")
    table = read_schedule_file(name)
    found: Given = {"schedule": "table", "schedule_table": table.points}
    if not {"dataset_size", *UNITS, "steps"} & said.keys():
        found["steps"] = table.steps
    if table.peak != 1.0:
        spelling = next(
            (word for word in (*SHORTHANDS, "peak_lr") if SHORTHANDS.get(word, word) == "peak_lr" and word in said),
            "lr",
        )
        given = said.get(spelling, table.peak)
        if not math.isclose(parse_quantity(str(given)), table.peak, rel_tol=1e-3):
            raise SpecError(
                f"--lr {given} contradicts the peak of {table.peak:g} in {name}: drop --lr, or divide the file by its peak"
            )
        found[spelling] = given
    return {**said, **found}
