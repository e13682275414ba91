"""NeMo Automodel: any torch optimizer by its name, with Megatron's schedule; decays everything (components/optim).

At every step the scheduler writes lr and weight_decay of every group anew, times the group's lr_mult and wd_mult. Its
defaults surprise: warm-up starts at a tenth of the peak and the floor is a hundredth of it, so both are written, and
the run ends after 10 epochs whatever max_steps says. Groups have no eps of their own.
"""

import math
from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Group
from adamw_scale.frameworks.group_names import kinds_named, own_groups
from adamw_scale.frameworks.megatron import scheduled_decay
from adamw_scale.frameworks.optimizer_calls import CONSTRUCTORS, Constructor
from adamw_scale.frameworks.reading import Keys
from adamw_scale.frameworks.spelling import value, whole
from adamw_scale.frameworks.table import Table, key
from adamw_scale.theory.parametrizations import EMBEDDING, GROUPS, NORM_AND_BIAS, OUTPUT

PATTERNS = {NORM_AND_BIAS: r"norm|bias$", EMBEDDING: r"embed_tokens\\.", OUTPUT: r"lm_head\\."}
S, STEPS, SIZE = "lr_scheduler", "step_scheduler.max_steps", "packed_sequence.packed_sequence_size"
MAX_LR, END, WARMUP, START = f"{S}.max_lr", f"{S}.lr_decay_steps", f"{S}.lr_warmup_steps", f"{S}.init_lr"
FLOOR, OVERRIDES = f"{S}.min_lr", "optimizer.param_group_overrides"
_CONFIG = Constructor(1e-4, 0.01, convention="pytorch")  # of Automodel's own
TARGETS = {
    "AdamW": CONSTRUCTORS["torch", "AdamW"],
    "Adam": CONSTRUCTORS["torch", "Adam"],
    "AdamWConfig": _CONFIG,
    "FlashAdamWConfig": _CONFIG,
    "AdamConfig": _CONFIG._replace(convention="torch-adam"),
    "FusedAdam": CONSTRUCTORS["apex", "FusedAdam"],
    "FusedAdamConfig": _CONFIG._replace(convention="apex"),
    "AdamW8bit": CONSTRUCTORS["bitsandbytes", "AdamW8bit"],
}


def _scheduled(keys: Keys) -> bool:
    return isinstance(keys.raw(S), dict)


