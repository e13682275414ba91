"""Where the values of a config come from: read, computed from what was read, by default, or not known."""

import re
from collections.abc import Collection
from typing import Literal

from pydantic import Field

from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.config import Config
from adamw_scale.noun import Noun
from adamw_scale.spec.run import WARMUPS
from adamw_scale.units import float_of

Origin = Literal["read", "computed", "default", "overridable", "said", "unknown"]
OF_THE_OPTIMIZER = frozenset({"peak_lr", "weight_decay", "betas", "eps"})
NAMES = {
    "optimizer": "optimizer",
    "peak_lr": "learning rate",
    "weight_decay": "weight decay",
    "betas": "betas",
    "eps": "eps",
    "schedule": "schedule",
    "warmup_steps": "steps of warm-up",
    "warmup_fraction": "warm-up, part of the run",
    "final_lr_fraction": "final lr over peak",
    "decay_steps": "steps of decay",
    "decay_fraction": "decay, part of the run",
    "schedule_power": "power",
    "total_steps": "steps",
    "epochs": "epochs",
    "total_tokens": "tokens",
    "batch_size": "batch",
    "batch_tokens": "batch in tokens",
    "per_device_batch_size": "batch a device",
    "accumulation": "accumulation",
    "repeats": "times that the batches of an epoch hold a row",
    "sequence_length": "sequence length",
}


# Fields that are worked out with the help of others, whose defaults are then in them.
HANGS_ON = {
    "final_lr_fraction": ("peak_lr",),
    "warmup_steps": ("total_steps", "epochs"),
    "warmup_fraction": ("total_steps", "epochs"),
    "decay_steps": ("total_steps", "warmup_steps", "warmup_fraction"),
    "decay_fraction": ("total_steps", "epochs", "warmup_steps", "warmup_fraction"),
    "total_steps": ("batch_size", "epochs", "total_tokens", "warmup_fraction"),
    "epochs": ("warmup_fraction",),
    "per_device_batch_size": ("sequence_length",),
}


class Value(Noun):
    """A value of a config and where it comes from; no value where it is not known."""

    field: str
    value: float | str | tuple[float, ...] | None = None
    origin: Origin = Field(
        description="read, computed from what was read, default of `of`, overridable (a default of the script that a "
        "command line or the environment may change), said by the user, or unknown"
    )
    of: str | None = Field(None, description="whose default it is, or hangs on")
    part: str | None = Field(None, description="what of it is the default, where the rest was read")

    @property
    def name(self) -> str:
        """What it is called for people."""
        return NAMES[self.field]


def values_of(framework: str, config: Config, said: Collection[str] = (), text: str = "") -> tuple[Value, ...]:
    """Every value of a config that is there or should be, with its origin.

    Args:
        framework: Whose config it is.
        config: What was read, without what is not known.
        said: Fields that the user says instead.
        text: Which was read, to tell what is written in it from what is computed.
    """
    written = {float_of(each) for each in re.findall(r"\d[\d_]*\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?", text)}
    found = []
    for field in NAMES:
        value = getattr(config, field)
        if field in WARMUPS and field not in said and set(WARMUPS) & set(said):
            continue
        known = config.weight_decay_known if field == "weight_decay" else value is not None
        if (not known or (field == "optimizer" and field in config.unknown)) and field not in said:
            if field in config.unknown or field in ("peak_lr", "weight_decay"):
                found.append(Value(field=field, origin="unknown"))
            continue
        origin: Origin = "read"
        if field in said:
            origin = "said"
        elif field in config.defaults:
            origin = "default"
        elif field in config.overridable:
            origin = "overridable"
        elif isinstance(value, float) and text and value not in written:
            origin = "computed"
        hangs = next((each for each in HANGS_ON.get(field, ()) if each in config.defaults), None)
        whose = field if origin == "default" else hangs if origin == "computed" else None
        of = default_of(framework, config, whose) if whose else None
        part = next((beta for beta in ("beta1", "beta2") if field == "betas" and beta in config.defaults), None)
        found.append(Value(field=field, value=value, origin=origin, of=of, part=part))
    return tuple(found)


def default_of(framework: str, config: Config, field: str) -> str:
    """Whose default a field has: of the library that the optimizer is from, or of the framework.

    Example:
        >>> from adamw_scale.frameworks.config import same_decay
        >>> built = Config(convention="pytorch", optimizer="transformers.AdamW", groups=same_decay(0.0))
        >>> default_of("pytorch", built, "weight_decay"), default_of("pytorch", built, "epochs")
        ('transformers', 'PyTorch')
    """
    if field in OF_THE_OPTIMIZER and "." in config.optimizer:
        return config.optimizer.partition(".")[0]
    return FRAMEWORKS[framework].title.partition(" (")[0]
