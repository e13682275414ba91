"""Megatron-LM: decoupled, times the scheduled lr; biases and 1-D tensors excluded, embeddings decayed.

`--start-weight-decay` and `--end-weight-decay` override `--weight-decay` every step
(core/optimizer_param_scheduler.py), so the snippet sets the constant style and leaves them out. Its muP (`--use-mup`)
divides the hidden lr by the width ratio and leaves λ alone.
"""

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Group, same_decay
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.reading import Keys, chosen, keys_of
from adamw_scale.frameworks.spelling import betas_of, eps_of, final_lr, lr_of, value, whole
from adamw_scale.theory.parametrizations import EMBEDDING, HIDDEN, NORM_AND_BIAS, OUTPUT

WSD_STYLES = {"wsd": "linear", "wsd-cosine": "cosine", "wsd-1-sqrt": "minus_sqrt"}
STYLES = {
    "constant": "constant",
    "linear": "linear",
    "cosine": "cosine",
    "inverse-sqrt": "inverse-square-root",
    **dict.fromkeys(WSD_STYLES, "WSD"),
}
_READ_WSD = {**{style: name for name, style in WSD_STYLES.items()}, "exponential": None}


class Megatron(Framework):
    """Command-line arguments of pretrain_gpt.py and its siblings, as a bash array."""

    name = "megatron"
    title = "Megatron-LM"
    language = "shell"
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

    def write(self, config: Config) -> str:
        """Arguments for the command line; append "${ADAMW_ARGS[@]}" to the launch."""
        schedule, (beta1, beta2) = config.schedule or "constant", betas_of(config)
        rows = [
            "--optimizer adam",
            f"--lr {lr_of(config)}",
            f"--min-lr {value(final_lr(config))}",
            f"--weight-decay {value(config.weight_decay)}",
            "--weight-decay-incr-style constant",
            f"--adam-beta1 {beta1}",
            f"--adam-beta2 {beta2}",
            f"--adam-eps {eps_of(config)}",
            f"--lr-decay-style {STYLES[schedule]}",
            *(
                [f"--lr-wsd-decay-style {WSD_STYLES[schedule]} --lr-wsd-decay-iters {whole(config.decay_steps)}"]
                if schedule in WSD_STYLES
                else []
            ),
            f"--lr-decay-iters {whole(config.total_steps)}",
            f"--lr-warmup-iters {whole(config.warmup_steps)}",
            f"--train-iters {whole(config.total_steps)}",
            *([f"--global-batch-size {whole(config.batch_size)}"] if config.batch_size else []),
            *([f"--seq-length {whole(config.sequence_length)}"] if config.sequence_length else []),
        ]
        return "ADAMW_ARGS=(\n" + "".join(f"    {row}\n" for row in rows) + ")\n"

    def read(self, document: Document) -> Config:
        """The arguments, with what Megatron-LM fills in where they say nothing."""
        keys = keys_of(document)
        return read_arguments(keys, "Megatron-LM")


