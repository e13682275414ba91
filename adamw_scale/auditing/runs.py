"""The run that a config and its user describe together, or what is missing of it."""

from collections.abc import Mapping
from typing import Any

from adamw_scale.errors import MissingInputError
from adamw_scale.frameworks.config import Config
from adamw_scale.spec.run import WARMUPS, TrainingRun, said_over, sized_by_steps
from adamw_scale.theory import conventions
from adamw_scale.theory.schedules import OPTIONS, ended
from adamw_scale.units import parse_quantity

LENGTH = ("unit", "dataset_size", "batch_size", "epochs", "sequence_length")  # what a run's steps follow from
OF_THE_CONFIG = ("weight_decay", "convention")  # said of the config that is judged, not of its run
ANSWERS = {
    "--lr": ("peak_lr",),
    "--devices": ("batch_size", "sequences"),
    "--batch-size": ("sequences",),
    "--tokens": ("dataset_size", "steps", "schedule_table"),
    "--samples": ("dataset_size", "steps", "schedule_table"),
    "--schedule": ("schedule_table",),
    "--warmup": (*WARMUPS, "schedule_table"),
    "--sequence-length": ("batch_size",),
}


def described(
    config: Config, said: Mapping[str, Any], devices: float | None = None
) -> tuple[TrainingRun | None, dict[str, str]]:
    """The run, or None and what to add: option -> why.

    Args:
        config: What was read.
        said: Fields of `TrainingRun`, and `steps`, that its user says; they go before what the config says.
        devices: Number of devices, where the config does not say.
    """
    unit = _unit(config, said)
    if unit is None:
        _, asks = run_fields(config, "samples", devices)
        asks.pop("--samples", None)
        return None, {
            "--tokens or --samples": "what the data set is, and its size, cannot be told from the config",
            **asks,
        }
    base, asks = run_fields(config, unit, devices)
    asks = _unanswered(asks, said)
    try:
        own = {name: value for name, value in said.items() if name not in OF_THE_CONFIG}
        fields = _in_whole_rows(sized_by_steps(said_over({**base, "unit": unit}, own)), config)
    except MissingInputError:  # of the batch, which is asked for
        return None, asks
    run = described_run(fields, None if {"schedule", "schedule_table"} & own.keys() else config)
    if (
        run is None
        or run.peak_lr is None
        or {"--warmup", "--final-lr-fraction"} & asks.keys()
        or (config.schedule is None and "schedule" not in fields)
    ):
        return None, asks
    return run, {}


def _in_whole_rows(fields: dict[str, Any], config: Config) -> dict[str, Any]:
    """Sizes in completions, or whatever each row is repeated as, where a batch is less than one row."""
    if not config.repeats or not {"dataset_size", "batch_size"} <= fields.keys():
        return fields
    sizes = {name: parse_quantity(str(fields[name])) for name in ("dataset_size", "batch_size")}
    if sizes["batch_size"] >= 1:
        return fields
    return {**fields, **{name: size * config.repeats for name, size in sizes.items()}}


def _unanswered(asks: dict[str, str], said: Mapping[str, Any]) -> dict[str, str]:
    """What was asked and not said, under its own name or another."""
    return {
        flag: why
        for flag, why in asks.items()
        if not {flag.removeprefix("--").replace("-", "_"), *ANSWERS.get(flag, ())} & said.keys()
    }


def _unit(config: Config, said: Mapping[str, Any]) -> str | None:
    """Tokens or samples: as the user says, else as the config shows; rows that are not packed are samples."""
    if "unit" in said:
        return str(said["unit"])
    in_sequences = {"sequence_length", "sequences"} & said.keys()
    if config.packed is False and not in_sequences:
        return "samples"
    if "packed" in config.unknown and not in_sequences:
        return None
    return config.unit or ("tokens" if config.sequence_length or in_sequences else None)


