"""MaxText: optax's adamw, lr_t * λ, with `adamw_mask` as its mask (maxtext/optimizers/optimizers.py).

The mask is a list of regular expressions for what does *not* decay; it is empty by default. Durations are fractions
of the schedule, whose steps are rounded down, so half a step is added to each that is written. A linear fall is WSD
without a stable phase, a constant lr a cosine whose end is its peak. The lr is at its peak one step before the
end of the warm-up and at its lowest in the last step (create_learning_rate_schedule in maxtext/utils/maxtext_utils.py).
"""

import re
from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Mend
from adamw_scale.frameworks.group_names import groups_matched
from adamw_scale.frameworks.reading import Keys, chosen, keys_of
from adamw_scale.frameworks.spelling import spared, value, whole
from adamw_scale.frameworks.table import Table, Trap, key, note_other_end
from adamw_scale.theory.parametrizations import EMBEDDING, HIDDEN, NORM_AND_BIAS, OUTPUT

STYLES = {"linear": "linear", "wsd": "linear", "wsd-cosine": "cosine"}
MASKS = {NORM_AND_BIAS: ("norm", "scale$", "bias$"), EMBEDDING: ("token_embedder",), OUTPUT: ("logits_dense",)}
# What MaxText calls its weights, so that a mask can be judged.
PATHS = {
    HIDDEN: "params/decoder/layers/self_attention/query/kernel params/decoder/layers/mlp/wo/kernel",
    EMBEDDING: "params/token_embedder/embedding",
    OUTPUT: "params/decoder/logits_dense/kernel",
    NORM_AND_BIAS: "params/decoder/decoder_norm/scale params/decoder/layers/pre_self_attention_layer_norm/scale",
}
GLOBAL_BATCH = "Global batch, over all devices and accumulation: {} sequences"


class MaxText(Table):
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
    unit = "tokens"

    keys = {
        "optimizer": key("opt_type", default="adamw"),
        "peak_lr": key("learning_rate", default=3e-5),
        "weight_decay": key("adam_weight_decay", default=0.1),
        "mask": key("adamw_mask"),
        "beta1": key("adam_b1", default=0.9),
        "beta2": key("adam_b2", default=0.95),
        "eps": key("adam_eps", default=1e-8),
        "total_steps": key("steps", default=150_001.0),
        "schedule": key("lr_schedule_type", default="cosine"),
        "style": key("wsd_decay_style"),
        "decay_steps": key("wsd_decay_steps_fraction", default=0.1),
        "warmup_steps": key("warmup_steps_fraction", default=0.1),
        "final_lr_fraction": key("learning_rate_final_fraction", "cosine_learning_rate_final_fraction", default=0.1),
        "per_device_batch_size": key("per_device_batch_size"),
        "accumulation": key("gradient_accumulation_steps", default=1.0),
        "sequence_length": key("max_target_length"),
    }
    optimizers = {"adamw": "maxtext", "adam_pax": "maxtext"}
    words = {
        "constant": ("cosine",),
        "linear": ("wsd",),
        "wsd-cosine": ("wsd",),
        "wsd": ("wsd",),
        "cosine": ("cosine",),
    }
    traps = (
        Trap("warning", "renamed-key", "cosine_learning_rate_final_fraction",
             "cosine_learning_rate_final_fraction is now learning_rate_final_fraction; current MaxText refuses keys it "
             "does not know",
             "rename it", mend=Mend(key="cosine_learning_rate_final_fraction", name="learning_rate_final_fraction")),
    )  # fmt: skip

    def find(self, document: Document) -> Keys:
        """-1 for the steps is as many as the schedule has."""
        content = document.content
        if str(content.get("steps")) == "-1":
            content = content | {"steps": content.get("learning_rate_schedule_steps")}
        return keys_of(document._replace(content=content))

    def fields(self, keys: Keys, document: Document) -> dict[str, Any]:
        """With the batch of the snippet's own comment."""
        batch = re.search(GLOBAL_BATCH.format(r"(\d{1,12})"), document.text)
        return {**super().fields(keys, document), "batch_size": float(batch[1]) if batch else None}

    def spares(self, keys: Keys) -> frozenset[str]:
        """Groups that the mask names."""
        given = keys.raw("adamw_mask") or []
        masks = given if isinstance(given, list) else str(given).strip("[] ").split(",")
        return frozenset().union(*(groups_matched(str(mask).strip(" '\""), PATHS) for mask in masks))

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """Durations are fractions of the schedule, rounded down to steps."""
        fields, length = super().schedule(keys, peak_lr, steps), keys.signed("learning_rate_schedule_steps")
        total = length if length and length > 0 else steps or 0.0
        fields |= {each: float(int(fields[each] * total)) for each in ("warmup_steps", "decay_steps") if each in fields}
        if steps and total != steps:
            fix, stays = "drop learning_rate_schedule_steps", "the rest runs at a learning rate of 0"
            note_other_end(keys, "schedule-length", "learning_rate_schedule_steps", total, steps, fix, stays)
            fields |= {"schedule_end": total, "after_end": 0.0}
        if fields.get("schedule") != "wsd":
            return fields
        style = keys.text("wsd_decay_style") or "linear"
        falls = {"linear": ("linear", "wsd"), "cosine": ("cosine", "wsd-cosine")}
        whole_fall, late_fall = chosen("wsd_decay_style", style, falls, None) or falls["linear"]
        warmup, fall = fields.get("warmup_steps", 0.0), fields.pop("decay_steps", 0.0)
        if not fall:
            return {**fields, "schedule": "constant", "final_lr_fraction": None}
        if warmup + fall == total:
            return {**fields, "schedule": whole_fall}
        return {**fields, "schedule": late_fall, "decay_steps": fall}

    def write(self, config: Config) -> str:
        """YAML to put over base.yml."""
        batch = "" if config.batch_size is None else f"# {GLOBAL_BATCH.format(whole(config.batch_size))}\n"
        return super().write(config) + batch

    def spelled(self, field: str, config: Config) -> str | None:
        """Durations as fractions; a mask of what does not decay."""
        name, warmup, steps = config.schedule, whole(config.warmup_steps), whole(config.total_steps)
        fall = steps - warmup if config.decay_steps is None else whole(config.decay_steps)
        masks = [f'"{mask}"' for group, each in MASKS.items() if group in spared(config) for mask in each]
        own: dict[str, str | None] = {
            "mask": f"[{', '.join(masks)}]",
            "style": STYLES.get(name or ""),
            "decay_steps": _fraction(fall, steps) if name in STYLES else None,
            "warmup_steps": _fraction(warmup, steps),
            "final_lr_fraction": value(config.lr_schedule.final),
            "per_device_batch_size": None,
            "accumulation": None,
        }
        return own[field] if field in own else super().spelled(field, config)


def _fraction(steps: int, total: int) -> str:
    """A fraction of the run that int(total * fraction) turns back into these steps."""
    return "0" if not steps else f"{min(1.0, (steps + 0.5) / total):.12g}"
