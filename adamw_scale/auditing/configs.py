"""audit(): from the text of a config, and what its user adds, to findings."""

from typing import Any

from adamw_scale.auditing.judging import Audit, judged
from adamw_scale.auditing.runs import described
from adamw_scale.formats import FORMATS, parse
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.config import Config, Finding
from adamw_scale.frameworks.reading import DECAY_KEYS, LR_KEYS, SCHEDULE_KEYS, UNREAD
from adamw_scale.frameworks.recognition import recognized
from adamw_scale.spec.run import described_by
from adamw_scale.theory.conventions import kind_of
from adamw_scale.theory.parametrizations import NORM_AND_BIAS
from adamw_scale.units import parse_quantity


def audit(
    text: str,
    framework: str | None = None,
    *,
    suffix: str = "",
    devices: str | float | None = None,
    **said: Any,
) -> Audit:
    """What timescale a config really gives each parameter group, and what in it is probably not meant.

    Args:
        text: The whole config, launch script or training script; it is read as data and never run.
        framework: Whose it is, a name from `FRAMEWORKS`; None to tell by its keys.
        suffix: Of its file, such as ".yaml", which settles the format.
        devices: Number of devices, where the batch is per device.
        said: What the config does not say of its run, or says otherwise, in the words of flags and run files: tokens,
            params, lr, weight_decay, ...

    Raises:
        SpecError: the text is no config, it cannot be told whose, or a value cannot be.
        UnknownNameError: no such framework, or no such word.

    Example:
        >>> import adamw_scale
        >>> launch = "torchrun pretrain_gpt.py --lr 3e-4 --weight-decay 0.1 --train-iters 50000 --lr-decay-style cosine"
        >>> found = adamw_scale.audit(launch, "megatron", suffix=".sh")
        >>> round(found.groups[0].timescale.iters)
        33333
    """
    fields = described_by(said)
    among = FORMATS if framework is None else FRAMEWORKS[framework].formats
    document = parse(text, suffix, among)
    name = framework or recognized(document)
    config = _overridden(_without_the_unread(FRAMEWORKS[name]().read(document)), fields)
    run, asks = described(config, fields, None if devices is None else parse_quantity(str(devices)))
    return judged(name, config, run, asks)


def _overridden(config: Config, fields: dict[str, Any]) -> Config:
    """The config with what its user says of its weight decay, its convention and its sequences."""
    changes: dict[str, object] = {}
    if "sequence_length" in fields:
        changes["sequence_length"] = parse_quantity(str(fields["sequence_length"]))
    if "convention" in fields:
        kind_of(fields["convention"])  # refuses what is unknown, and L2
        changes["convention"] = fields["convention"]
    if "weight_decay" in fields:
        value = parse_quantity(str(fields["weight_decay"]))
        was = config.weight_decay
        changes["weight_decay_known"] = True
        changes["findings"] = tuple(finding for finding in config.findings if not _is_unread(finding, DECAY_KEYS))
        changes["defaults"] = tuple(field for field in config.defaults if field != "weight_decay")
        changes["groups"] = tuple(
            group.model_copy(update={"weight_decay": value * group.weight_decay / was if was else value})
            for group in config.groups
        )
    return config.model_copy(update=changes) if changes else config


def _without_the_unread(config: Config) -> Config:
    """The config without what a reader filled in where the text has a variable or code."""
    changes: dict[str, Any] = {}
    unread = [
        keys for keys in (DECAY_KEYS, LR_KEYS, SCHEDULE_KEYS) if any(_is_unread(each, keys) for each in config.findings)
    ]
    if DECAY_KEYS in unread:
        spread = config.weight_decay or max(group.weight_decay for group in config.groups) or 1.0
        changes["weight_decay_known"] = False
        changes["groups"] = tuple(
            group
            if group.weight_decay or group.group == NORM_AND_BIAS
            else group.model_copy(update={"weight_decay": spread})
            for group in config.groups
        )
    if LR_KEYS in unread:
        changes["peak_lr"] = None
    if SCHEDULE_KEYS in unread:
        changes["schedule"] = None
    return config.model_copy(update=changes) if changes else config


def _is_unread(finding: Finding, keys: frozenset[str]) -> bool:
    """Whether a finding says that the value of one of these keys is not known."""
    return finding.code == UNREAD and str(finding.key).rpartition(".")[2] in keys
