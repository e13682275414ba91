"""The run that a config and its user describe together, or what is missing of it."""

from collections.abc import Mapping
from typing import Any

from adamw_scale.errors import MissingInputError
from adamw_scale.frameworks.config import Config
from adamw_scale.spec.run import TrainingRun, said_over, sized_by_steps
from adamw_scale.theory import conventions
from adamw_scale.theory.schedules import OPTIONS
from adamw_scale.units import parse_quantity

OF_THE_CONFIG = ("weight_decay", "convention")  # said of the config that is judged, not of its run
ANSWERS = {
    "--lr": ("peak_lr",),
    "--devices": ("batch_size", "sequences"),
    "--batch-size": ("sequences",),
    "--tokens": ("dataset_size", "steps", "schedule_table"),
    "--samples": ("dataset_size", "steps", "schedule_table"),
    "--schedule": ("schedule_table",),
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
        fields = sized_by_steps(said_over({**base, "unit": unit}, own))
    except MissingInputError:  # of the batch, which is asked for
        return None, asks
    run = described_run(fields)
    if run is None or run.peak_lr is None or (config.schedule is None and "schedule" not in fields):
        return None, asks
    return run, {}


def _unanswered(asks: dict[str, str], said: Mapping[str, Any]) -> dict[str, str]:
    """What was asked and not said, under its own name or another."""
    return {
        flag: why
        for flag, why in asks.items()
        if not {flag.removeprefix("--").replace("-", "_"), *ANSWERS.get(flag, ())} & said.keys()
    }


def _unit(config: Config, said: Mapping[str, Any]) -> str | None:
    """Tokens or samples: as the user says, else as the config shows."""
    if "unit" in said:
        return str(said["unit"])
    return config.unit or (
        "tokens" if config.sequence_length or {"sequence_length", "sequences"} & said.keys() else None
    )


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
        fields["decay_fraction"] = min(1.0, config.decay_steps / config.total_steps)
    fields |= {"steps": config.total_steps, "epochs": config.epochs}
    if known.batch_tokens is not None and unit == "tokens":
        fields["batch_size"] = known.batch_tokens
    elif known.global_batch is not None and unit == "samples":
        fields["batch_size"] = known.global_batch
    elif known.global_batch is not None and config.sequence_length:
        fields["batch_size"] = known.global_batch * config.sequence_length
    fields["task"] = config.task
    return {name: value for name, value in fields.items() if value is not None}, _asks(known, unit)


def described_run(fields: dict[str, Any]) -> TrainingRun | None:
    """The run of fields; None without its sizes. A warm-up that does not fit is left out, for a check to say.

    Raises:
        SpecError: two fields contradict each other, or one cannot be.
    """
    if not {"dataset_size", "batch_size"} <= fields.keys():
        return None
    run = TrainingRun.model_validate({name: value for name, value in fields.items() if name != "warmup_steps"})
    if not 0 < parse_quantity(str(fields.get("warmup_steps") or 0)) < run.total_steps:
        return run
    return TrainingRun.model_validate(fields)


def _asks(config: Config, unit: str) -> dict[str, str]:
    """Options that would complete the run."""
    asks = {}
    if not config.weight_decay_known:
        asks["--weight-decay"] = "the config leaves it to code, or to something else"
    if config.peak_lr is None:
        asks["--lr"] = "the config leaves the learning rate to something else"
    if config.schedule is None:
        asks["--schedule"] = "the schedule is code, or of a name that is not known here"
    if config.global_batch is None and config.batch_tokens is None:
        each = config.per_device_batch_size
        asks["--devices" if each else "--batch-size"] = (
            f"the batch is {each:g} a device, {config.accumulation or 1:g} times" if each else "the batch is not in it"
        )
    if unit == "tokens" and config.sequence_length is None and config.batch_tokens is None:
        asks["--sequence-length"] = "the batch is in sequences"
    if config.total_steps is None:
        asks[f"--{unit}"] = "how long the run is depends on the size of the data set"
    return asks