def run_fields(config: Config, unit: str, devices: float | None = None) -> tuple[dict[str, Any], dict[str, str]]:
    """Fields of a `TrainingRun` that a config gives, and what it leaves to be asked: option -> why.

    Args:
        config: What was read.
        unit: "tokens" or "samples", which sizes are in.
        devices: Number of devices, where the config does not say.
    """
    known = config if devices is None else config.model_copy(update={"devices": devices})
    fields: dict[str, Any] = {"peak_lr": config.peak_lr, "betas": config.betas, "eps": config.eps or None}
    if conventions.CONVENTIONS[config.convention].kind != conventions.L2:
        fields["convention"] = config.convention
    if config.weight_decay_schedule != "constant":
        fields["weight_decay_schedule"] = config.weight_decay_schedule
        fields["final_weight_decay_fraction"] = config.final_weight_decay_fraction
    fields |= {"schedule": config.schedule, "sequence_length": config.sequence_length if unit == "tokens" else None}
    fields |= {option: getattr(config, option) for option in OPTIONS}
    if config.final_lr_fraction is not None:
        fields["final_lr_fraction"] = min(1.0, config.final_lr_fraction)
    fields["warmup_steps"] = config.warmup_steps or None
    if config.decay_steps and config.total_steps:
        fields["decay_fraction"] = min(1.0, config.decay_steps / (config.schedule_end or config.total_steps))
    fields |= {"steps": config.total_steps, "epochs": config.epochs}
    if known.batch_tokens is not None and unit == "tokens":
        fields["batch_size"] = known.batch_tokens
    elif known.global_batch is not None and unit == "samples":
        fields["batch_size"] = known.global_batch
    elif known.global_batch is not None and config.sequence_length and config.packed is not False:
        fields["batch_size"] = known.global_batch * config.sequence_length
    fields["task"] = config.task
    return {name: value for name, value in fields.items() if value is not None}, _asks(known, unit)


def described_run(fields: dict[str, Any], config: Config | None = None) -> TrainingRun | None:
    """The run of fields; None without its sizes. A warm-up that does not fit is left out, for a check to say.

    Args:
        fields: Of a `TrainingRun`.
        config: Whose schedule it has, which may end elsewhere than the run.

    Raises:
        SpecError: two fields contradict each other, or one cannot be.
    """
    if not {"dataset_size", "batch_size"} <= fields.keys():
        return None
    total = TrainingRun.model_validate({name: fields[name] for name in LENGTH if name in fields}).total_steps
    end = config.schedule_end if config is not None and config.schedule else None
    if end is not None and (table := _ended(fields, end, total, config.after_end if config else None)):
        fields = table
    if not 0 < parse_quantity(str(fields.get("warmup_steps") or 0)) < total:
        fields = {name: value for name, value in fields.items() if name != "warmup_steps"}
    return TrainingRun.model_validate(fields)


def _ended(fields: dict[str, Any], end: float, total: float, rest: float | None) -> dict[str, Any] | None:
    """The fields with the table of a schedule that ends at another step than the run; None where no peak is reached."""
    length = end / total
    own = {**fields, "epochs": parse_quantity(str(fields.get("epochs", 1))) * length}  # as long as the schedule
    if "warmup_fraction" in fields:
        own["warmup_fraction"] = parse_quantity(str(fields["warmup_fraction"])) / length
    stretched = described_run(own)
    schedule = ended(stretched.lr_schedule, length, rest) if stretched else None
    if schedule is None or schedule.schedule_table is None:
        return None
    kept = {name: value for name, value in fields.items() if name not in {*OPTIONS, *WARMUPS}}
    return {**kept, "schedule": "table", "schedule_table": schedule.schedule_table}


def _asks(config: Config, unit: str) -> dict[str, str]:
    """Options that would complete the run."""
    asks = {}
    if not config.weight_decay_known:
        asks["--weight-decay"] = "the config leaves it to code, or to something else"
    if config.peak_lr is None:
        asks["--lr"] = "the config leaves the learning rate to something else"
    if config.schedule is None:
        asks["--schedule"] = "the schedule is code, or of a name that is not known here"
    if set(WARMUPS) & set(config.unknown) and config.warmup_steps is None and config.warmup_fraction is None:
        asks["--warmup"] = "its warm-up is a default that is not known here"
    if "final_lr_fraction" in config.unknown and config.schedule not in (None, "constant"):
        asks["--final-lr-fraction"] = "where the learning rate ends is not known"
    if config.global_batch is None and config.batch_tokens is None:
        each = config.per_device_batch_size
        once = f", {config.repeats:g} of them for each row" if config.repeats else ""
        asks["--devices" if each else "--batch-size"] = (
            f"the batch is {each:g} a device, {config.accumulation or 1:g} times{once}"
            if each
            else "the batch is not in it"
        )
    if unit == "tokens" and config.packed is False:
        asks["--sequence-length"] = (
            "the batch is in rows that are not packed: pass the tokens that one has on average, or --samples, the rows "
            "of the data set, instead of --tokens"
        )
    elif unit == "tokens" and config.sequence_length is None and config.batch_tokens is None:
        asks["--sequence-length"] = "the batch is in sequences"
    if config.total_steps is None:
        asks[f"--{unit}"] = (
            "how long the run is depends on the rows of the data set: batches count those, not tokens"
            if unit == "samples" and config.packed is False
            else "how long the run is depends on the size of the data set"
        )
    return asks
