"""Megatron-LM: decoupled, times the scheduled lr; biases and 1-D tensors excluded, embeddings decayed.

`--start-weight-decay` and `--end-weight-decay` override `--weight-decay` every step
(core/optimizer_param_scheduler.py), so the snippet sets the constant style and leaves them out. Its muP (`--use-mup`)
divides the hidden lr by the width ratio and leaves λ alone.
"""

from typing import Any, ClassVar

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, same_decay
from adamw_scale.frameworks.framework import Language
from adamw_scale.frameworks.reading import Keys, chosen, keys_of
from adamw_scale.frameworks.spelling import final_lr, value, whole
from adamw_scale.frameworks.table import Table, key
from adamw_scale.theory.parametrizations import EMBEDDING, HIDDEN, NORM_AND_BIAS, OUTPUT

WSD_STYLES = {"wsd": "linear", "wsd-cosine": "cosine", "wsd-1-sqrt": "minus_sqrt"}
READ_WSD = {**{style: name for name, style in WSD_STYLES.items()}, "exponential": "wsd"}


class Megatron(Table):
    """Command-line arguments of pretrain_gpt.py and its siblings, as a bash array."""

    name = "megatron"
    title = "Megatron-LM"
    language: ClassVar[Language] = "shell"
    convention = "megatron"
    undecayed = frozenset({NORM_AND_BIAS})
    undecayed_by_default = "biases and tensors of one dimension; embeddings do decay"
    grouping = "none"
    how_to_group = "set muP with Megatron's own flags, and give embeddings a weight-decay multiplier if yours has one"
    schedules = ("constant", "linear", "cosine", "inverse-sqrt", *WSD_STYLES)
    reads = "a shell script with the arguments, or YAML of them"
    signs = frozenset(
        {
            *("train_samples", "lr_decay_samples", "lr_warmup_samples", "lr_wsd_decay_style", "seq_length"),
            *("tensor_model_parallel_size", "pipeline_model_parallel_size", "lr_decay_style", "lr_warmup_iters"),
            *("lr_decay_iters", "train_iters", "micro_batch_size", "adam_beta1"),
        }
    )
    scripts = r"\bpretrain_(gpt|bert|t5|mamba|vlm|retro|ict|vision\w*)\.py\b"
    formats = frozenset({"shell arguments", "YAML"})
    proven = "megatron-core 0.16"
    unit: ClassVar[str | None] = "tokens"
    dashed = True

    keys = {
        "optimizer": key("optimizer", default="adam"),
        "peak_lr": key("lr"),
        "final_lr": key("min_lr", default=0.0),
        "weight_decay": key("weight_decay", default=0.01),
        "decay_style": key("weight_decay_incr_style"),
        "beta1": key("adam_beta1", default=0.9),
        "beta2": key("adam_beta2", default=0.999),
        "eps": key("adam_eps", default=1e-8),
        "schedule": key("lr_decay_style", default="linear"),
        "wsd_style": key("lr_wsd_decay_style"),
        "decay_steps": key("lr_wsd_decay_iters"),
        "end": key("lr_decay_iters"),
        "warmup_steps": key("lr_warmup_iters"),
        "total_steps": key("train_iters"),
        "batch_size": key("global_batch_size"),
        "per_device_batch_size": key("micro_batch_size"),
        "sequence_length": key("seq_length", "total_seq_length", "encoder_seq_length"),
    }
    words = {
        **{name: (name,) for name in ("constant", "linear", "cosine")},
        "inverse-sqrt": ("inverse-square-root",),
        **dict.fromkeys(WSD_STYLES, ("WSD",)),
    }

    def find(self, document: Document) -> Keys:
        """Keys, with durations in iterations."""
        content, told = in_iterations(document.content), document.overridable
        counted = {path.replace("_samples", "_iters") for path in told if path.endswith("_samples")}
        return keys_of(document._replace(content=content, overridable=told | counted))

    def word(self, keys: Keys, field: str) -> str | None:
        """Its optimizer is called adam."""
        return super().word(keys, field) or ("adam" if field == "optimizer" else None)

    def number(self, keys: Keys, field: str, filling: str | None = None) -> float | None:
        """The decay that acts."""
        if field == "weight_decay":
            return read_decay(keys, self.title, self.keys[field].default)[0]
        return super().number(keys, field, filling)

    def grouped(
        self, keys: Keys, document: Document, peak_lr: float | None, weight_decay: float | None, eps: float | None
    ) -> dict[str, Any]:
        """Learning rates of muP, and of embedding and output where they have their own."""
        shape, final = _decay_schedule(keys)
        base, width, decoupled = (keys.number(name) for name in ("mup_base_hidden_size", "hidden_size", "decoupled_lr"))
        ratio = width / base if keys.yes("use_mup") and base and width else 1.0
        ends = decoupled / peak_lr if decoupled and peak_lr else 1.0
        factors = {HIDDEN: 1 / ratio, EMBEDDING: ends, OUTPUT: ends, NORM_AND_BIAS: 1.0}
        groups = same_decay(weight_decay, self.undecayed)
        return {
            "groups": tuple(each.model_copy(update={"lr_factor": factors[each.group]}) for each in groups),
            "weight_decay_schedule": shape,
            "final_weight_decay_fraction": final,
            "width_ratio": ratio if ratio != 1 else None,
        }

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """A fall that may end before or after the run."""
        fields, fraction = super().schedule(keys, peak_lr, steps), keys.number("lr_warmup_fraction")
        name, end = fields.get("schedule"), keys.number("lr_decay_iters") or steps
        if name in WSD_STYLES:
            fields["schedule"] = chosen("lr_wsd_decay_style", keys.text("lr_wsd_decay_style"), READ_WSD, "wsd")
        if fraction is not None:
            fields["warmup_steps"] = None if end is None else fraction * end
            fields["warmup_fraction"] = fraction if end is None else None
        if not end or not steps or name == "constant" or 0.99 < end / steps < 1.01:
            return fields
        if end > steps and name == "inverse-sqrt":
            return fields
        rest = "stays at min_lr for the rest" if end < steps else "has not come down by then"
        message = f"the learning rate falls over {end:g} steps and the run has {steps:g}: it {rest}"
        fix = "set lr_decay_iters to train_iters, or nothing if it is meant"
        (keys.note if end < steps else keys.warning)("other-end", "lr_decay_iters", message, fix)
        low = keys.number("min_lr") or 0.0
        return {**fields, "schedule_end": end, "after_end": min(1.0, low / peak_lr) if peak_lr else None}

    def write(self, config: Config) -> str:
        """Arguments for the command line; append "${ADAMW_ARGS[@]}" to the launch."""
        return super().write(config).replace("\n    --lr-wsd-decay-iters", " --lr-wsd-decay-iters")

    def spelled(self, field: str, config: Config) -> str | None:
        """With a weight decay that stays."""
        own: dict[str, str | None] = {
            "optimizer": "adam",
            "final_lr": value(final_lr(config)),
            "decay_style": "constant",
            "wsd_style": WSD_STYLES.get(config.schedule or ""),
            "decay_steps": str(whole(config.decay_steps)) if config.schedule in WSD_STYLES else None,
            "end": str(whole(config.total_steps)),
            "per_device_batch_size": None,
        }
        return own[field] if field in own else super().spelled(field, config)


