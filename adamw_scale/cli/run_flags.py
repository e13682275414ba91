"""The options that describe a run, shared by every command that needs one.

They are read off `TrainingRun`: a field added there is a flag here, with the field's description as
its help. A few shorthands stand beside the fields, on the command line and in files alike:
tokens, samples (dataset_size and unit in one), sequences (the batch), lr, params, warmup (a fraction below 1, else
steps).
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Annotated, Any

import typer

from adamw_scale.cli.run_file import read_run_file
from adamw_scale.cli.schedule_file import read_schedule_file
from adamw_scale.errors import MissingInputError, SpecError
from adamw_scale.noun import flag
from adamw_scale.spec.run import TrainingRun, described_by, said_over, sized_by_steps
from adamw_scale.units import parse_quantity

SPECIAL = {
    "run": ("FILE", "TOML, YAML or JSON file with these fields; - reads stdin. Flags override it."),
    "tokens": ("N", "unique tokens in the data set, one epoch (1.3B, 512k, ...)"),
    "samples": ("N", "unique samples in the data set, one epoch; every size is then in samples"),
    "dataset_size": ("N", "the same in the unit of --unit"),
    "steps": ("N", "optimizer steps of the run, where the size of the data set (or epochs) is not given"),
    "sequences": ("N", "sequences per optimizer step, of --sequence-length each, instead of --batch-size"),
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
        name: typer.Option(*spellings(name), help=text, metavar=metavar, rich_help_panel="The run")
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


def spellings(name: str) -> list[str]:
    """A field's short flag, and its own name as a flag."""
    plain = "--" + name.replace("_", "-")
    return [plain] if name in SPECIAL else list(dict.fromkeys([flag(TrainingRun, name), plain]))


def words_from(given: Given) -> Given:
    """What a run file says of a run, and the flags over it, as `described_by` gives it.

    Raises:
        SpecError: a file cannot be read, or two values are for the same thing.
    """
    flags = described_by({name: value for name, value in given.items() if name != "run"})
    file = described_by(read_run_file(given["run"])) if "run" in given else {}
    return flags_over(file, flags)


def flags_over(file: Given, flags: Given) -> Given:
    """Words of the flags over those of a file, both as `described_by` gives them.

    A schedule's file is opened after the two were merged, so one that is overridden is not.

    Raises:
        SpecError: a schedule's file cannot be read, or its peak is not the learning rate that is said beside it.
    """
    words = said_over(file, flags)
    if not isinstance(words.get("schedule_table"), str):
        return words
    name = words["schedule_table"]
    table = read_schedule_file(name)
    words |= {"schedule_table": table.points, "schedule_steps": table.steps}
    if table.peak != 1.0:
        beside = (flags if "schedule_table" in flags else file).get("peak_lr", table.peak)
        if not math.isclose(parse_quantity(str(beside)), table.peak, rel_tol=1e-3):
            raise SpecError(
                f"--lr {beside} contradicts the peak of {table.peak:g} in {name}: drop --lr, or divide the file by "
                "its peak"
            )
        words["peak_lr"] = flags.get("peak_lr", beside)
    return words


def fields_from(given: Given) -> Given:
    """Fields of `TrainingRun` from a run file and the flags over it.

    Raises:
        SpecError: a file cannot be read, or two values are for the same thing.
    """
    return sized_by_steps(words_from(given))


def run_from(given: Given) -> TrainingRun:
    """The run that file and flags describe."""
    return TrainingRun.model_validate(fields_from(given))


def run_of_any_data(given: Given) -> TrainingRun:
    """The run, where only its steps matter: without sizes it counts batches, one a step."""
    if {"tokens", "samples", "dataset_size", "batch_size", "sequences", "run"} & given.keys():
        return run_from(given)
    if not {"steps", "schedule_file"} & given.keys():
        raise MissingInputError("how long is the run? Pass --steps, or the data set and --batch-size")
    return run_from({**given, "unit": "samples", "batch_size": "1"})
