"""From a config that was read, and what its user adds, to findings."""

from typing import Any, Literal

from pydantic import Field

from adamw_scale import conventions
from adamw_scale.advisor import recommend
from adamw_scale.audit.checks import CHECKS, SEVERITIES
from adamw_scale.audit.facts import Facts, GroupTimescale, PartialTimescale, group_timescale
from adamw_scale.errors import MissingInputError, SpecError
from adamw_scale.frameworks.config import Config, Finding
from adamw_scale.frameworks.reading import DECAY_KEYS, LR_KEYS, SCHEDULE_KEYS, UNREAD
from adamw_scale.noun import Noun
from adamw_scale.parametrizations import NORM_AND_BIAS
from adamw_scale.schedules import OPTIONS
from adamw_scale.spec import Recommendation, TrainingRun
from adamw_scale.units import parse_quantity


class Audit(Noun):
    """What a config does, and the findings; `asks` are the options that would tell more."""

    schema_: Literal["adamw-scale/audit/1"] = Field("adamw-scale/audit/1", alias="schema")
    framework: str
    convention: str
    run: TrainingRun | None = None
    timescale: PartialTimescale | None = Field(None, description="of the hidden matrices")
    groups: tuple[GroupTimescale, ...]
    recommendation: Recommendation | None = None
    findings: tuple[Finding, ...]
    asks: dict[str, str] = Field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether an error was found."""
        return any(finding.severity == "error" for finding in self.findings)

    def to_json(self) -> str:
        """The document of `audit --json`."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


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


def audit(framework: str, config: Config, run: TrainingRun | None = None, asks: dict[str, str] | None = None) -> Audit:
    """Findings about a config.

    Args:
        framework: Its name.
        config: What was read.
        run: The run that the config and its user describe, where they describe one.
        asks: What is missing of it, for the answer.
    """
    config = without_the_unread(config)
    advice, more = _advice(run)
    groups = tuple(group_timescale(config, run, group) for group in config.groups)
    facts = Facts(framework=framework, config=config, run=run, advice=advice, groups=groups)
    found = [*config.findings, *(finding for check in CHECKS for finding in check(facts))]
    return Audit(
        framework=framework,
        convention=config.convention,
        run=run,
        timescale=groups[0].timescale,
        groups=groups,
        recommendation=advice,
        findings=tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))),
        asks={**(asks or {}), **more},
    )


def _advice(run: TrainingRun | None) -> tuple[Recommendation | None, dict[str, str]]:
    """What would be recommended, and what to add; nothing where a run leaves everything ever published."""
    if run is None or run.peak_lr is None:
        return None, {}
    try:
        advice = recommend(run)
    except MissingInputError:
        return None, {"--params": "what is recommended for a language model depends on its parameters"}
    except SpecError:
        return None, {}
    return (None if advice.doubt else advice), {}


def without_the_unread(config: Config) -> Config:
    """The config without what a reader filled in where the text has a variable or code."""
    unread = {str(finding.key).rpartition(".")[2] for finding in config.findings if finding.code == UNREAD}
    changes: dict[str, Any] = {}
    if unread & DECAY_KEYS:
        spread = config.weight_decay or max(group.weight_decay for group in config.groups) or 1.0
        changes["weight_decay_known"] = False
        changes["groups"] = tuple(
            group
            if group.weight_decay or group.group == NORM_AND_BIAS
            else group.model_copy(update={"weight_decay": spread})
            for group in config.groups
        )
    if unread & LR_KEYS:
        changes["peak_lr"] = None
    if unread & SCHEDULE_KEYS:
        changes["schedule"] = None
    return config.model_copy(update=changes) if changes else config
