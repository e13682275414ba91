"""MaxText: optax's adamw, lr_t * λ, with `adamw_mask` as its mask (maxtext/optimizers/optimizers.py).

The mask is a list of regular expressions for what does *not* decay; it is empty by default. Durations are fractions
of the schedule, whose steps are rounded down, so half a step is added to each that is written. A linear fall is WSD
without a stable phase, a constant lr a cosine whose end is its peak. The lr is at its peak one step before the
end of the warm-up and at its lowest in the last step (create_learning_rate_schedule in maxtext/utils/maxtext_utils.py).
"""

import re
from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, same_decay
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.reading import Keys, chosen, keys_of
from adamw_scale.frameworks.spelling import betas_of, eps_of, lr_of, spared, value, whole, yaml_number
from adamw_scale.theory.parametrizations import EMBEDDING, HIDDEN, NORM_AND_BIAS, OUTPUT

_STYLES = {"linear": "linear", "wsd": "linear", "wsd-cosine": "cosine"}
_OPTIMIZERS = {"adamw": "maxtext", "adam_pax": "maxtext"}
STEPS = 150_001.0  # of base.yml
FINAL = 0.1  # of the peak, if not said
MASKS = {NORM_AND_BIAS: ("norm", "scale$", "bias$"), EMBEDDING: ("token_embedder",), OUTPUT: ("logits_dense",)}
# What MaxText calls its weights, so that a mask can be judged.
PATHS = {
    HIDDEN: "params/decoder/layers/self_attention/query/kernel params/decoder/layers/mlp/wo/kernel",
    EMBEDDING: "params/token_embedder/embedding",
    OUTPUT: "params/decoder/logits_dense/kernel",
    NORM_AND_BIAS: "params/decoder/decoder_norm/scale params/decoder/layers/pre_self_attention_layer_norm/scale",
}
_GLOBAL_BATCH = "Global batch, over all devices and accumulation: {} sequences"


class MaxText(Framework):
    """The keys that a YAML on top of base.yml, or a command line, overrides."""

    name = "maxtext"
    title = "MaxText"
    language = "yaml"
    convention = "maxtext"
    undecayed_by_default = "nothing: adamw_mask is empty"
    grouping = "decay"
    how_to_group = "build the optimizer in maxtext/optimizers/optimizers.py, with optax.multi_transform"
    schedules = ("constant", "linear", "cosine", "wsd", "wsd-cosine")
    reads = "a YAML such as base.yml, or the command line of train with key=value"
    signs = frozenset(
        {
            *("adam_weight_decay", "adam_b1", "adam_b2", "warmup_steps_fraction", "learning_rate_final_fraction"),
            *("cosine_learning_rate_final_fraction", "wsd_decay_steps_fraction", "max_target_length", "adamw_mask"),
            *("learning_rate_schedule_steps", "opt_type"),
        }
    )
    scripts = r"(?i)\bmaxtext\b"
    formats = frozenset({"YAML", "shell arguments"})
    proven = "source only: not on PyPI"

    def write(self, config: Config) -> str:
        """YAML to put over base.yml."""
        total, warmup, name = whole(config.total_steps), whole(config.warmup_steps), config.schedule or "constant"
        beta1, beta2 = betas_of(config)
        falling = whole(config.decay_steps) if config.decay_steps is not None else total - warmup
        masks = [f'"{mask}"' for group, each in MASKS.items() if group in spared(config) for mask in each]
        stable = {
            "lr_schedule_type": "wsd",
            "wsd_decay_style": _STYLES.get(name, "linear"),
            "wsd_decay_steps_fraction": _fraction(falling, total),
        }
        rows = {
            "opt_type": "adamw",
            "learning_rate": yaml_number(lr_of(config)),
            "adam_weight_decay": yaml_number(value(config.weight_decay)),
            "adamw_mask": f"[{', '.join(masks)}]",
            "adam_b1": yaml_number(beta1),
            "adam_b2": yaml_number(beta2),
            "adam_eps": yaml_number(eps_of(config)),
            "steps": str(total),
            **(stable if name in _STYLES else {"lr_schedule_type": "cosine"}),
            "warmup_steps_fraction": _fraction(warmup, total),
            "learning_rate_final_fraction": yaml_number(value(config.lr_schedule.final)),
            **({"max_target_length": str(whole(config.sequence_length))} if config.sequence_length else {}),
        }
        batch = "" if config.batch_size is None else f"# {_GLOBAL_BATCH.format(whole(config.batch_size))}\n"
        return "".join(f"{key}: {text}\n" for key, text in rows.items()) + batch

    def read(self, document: Document) -> Config:
        """The keys, with those of base.yml where they say nothing."""
        keys = keys_of(document)
        optimizer = keys.text_or("optimizer", "adamw", "opt_type")
        weight_decay = keys.number_or("weight_decay", 0.1, "adam_weight_decay")
        steps = keys.signed("steps")
        steps = keys.number_or("total_steps", STEPS, "steps") if steps is None else steps
        scheduled = keys.signed("learning_rate_schedule_steps")
        if steps == -1:
            steps = scheduled
        length = scheduled if scheduled is not None and scheduled > 0 else steps
        other = length if steps and length and steps != length else None
        if other is not None:
            _note_other_length(keys, steps or 0.0, other)
        batch = re.search(_GLOBAL_BATCH.format(r"(\d{1,12})"), document.text)
        return Config(
            convention=chosen("opt_type", optimizer, _OPTIMIZERS, None) or self.convention,
            optimizer=optimizer,
            peak_lr=keys.number_or("peak_lr", 3e-5, "learning_rate"),
            groups=same_decay(weight_decay, _undecayed(keys)),
            betas=keys.betas((0.9, 0.95), "adam_b1", "adam_b2"),
            eps=keys.number_or("eps", 1e-8, "adam_eps"),
            **_read_schedule(keys, length or 0.0),
            total_steps=steps,
            schedule_end=other,
            after_end=None if other is None else 0.0,
            unit="tokens",
            batch_size=float(batch[1]) if batch else None,
            per_device_batch_size=keys.number("per_device_batch_size"),
            accumulation=keys.number("gradient_accumulation_steps"),
            sequence_length=keys.number("max_target_length"),
            **keys.noted(),
        )