def read_arguments(keys: Keys, title: str) -> Config:
    """Megatron's own names of things, with its defaults; Megatron-Bridge shares them."""
    peak_lr = keys.number("lr")
    total = keys.number("train_iters")
    batch = keys.number("global_batch_size")
    samples = keys.number("train_samples")
    if total is None and samples and batch:
        total = samples / batch
    schedule = chosen(
        "lr_decay_style",
        keys.text_or("schedule", "linear", "lr_decay_style"),
        {**{style: name for name, style in STYLES.items()}, "WSD": "WSD"},
        None,
    )
    if schedule == "WSD":
        schedule = chosen(
            "lr_wsd_decay_style", keys.text("lr_wsd_decay_style"), _READ_WSD | {"exponential": "wsd"}, "wsd"
        )
    scheduled = schedule or "linear"
    falls = scheduled not in ("constant", "inverse-sqrt")
    min_lr = keys.number_or("final_lr_fraction", 0.0, "min_lr") if falls else keys.number("min_lr")
    weight_decay, shape = read_decay(keys, title)
    warmup, fraction = _steps(keys, "lr_warmup", batch), keys.number("lr_warmup_fraction")
    decaying = _steps(keys, "lr_decay", batch) or total
    hidden = _mup_factor(keys)
    decoupled = keys.number("decoupled_lr")
    ends = decoupled / peak_lr if decoupled and peak_lr else 1.0
    end = decaying if decaying and total and scheduled != "constant" else None
    if end and total and (0.99 < end / total < 1.01 or (end > total and scheduled == "inverse-sqrt")):
        end = None
    if end is not None and total:
        rest = "stays at min_lr for the rest" if end < total else "has not come down by then"
        message = f"the learning rate falls over {end:g} steps and the run has {total:g}: it {rest}"
        fix = "set lr_decay_iters to train_iters, or nothing if it is meant"
        (keys.note if end < total else keys.warning)("other-end", "lr_decay_iters", message, fix)
    return Config(
        convention="megatron",
        optimizer=keys.text_or("optimizer", "adam", "optimizer"),
        peak_lr=peak_lr,
        groups=tuple(
            Group(
                group=group.group,
                weight_decay=group.weight_decay,
                lr_factor={HIDDEN: hidden, EMBEDDING: ends, OUTPUT: ends}.get(group.group, 1.0),
            )
            for group in same_decay(weight_decay, frozenset({NORM_AND_BIAS}))
        ),
        betas=keys.betas((0.9, 0.999), "adam_beta1", "adam_beta2"),
        eps=keys.number_or("eps", 1e-8, "adam_eps"),
        schedule=scheduled,
        warmup_steps=warmup if fraction is None else None if decaying is None else fraction * decaying,
        final_lr_fraction=min_lr / peak_lr if peak_lr and min_lr is not None and falls else None,
        decay_steps=_steps(keys, "lr_wsd_decay", batch) if scheduled in WSD_STYLES else None,
        schedule_end=end,
        after_end=min(1.0, (min_lr or 0.0) / peak_lr) if end and peak_lr else None,
        weight_decay_schedule=shape[0],
        final_weight_decay_fraction=shape[1],
        total_steps=total,
        unit="tokens",
        batch_size=batch,
        per_device_batch_size=keys.number("micro_batch_size"),
        sequence_length=keys.number("seq_length", "encoder_seq_length"),
        width_ratio=1 / hidden if hidden != 1 else None,
        **keys.noted(),
    )


def _steps(keys: Keys, name: str, batch: float | None) -> float | None:
    """A duration that is given in iterations, or in samples."""
    samples = keys.number(f"{name}_samples")
    return keys.number(f"{name}_iters") if samples is None or not batch else samples / batch


def read_decay(keys: Keys, title: str) -> tuple[float | None, tuple[str, float | None]]:
    """The decay that really acts, and its schedule; start and end override the plain value."""
    plain = keys.number("weight_decay")
    start, end = keys.number("start_weight_decay"), keys.number("end_weight_decay")
    if start is None and end is None:
        return keys.number_or("weight_decay", 0.01, "weight_decay"), ("constant", None)
    start, end = (start if start is not None else end) or 0.0, (end if end is not None else start) or 0.0
    if plain is not None and (start, end) != (plain, plain):
        message = (
            f"weight_decay {plain:g} is never used: {title}'s scheduler writes start_weight_decay {start:g} to "
            f"end_weight_decay {end:g} into the optimizer at every step"
        )
        fix = f"set start_weight_decay and end_weight_decay to {plain:g}, or drop them and keep the constant style"
        keys.error("decay-overridden", "start_weight_decay", message, fix)
    style = keys.text("weight_decay_incr_style") or "constant"
    if start == end or style == "constant":
        return end, ("constant", None)
    if start == 0:
        message = (
            f"weight decay rises from 0 to {end:g}; it is judged as constant at half of that, which has the same sum "
            "at a constant lr"
        )
        keys.note("decay-from-zero", "start_weight_decay", message, fix="nothing to do if it is meant")
        return end / 2, ("constant", None)
    return start, (style, end / start)


def _mup_factor(keys: Keys) -> float:
    """Factor of Megatron's muP on the hidden lr: base width over width."""
    base, width = keys.number("mup_base_hidden_size"), keys.number("hidden_size")
    return base / width if keys.yes("use_mup") and base and width else 1.0