def _warmup(keys: Keys) -> float | None:
    steps = keys.number(STEPS)
    return min(1000, steps // 10) if steps else None


def _batch(keys: Keys) -> float | None:
    """Sequences per step where nothing is said; null leaves them open."""
    section = keys.raw("step_scheduler")
    return None if isinstance(section, dict) and "global_batch_size" in section else 32.0


class NemoAutomodel(Table):
    """The optimizer, lr_scheduler and step_scheduler sections of a recipe."""

    name = "nemo-automodel"
    title = "NeMo Automodel"
    language = "yaml"
    convention = "pytorch"
    undecayed_by_default = "nothing: norms, biases and embeddings decay too, unless an override spares them"
    grouping = "all"
    schedules = ("constant", "linear", "cosine", "inverse-sqrt", "wsd", "wsd-cosine", "wsd-1-sqrt")
    reads = "a recipe in YAML"
    signs = frozenset(
        {
            *("step_scheduler", "packed_sequence", "param_group_overrides", "lr_warmup_steps", "wd_mult", "init_lr"),
            *("ckpt_every_steps", "val_every_steps", "lr_decay_style"),
            *("step_scheduler.num_epochs", "step_scheduler.max_steps", "step_scheduler.grad_acc_steps"),
            *("step_scheduler.global_batch_size", "step_scheduler.local_batch_size"),
        }
    )
    packages = frozenset({"nemo_automodel"})
    formats = frozenset({"YAML"})
    proven = "nemo-automodel 0.7"

    keys = {
        "optimizer": key("optimizer._target_", default="torch.optim.AdamW"),
        "peak_lr": key("optimizer.lr"),
        "betas": key("optimizer.betas"),
        "eps": key("optimizer.eps"),
        "weight_decay": key("optimizer.weight_decay"),
        "schedule": key(f"{S}.lr_decay_style", default="cosine"),
        "fall": key(f"{S}.lr_wsd_decay_style"),
        "decay_steps": key(f"{S}.wsd_decay_steps"),
        "schedule_end": key(END),
        "warmup_steps": key(WARMUP, default=_warmup),
        "start": key(START),
        "final_lr": key(FLOOR),
        "total_steps": key(STEPS),
        "epochs": key("step_scheduler.num_epochs", default=10.0),
        "batch_size": key("step_scheduler.global_batch_size", default=_batch),
        "per_device_batch_size": key("step_scheduler.local_batch_size"),
        "sequence_length": key("dataset.seq_length", "dataset.seq_len"),
    }
    optimizers = TARGETS
    words = {
        "constant": ("constant",),
        "linear": ("linear",),
        "cosine": ("cosine",),
        "inverse-sqrt": ("inverse-square-root",),
        "wsd": ("WSD linear", "WSD exponential"),
        "wsd-cosine": ("WSD cosine",),
        "wsd-1-sqrt": ("WSD minus_sqrt",),
    }

    def known(self, optimizer: str | None) -> str | Constructor:
        """By the name of the class, wherever it is from."""
        return super().known((optimizer or "").rpartition(".")[2])

    def number(self, keys: Keys, field: str, filling: str | None = None) -> float | None:
        """The scheduler's own learning rate goes before the optimizer's, a packed length before the data's."""
        if field == "peak_lr" and MAX_LR in keys:
            return keys.number(MAX_LR)
        packed = keys.number(SIZE) if field == "sequence_length" else None
        return packed or super().number(keys, field, filling)

    def word(self, keys: Keys, field: str) -> str | None:
        """WSD with the shape of its fall."""
        found = super().word(keys, field)
        return f"WSD {keys.text(f'{S}.lr_wsd_decay_style') or 'linear'}" if (found or "").upper() == "WSD" else found

    def grouped(
        self, keys: Keys, document: Document, peak_lr: float | None, weight_decay: float | None, eps: float | None
    ) -> dict[str, Any]:
        """What the scheduler makes of the optimizer's; learning rates are multiples of that of gains and biases."""
        if not _scheduled(keys):
            return super().grouped(keys, document, peak_lr, weight_decay, eps)
        decay, (shape, end) = _scheduled_decay(keys, weight_decay)
        overrides, rows = keys.raw(OVERRIDES), {}
        for override in overrides if isinstance(overrides, list) else []:
            row = Keys(override if isinstance(override, dict) else {})
            rows.update({kind: row for kind in kinds_named(row.text("pattern") or "?") if kind not in rows})

        def times(name: str, kind: str) -> float:
            found = rows[kind].number(name) if kind in rows else None
            return 1.0 if found is None else found

        base = times("lr_mult", NORM_AND_BIAS) or 1.0
        every = 1.0 if decay is None else decay
        return {
            "peak_lr": peak_lr * base if peak_lr else None,
            "groups": tuple(
                Group(group=kind, weight_decay=every * times("wd_mult", kind), lr_factor=times("lr_mult", kind) / base)
                for kind in GROUPS
            ),
            "weight_decay_schedule": shape,
            "final_weight_decay_fraction": end,
        }

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """Lengths that are not given follow from the run's; without a scheduler the learning rate stays."""
        if not _scheduled(keys):
            if keys.raw(OVERRIDES):
                message = "param_group_overrides do nothing: it is an lr_scheduler that multiplies lr and weight decay"
                fix = "add an lr_scheduler, with lr_decay_style: constant if nothing else is meant"
                keys.error("overrides-unused", OVERRIDES, message, fix)
            return {"schedule": keys.filled("schedule", "constant", S)}
        fields = super().schedule(keys, peak_lr, steps)
        shape, end = fields.get("schedule"), keys.number(END)
        _note_traps(keys, shape, end, steps)
        if shape is None:
            return fields
        if 0 < (fields.get("warmup_steps") or 0) < 1:
            del fields["warmup_steps"]
        if not steps and WARMUP not in keys:
            fields["warmup_fraction"] = keys.filled("warmup_fraction", 0.1, WARMUP)
        if FLOOR not in keys and shape not in ("constant", "inverse-sqrt"):
            fields["final_lr_fraction"] = keys.filled("final_lr_fraction", 0.01, FLOOR)
        if end and steps and end != steps and shape != "constant" and (end < steps or shape != "inverse-sqrt"):
            fields["schedule_end"] = end
            if shape == "inverse-sqrt" and peak_lr:
                floor = keys.number(FLOOR)
                fields["after_end"] = min(1.0, 0.01 if floor is None else floor / peak_lr)
        return fields

    def task(self, keys: Keys, document: Document) -> str | None:
        """LoRA by its section; the finetuning of a model by the recipe's name, or by weights that are started from."""
        if isinstance(keys.raw("peft"), dict):
            return "lora"
        from_weights = str(keys.raw("model._target_")).endswith(".from_pretrained")
        return "finetuning" if "Finetune" in str(keys.raw("recipe")) or from_weights else None

    def packed(self, keys: Keys, document: Document) -> bool | None:
        """With a size above 0."""
        size = keys.number(SIZE)
        return keys.filled("packed", False, "packed_sequence", SIZE) if size is None else size > 0

    def write(self, config: Config) -> str:
        """Three sections of a recipe."""
        apart = len({group.eps_factor for group in config.groups if group.weight_decay}) > 1
        about = "# muP wants another eps for each group, which Automodel cannot give them.\n"
        return about * apart + super().write(config)

    def rows(self, config: Config) -> dict[str, Any]:
        """With the groups that are unlike the hidden matrices, whose learning rate is the optimizer's."""
        *others, hidden = own_groups(config)
        rows = super().rows(config.model_copy(update={"peak_lr": (config.peak_lr or 0) * hidden.lr_factor}))
        overrides = [
            {
                "pattern": f'"{PATTERNS[group.group]}"',
                "lr_mult": value(group.lr_factor / hidden.lr_factor),
                "wd_mult": value(group.weight_decay / hidden.weight_decay),
            }
            for group in others
        ]
        return {**rows, **({OVERRIDES: overrides} if overrides else {})}

    def spelled(self, field: str, config: Config) -> str | None:
        """Every length is written, and the start of the warm-up."""
        style, _, fall = self.words[config.schedule or "constant"][0].partition(" ")
        own = {
            "optimizer": "torch.optim.AdamW",
            "schedule": style,
            "fall": fall or None,
            "schedule_end": str(whole(config.total_steps)),
            "start": "0.0",
            "final_lr": "0" if config.schedule == "inverse-sqrt" else super().spelled("final_lr", config),
            "epochs": str(max(1, math.ceil(config.epochs or 1))),
            "batch_size": str(whole(config.batch_size) or "null  # in sequences; left out it is 32"),
            "per_device_batch_size": None,
            "sequence_length": None,
        }
        return own[field] if field in own else super().spelled(field, config)


def _note_traps(keys: Keys, shape: str | None, end: float | None, steps: float | None) -> None:
    """Traps of the sections as they stand together."""
    said, top, warmup = keys.number("optimizer.lr"), keys.number(MAX_LR), keys.number(WARMUP)
    if said is not None and top is not None and said != top:
        message = f"lr {said:g} is never used: at every step the scheduler writes its own, up to max_lr {top:g}"
        keys.error("lr-overridden", MAX_LR, message, fix="drop max_lr, which is the optimizer's lr by default")
    if warmup is not None and 0 < warmup < 1:
        message = f"lr_warmup_steps {warmup:g} is refused: Automodel takes whole steps, no fraction of the run"
        keys.error("warmup-fraction", WARMUP, message, fix="write the number of steps")
    if START not in keys and warmup != 0:
        message = "warm-up starts at a tenth of the learning rate by default, and is judged as if it started at 0"
        keys.note("warmup-start", START, message, fix="write init_lr: 0.0")
    missing = [each for each in ("wsd_decay_steps", "lr_wsd_decay_style") if f"{S}.{each}" not in keys]
    if missing and str(shape).startswith("wsd"):
        message = f"WSD without {' and '.join(missing)} fails, at the latest when the fall starts: there is no default"
        fix = "write wsd_decay_steps and lr_wsd_decay_style (linear, cosine, minus_sqrt or exponential)"
        keys.error("wsd-incomplete", f"{S}.{missing[0]}", message, fix)
    if end is not None and steps is not None and end != steps and shape != "constant":
        rest = ": the rest is at min_lr" if end < steps else ", before it has fallen"
        message = f"the schedule ends after {end:g} steps and the run after {steps:g}{rest}"
        fix = "drop lr_decay_steps, which is the run's length by default"
        keys.warning("decay-steps", END, message, fix)


def _scheduled_decay(keys: Keys, own: float | None) -> tuple[float | None, tuple[str, float | None]]:
    """The decay that acts: the scheduler's start and end, which are the optimizer's if they are not given."""
    start, end = keys.number(f"{S}.start_wd"), keys.number(f"{S}.end_wd")
    if start is None and end is None:
        return own, ("constant", None)
    first, last = ((own or 0.0) if each is None else each for each in (start, end))
    names = (f"{S}.start_wd", f"{S}.end_wd")
    return scheduled_decay(keys, NemoAutomodel.title, names, keys.text(f"{S}.wd_incr_style"), own, first, last)
