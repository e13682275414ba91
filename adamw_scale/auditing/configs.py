"""audit(): from the text of a config, and what its user adds, to findings."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator

from adamw_scale.auditing.judging import Audit, judged
from adamw_scale.auditing.provenance import values_of
from adamw_scale.auditing.runs import described
from adamw_scale.errors import SpecError
from adamw_scale.formats import FORMATS, parse
from adamw_scale.formats.document import Document, entries
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.config import Config, Finding, finding
from adamw_scale.frameworks.reading import DECAY_KEYS, LR_KEYS, SCHEDULE_KEYS, UNREAD
from adamw_scale.frameworks.recognition import recognized
from adamw_scale.noun import Count, Noun, Number, Size
from adamw_scale.spec.run import SMALLEST, Rate, described_by
from adamw_scale.theory.conventions import kind_of
from adamw_scale.theory.parametrizations import NORM_AND_BIAS

KEYS = {"weight_decay": DECAY_KEYS, "peak_lr": LR_KEYS, "schedule": SCHEDULE_KEYS}  # by the field that they fill


# What a schedule is besides its name; without one of them it is not known as a whole.
SHAPE = frozenset({"decay_steps", "decay_fraction", "schedule_end"})  # warm-up and end are asked for alone


class Said(Noun):
    """What the user of a config says that takes the place of what is written in it."""

    described_by_flags: ClassVar[bool] = True
    weight_decay: Annotated[Number, Field(ge=0, le=1e12)] | None = None
    peak_lr: Rate | None = Field(None, json_schema_extra={"flag": "--lr"})
    schedule: str | None = None
    convention: str | None = None
    sequence_length: Size | None = None
    devices: Count | None = None

    @field_validator("weight_decay")
    @classmethod
    def _is_a_decay(cls, value: float | None) -> float | None:
        if value and value < SMALLEST:
            raise SpecError(f"weight_decay = {value:g} is zero for every purpose: pass --weight-decay 0")
        return value


def audit(
    text: str,
    framework: str | None = None,
    *,
    suffix: str = "",
    command: int | None = None,
    devices: str | float | None = None,
    **said: Any,
) -> Audit:
    """What timescale a config really gives each parameter group, and what in it is probably not meant.

    Args:
        text: The whole config, launch script, training script or notebook; it is read as data and never run.
        framework: Whose it is, a name from `FRAMEWORKS`; None to tell by its keys.
        suffix: Of its file, such as ".yaml", which settles the format.
        command: Which launch of a shell script it is, from 1, where that has several.
        devices: Number of devices, where the batch is per device.
        said: What the config does not say of its run, or says otherwise, in the words of flags and run files: tokens,
            params, lr, weight_decay, ...

    Raises:
        SpecError: the text is no config, it cannot be told whose or which of several, or a value cannot be.
        UnknownNameError: no such framework, or no such word.

    Example:
        >>> import adamw_scale
        >>> launch = "torchrun pretrain_gpt.py --lr 3e-4 --weight-decay 0.1 --train-iters 50000 --lr-decay-style cosine"
        >>> found = adamw_scale.audit(launch, "megatron", suffix=".sh")
        >>> round(found.groups[0].timescale.iters)
        33333
    """
    fields = described_by(said)
    own = Said(devices=devices, **{name: each for name, each in fields.items() if name in Said.model_fields})
    among = FORMATS if framework is None else FRAMEWORKS[framework].formats
    document = parse(text, suffix, among, command)
    name = framework or recognized(document)
    read = FRAMEWORKS[name]().read(document)
    _refuse_a_stranger(name, document, read)
    config = _overridden(without_the_unknown(_without_said_elsewhere(read, document)), own)
    if document.lost:
        config = config.model_copy(update={"findings": (*config.findings, _not_followed(document.lost))})
    run, asks = described(config, fields, own.devices)
    values = values_of(name, config, _fields_said(fields), document.text)
    return judged(name, config, run, asks, values)


def _without_said_elsewhere(config: Config, document: Document) -> Config:
    """The config without a default of a value that data says somewhere the reader does not look: that may be meant."""
    if document.format in ("Python", "shell arguments"):
        return config
    defaults = {"weight_decay", "peak_lr"} & set(config.defaults)
    elsewhere = tuple(field for field in sorted(defaults) if any(_numbers(document.content, KEYS[field])))
    return config.model_copy(update={"unknown": (*config.unknown, *elsewhere)})


def _numbers(content: dict[str, Any], names: frozenset[str]) -> Iterator[float]:
    """Numbers above 0 under keys of these names, at any depth."""
    for _, key, value in entries(content):
        if key.replace("-", "_") in names and not isinstance(value, dict | list):
            with suppress(ValueError, TypeError, OverflowError):
                yield from (number for number in [float(value)] if number > 0)


def _fields_said(fields: dict[str, Any]) -> frozenset[str]:
    """Fields of a `Config` whose value its user says."""
    return frozenset(fields) | ({"total_steps"} if "steps" in fields else frozenset())


def _not_followed(lost: tuple[str, ...]) -> Finding:
    """What of the text is not known, so that nothing is said to be by default."""
    shown = ", ".join(dict.fromkeys(each[:60] for each in lost[:5]))
    message = f"not followed: {shown}; what it may set is not filled in by default"
    return finding("note", "not-followed", None, message, fix="write the values out, or pass them as options")


def _refuse_a_stranger(framework: str, document: Document, config: Config) -> None:
    """SpecError for a document that says to a framework no more than an empty one, and has no sign of it."""
    part = FRAMEWORKS[framework]
    if part.signs & document.keys():
        return
    try:
        blank = part().read(Document(document.format, {}))
    except SpecError:  # it cannot be empty, and so this one is not
        return
    if config == blank:
        raise SpecError(f"none of the keys that {part.title} reads is in it: name another --framework, or none")


def _overridden(config: Config, said: Said) -> Config:
    """The config with what its user says, and without the notes that this answers."""
    changes: dict[str, Any] = said.model_dump(include={"peak_lr", "convention", "sequence_length"}, exclude_none=True)
    if said.convention is not None:
        kind_of(said.convention)  # refuses what is unknown, and L2
    if said.sequence_length is not None:  # of a row, whether it is packed or not
        changes["packed"] = None
    answered = [keys for field, keys in KEYS.items() if getattr(said, field) is not None]
    changes["findings"] = tuple(
        each for each in config.findings if not any(_is_unread(each, keys) for keys in answered)
    )
    given = {field for field in KEYS if getattr(said, field) is not None}
    for name in ("defaults", "unknown", "overridable"):
        changes[name] = tuple(field for field in getattr(config, name) if field not in given)
    if said.weight_decay is not None:
        value, was = said.weight_decay, config.weight_decay
        changes["weight_decay_known"] = True
        changes["groups"] = tuple(
            group.model_copy(update={"weight_decay": value * group.weight_decay / was if was else value})
            for group in config.groups
        )
    return config.model_copy(update=changes)


def without_the_unknown(config: Config) -> Config:
    """The config without what a reader filled in where the text has a variable or code, and what hangs on that."""
    unread = {field for field, keys in KEYS.items() if any(_is_unread(each, keys) for each in config.findings)}
    unknown = unread | set(config.unknown) | (set() if config.weight_decay_known else {"weight_decay"})
    gone = unknown - {"weight_decay", "optimizer"}
    if "peak_lr" in unknown and config.final_lr_fraction:
        gone.add("final_lr_fraction")
    if {"accumulation", "repeats"} & unknown:
        gone.add("per_device_batch_size")
    if gone & SHAPE:
        gone.add("schedule")
    changes: dict[str, Any] = dict.fromkeys(gone)
    changes["unknown"] = tuple(sorted(unknown | (gone & {"schedule", "final_lr_fraction"})))
    changes["defaults"] = tuple(field for field in config.defaults if field not in unknown)
    if "weight_decay" in unknown:
        spread = config.weight_decay or max(group.weight_decay for group in config.groups) or 1.0
        changes["weight_decay_known"] = False
        changes["groups"] = tuple(
            group
            if group.weight_decay or group.group == NORM_AND_BIAS
            else group.model_copy(update={"weight_decay": spread})
            for group in config.groups
        )
    return config.model_copy(update=changes)


def _is_unread(finding: Finding, keys: frozenset[str]) -> bool:
    """Whether a finding says that the value of one of these keys is not known."""
    return finding.code == UNREAD and str(finding.key).rpartition(".")[2] in keys