def in_iterations(content: dict[str, Any]) -> dict[str, Any]:
    """Megatron's arguments with the durations that are given in samples as iterations too."""
    keys, found = Keys(content), dict(content)
    batch = keys.number("global_batch_size")
    run = () if "train_iters" in keys else ("train",)
    for name in (*run, "lr_decay", "lr_warmup", "lr_wsd_decay"):
        samples = keys.number(f"{name}_samples")
        if samples is not None and batch:
            found[f"{name}_iters"] = samples / batch
    return found


def read_decay(keys: Keys, title: str, default: float) -> tuple[float | None, tuple[str, float | None]]:
    """The decay that really acts, and its schedule; start and end override the plain value."""
    plain, (start, end) = keys.number("weight_decay"), _ends_of_decay(keys)
    if start is None or end is None:
        return keys.number_or("weight_decay", default, "weight_decay"), ("constant", None)
    names = ("start_weight_decay", "end_weight_decay")
    return scheduled_decay(keys, title, names, keys.text("weight_decay_incr_style"), plain, start, end)


def scheduled_decay(
    keys: Keys, title: str, names: tuple[str, str], style: str | None, plain: float | None, start: float, end: float
) -> tuple[float | None, tuple[str, float | None]]:
    """The decay that a scheduler writes from its start to its end, and how it changes; `names` are their keys."""
    first, last = (name.rpartition(".")[2] for name in names)
    if plain is not None and (start, end) != (plain, plain):
        message = (
            f"weight_decay {plain:g} is never used: {title}'s scheduler writes {first} {start:g} to {last} {end:g} "
            "into the optimizer at every step"
        )
        fix = f"set {first} and {last} to {plain:g}, or drop them and keep the constant style"
        keys.error("decay-overridden", names[0], message, fix)
    if style in (None, "constant") or start == end:
        return end, ("constant", None)
    if start == 0:
        message = (
            f"weight decay rises from 0 to {end:g}; it is judged as half of that throughout, at a constant lr as much"
        )
        keys.note("decay-from-zero", names[0], message, fix="nothing to do if it is meant")
        return end / 2, ("constant", None)
    return start, (str(style), end / start)


def _ends_of_decay(keys: Keys) -> tuple[float | None, float | None]:
    start, end = keys.number("start_weight_decay"), keys.number("end_weight_decay")
    return (end if start is None else start), (start if end is None else end)


def _decay_schedule(keys: Keys) -> tuple[str, float | None]:
    """The shape of a decay that moves, and its end over its start."""
    (start, end), style = _ends_of_decay(keys), keys.text("weight_decay_incr_style") or "constant"
    return (
        ("constant", None) if style == "constant" or not start or end in (None, start) else (style, (end or 0) / start)
    )