def _fraction(steps: int, total: int) -> str:
    """A fraction of the run that int(total * fraction) turns back into these steps."""
    return "0" if not steps else yaml_number(f"{min(1.0, (steps + 0.5) / total):.12g}")


def _undecayed(keys: Keys) -> frozenset[str]:
    """Groups whose weights a mask names, judged without running it as a regular expression, which may be anybody's."""
    given = keys.raw("adamw_mask")
    if given is None:
        return frozenset()
    masks = given if isinstance(given, list) else str(given).strip("[] ").split(",")
    patterns = [part for mask in masks for part in str(mask).strip(" '\"").split("|")]
    return frozenset(
        group
        for group, paths in PATHS.items()
        if any(_names(mask, path) for mask in patterns for path in paths.split())
    )


def _names(mask: str, path: str) -> bool:
    """Whether a mask of plain words between .* is found in a path."""
    words = mask.strip("^$()").replace("\\", "").split(".*")
    return path.endswith(words[-1]) if mask.endswith("$") else bool(mask) and all(word in path for word in words)


def _read_schedule(keys: Keys, total: float) -> dict[str, Any]:
    """Schedule fields; durations are rounded down to steps."""
    kind = keys.text_or("schedule", "cosine", "lr_schedule_type")
    kind = chosen("lr_schedule_type", kind, {"cosine": "cosine", "wsd": "wsd"}, None) or kind
    style = chosen("wsd_decay_style", keys.text("wsd_decay_style"), {"linear": "wsd", "cosine": "wsd-cosine"}, "wsd")
    if "cosine_learning_rate_final_fraction" in keys:
        message = (
            "cosine_learning_rate_final_fraction is now learning_rate_final_fraction; current MaxText refuses keys "
            "it does not know"
        )
        keys.warning("renamed-key", "cosine_learning_rate_final_fraction", message, fix="rename it")
    final = keys.number_or(
        "final_lr_fraction", FINAL, "learning_rate_final_fraction", "cosine_learning_rate_final_fraction"
    )
    warmup = float(int(_part(keys, "warmup_steps_fraction", "warmup_steps") * total))
    fields: dict[str, Any] = {"schedule": kind, "warmup_steps": warmup, "final_lr_fraction": final}
    if kind == "cosine":
        return fields
    falling = float(int(_part(keys, "wsd_decay_steps_fraction", "decay_steps") * total))
    if not falling:
        return {"schedule": "constant", "warmup_steps": warmup}
    if warmup + falling == total:
        return {**fields, "schedule": "linear" if style == "wsd" else "cosine"}
    return {**fields, "schedule": style, "decay_steps": falling}


def _part(keys: Keys, key: str, field: str) -> float:
    """A part of the run, 0.1 by default, in which the field that it makes is remembered as such."""
    found = keys.number_or(field, 0.1, key)
    return 0.0 if found is None else found


def _note_other_length(keys: Keys, steps: float, length: float) -> None:
    """A schedule that is shorter or longer than the run."""
    after = (
        f"the {steps - length:g} steps after it run at a learning rate of 0"
        if steps > length
        else f"the run ends {length - steps:g} steps before it, above its final learning rate"
    )
    message = f"the schedule takes {length:g} steps and the run {steps:g}: {after}"
    fix = "drop learning_rate_schedule_steps, which is then the same as steps"
    keys.warning("schedule-length", "learning_rate_schedule_steps", message, fix)
