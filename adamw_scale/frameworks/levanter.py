"""Levanter (now in marin): optax's decay, lr_t * λ, or AdamC's lr_t^2 / lr_peak * λ (levanter/optim/config.py).

Its default mask spares embeddings, norms and biases; `weight_decay_modules` with `default_weight_decay_mask: true` adds
embeddings to what decays. `warmup` and `decay` up to 1 are fractions of the run, so a single step is written as
a fraction that rounds down to it. WSD is a linear or cosine schedule with `decay` set. This is the code after
levanter 1.1, which is of 2023 and has other keys.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Mend
from adamw_scale.frameworks.group_names import groups_matched
from adamw_scale.frameworks.phase import MOST_PHASES, phases
from adamw_scale.frameworks.reading import Keys, chosen
from adamw_scale.frameworks.spelling import spared, value, whole
from adamw_scale.frameworks.table import Table, Trap, key
from adamw_scale.theory.parametrizations import EMBEDDING, GROUPS, HIDDEN, NORM_AND_BIAS, OUTPUT
from adamw_scale.theory.schedules import MAX_PIECES, POWER, Schedule

SHAPE = "optimizer.lr_schedule"
WSD = {"linear": "wsd", "cosine": "wsd-cosine"}
KINDS = {**{name: name for name in ("constant", "linear", "cosine", "polynomial")}, "inv_sqrt": "inverse-sqrt"}
TIMESCALE, POINTS = 10_000.0, 256  # of inv_sqrt, if not said; of a table that stands for it
EMBEDDING_LAYERS = "Embedding.weight"  # class and attribute, as weight_decay_modules sees them
# What Levanter calls the weights of its Llama, and Llama's layers by class.
LAYERS = "transformer.layers.stacked."
PATHS = {
    HIDDEN: f"{LAYERS}self_attn.q_proj.weight {LAYERS}mlp.down_proj.weight Linear.weight",
    EMBEDDING: f"embeddings.token_embeddings.weight {EMBEDDING_LAYERS}",
    OUTPUT: "lm_head.weight Linear.weight",
    NORM_AND_BIAS: f"{LAYERS}ln_1.weight LayerNorm.weight Linear.bias",
}
FIELDS = frozenset(
    {
        *("learning_rate", "weight_decay", "min_lr_ratio", "warmup", "decay", "rewarmup", "cooldown", "cycle_length"),
        *("cycles", "lr_schedule", "haps", "weight_decay_modules", "default_weight_decay_mask", "beta1", "beta2"),
        *("epsilon", "max_grad_norm", "nesterov", "update_rms_clipping", "clip_update_norm", "skip_bad_steps"),
        "adamc_weight_decay",
    }
)
OWN_NAMES = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "eps": "epsilon",
    "adam_beta1": "beta1",
    "adam_beta2": "beta2",
}


def _named(keys: Keys) -> frozenset[str]:
    """Groups that weight_decay_modules names: by the words of a list, or by a regex."""
    given = keys.raw("optimizer.weight_decay_modules")
    if given is None or isinstance(given, list):
        return frozenset().union(*(groups_matched(str(word), PATHS) for word in given or ()))
    return groups_matched(str(given), PATHS, from_start=True)


def _is_one(path: str) -> Callable[[Keys], bool]:
    return lambda keys: keys.number(path) == 1


class Levanter(Table):
    """The optimizer and trainer sections of train_lm's YAML."""

    name = "levanter"
    title = "Levanter"
    language = "yaml"
    convention = "levanter"
    undecayed = frozenset({EMBEDDING, NORM_AND_BIAS})
    undecayed_by_default = "embeddings, LayerNorm, RMSNorm, and whatever ends in bias"
    grouping = "decay"
    how_to_group = "register an OptimizerConfig of your own that builds one optimizer per group"
    schedules = ("constant", "linear", "cosine", "wsd", "wsd-cosine", "cosine-restarts", "inverse-sqrt")
    weight_decay_schedules = ("constant", "follows-lr")
    reads = "the YAML of train_lm, or its command line"
    signs = frozenset(
        {
            *("num_train_steps", "min_lr_ratio", "adamc_weight_decay", "weight_decay_modules", "rewarmup"),
            *("default_weight_decay_mask", "optimizer.learning_rate"),
            *("trainer.num_train_steps", "trainer.train_batch_size"),
        }
    )
    scripts = r"\blevanter[./]main[./]\w+"
    formats = frozenset({"YAML", "shell arguments"})
    proven = "levanter 1.2.dev1644"
    unit = "tokens"

    keys = {
        "optimizer": key("optimizer.type", default="adam"),
        "peak_lr": key("optimizer.learning_rate", default=6e-4),
        "weight_decay": key("optimizer.weight_decay", default=0.1),
        "weight_decay_schedule": key("optimizer.adamc_weight_decay"),
        "modules": key("optimizer.weight_decay_modules"),
        "mask": key("optimizer.default_weight_decay_mask"),
        "beta1": key("optimizer.beta1", default=0.9),
        "beta2": key("optimizer.beta2", default=0.95),
        "eps": key("optimizer.epsilon", default=1e-8),
        "schedule": key(SHAPE, default="cosine"),
        "final_lr_fraction": key("optimizer.min_lr_ratio", default=0.1),
        "warmup_steps": key("optimizer.warmup", default=0.01),
        "decay_steps": key("optimizer.decay"),
        "cycles": key("optimizer.cycles"),
        "total_steps": key("trainer.num_train_steps", default=400_000.0),
        "batch_size": key("trainer.train_batch_size"),
        "sequence_length": key("model.seq_len", "train_seq_len", "model.max_seq_len"),
    }
    optimizers = {"adam": "levanter"}
    traps = (
        *(
            Trap(
                "error",
                "fraction-of-one",
                f"optimizer.{name}",
                f"{name}: 1 is the whole run and not one step: numbers up to 1 are fractions",
                "for one step write 1.5 over the steps of the run; above 1 numbers are steps",
                _is_one(f"optimizer.{name}"),
            )
            for name in ("warmup", "decay")
        ),
        Trap("warning", "deprecated-key", "optimizer.cooldown",
             "cooldown is deprecated: it falls in a straight line after the schedule has ended, and shortens it",
             "write decay with lr_schedule: linear", lambda keys: keys.number("optimizer.cooldown")),
        Trap("note", "batch-schedule", "trainer.train_batch_size",
             "the batch has a schedule of its own, which is not read: lr and decay are judged without it",
             "say the batch you mean", lambda keys: isinstance(keys.raw("trainer.train_batch_size"), list)),
        Trap("note", "decay-by-name", "optimizer.weight_decay_modules",
             "what decays is told by the names of your model's weights, and judged by those of Levanter's Llama",
             "check the list of decayed weights that Levanter logs at its start",
             lambda keys: "optimizer.weight_decay_modules" in keys and _named(keys) != {EMBEDDING}),
    )  # fmt: skip

    def has(self, schedule: Schedule) -> bool:
        """Restarts are listed by the steps where they end."""
        return super().has(schedule) and len(schedule.pieces) <= MOST_PHASES

    def find(self, document: Document) -> Keys:
        """Keys, of which Levanter refuses those that its adam does not know."""
        keys, given = super().find(document), document.content.get("optimizer")
        if isinstance(given, dict) and str(given.get("type", "adam")) == "adam":
            for name in [str(each)[:40] for each in given if each not in FIELDS | {"type"}][:5]:
                mend = Mend(key=name, name=OWN_NAMES[name]) if OWN_NAMES.get(name, name) not in given else None
                message = f"Levanter's adam does not know {name} and refuses the config"
                fix = "use its own names: learning_rate, weight_decay, beta1, beta2, epsilon, warmup, decay"
                keys.error("refused-key", f"optimizer.{name}", message, fix, mend)
        return keys

    def number(self, keys: Keys, field: str, filling: str | None = None) -> float | None:
        """A batch with a schedule of its own is not known."""
        if field == "batch_size" and isinstance(keys.raw(*self.keys[field].names), list):
            return None
        return super().number(keys, field, filling)

    def task(self, keys: Keys, document: Document) -> str | None:
        """LoRA by its section, which lora_lm.py reads; finetuning where a model of Hugging Face is started from."""
        if isinstance(keys.raw("lora"), dict):
            return "lora"
        named = str(keys.raw("model_name_or_path", "initialize_from_hf")).lower() not in ("none", "false")
        return "finetuning" if named else None

    def spares(self, keys: Keys) -> frozenset[str]:
        """Groups that neither the default mask nor weight_decay_modules lets decay."""
        mask = keys.yes("optimizer.default_weight_decay_mask")
        if "optimizer.weight_decay_modules" not in keys:
            return frozenset() if mask is False else self.undecayed
        return (self.undecayed if mask else frozenset(GROUPS)) - _named(keys)

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """Durations up to 1 are fractions; a fall that starts late makes WSD."""
        total, own = steps or 0.0, "follows-lr" if keys.yes("optimizer.adamc_weight_decay") else "constant"
        shaped = isinstance(keys.raw(SHAPE), dict)
        kind = chosen(SHAPE, keys.text(f"{SHAPE}.type") if shaped else self.word(keys, "schedule"), KINDS, "cosine")
        warmup = _whole_steps(self.number(keys, "warmup_steps"), total) or 0.0
        falling = _whole_steps(self.number(keys, "decay_steps"), total)
        cooldown = _whole_steps(keys.number("optimizer.cooldown"), total)
        floor = self.number(keys, "final_lr_fraction")
        if kind == "constant" and cooldown:
            kind, falling = "linear", cooldown
        fields: dict[str, Any] = {"weight_decay_schedule": own, "warmup_steps": min(warmup, max(total - 1, 0.0))}
        if kind == "inverse-sqrt":
            return {"schedule": kind, **fields, **_inverse_sqrt(keys, shaped, warmup, total)}
        if kind == "constant" or falling == 0:
            return {"schedule": "constant", **fields}
        fields["final_lr_fraction"] = floor
        if kind == "polynomial":
            fields["schedule_power"] = keys.number(f"{SHAPE}.power") or POWER
        elif kind in WSD and falling is not None and warmup + falling < total:
            return {"schedule": WSD[kind], "decay_steps": falling, **fields}
        return {"schedule": kind, **fields, **(_cycles(keys, warmup, total) if kind == "cosine" else {})}

    def spelled(self, field: str, config: Config) -> str | None:
        """With the mask; a single step as a fraction, since 1 is the whole run."""
        spares, name = spared(config), config.schedule or "constant"
        ends = [str(each.end) for each in phases(config) if each.curve == "cosine"][:-1]
        shape = {**{wsd: curve for curve, wsd in WSD.items()}, "cosine-restarts": "cosine"}.get(name, name)
        own: dict[str, str | None] = {
            "weight_decay_schedule": "true" if config.weight_decay_schedule == "follows-lr" else None,
            "modules": f'["{EMBEDDING_LAYERS}"]' if spares and EMBEDDING not in spares else None,
            "mask": "false" if not spares else None if EMBEDDING in spares else "true",
            "schedule": f"{{type: inv_sqrt, timescale: {whole(config.warmup_steps)}}}"
            if name == "inverse-sqrt"
            else shape,
            "final_lr_fraction": value(config.lr_schedule.floor),
            "cycles": f"[{', '.join(ends)}]" if name == "cosine-restarts" and ends else None,
        }
        text = own[field] if field in own else super().spelled(field, config)
        steps = field in ("warmup_steps", "decay_steps") and text == "1"
        return value(1.5 / whole(config.total_steps)) if steps else text


def _whole_steps(duration: float | None, total: float) -> float | None:
    """Steps of a duration that up to 1 is a fraction, rounded down as Levanter does."""
    return duration if duration is None or duration > 1 else float(int(duration * total))


def _inverse_sqrt(keys: Keys, shaped: bool, warmup: float, total: float) -> dict[str, Any]:
    """Fields of inv_sqrt, which stays at the peak until its timescale."""
    timescale = (keys.number(f"{SHAPE}.timescale") if shaped else None) or TIMESCALE
    if timescale >= total:
        message = f"inv_sqrt starts to fall at its timescale, step {timescale:g}, and this run has {total:g}"
        fix = "write lr_schedule: {type: inv_sqrt, timescale: ...} with the steps of the warm-up"
        keys.warning("never-decays", SHAPE, message, fix)
        return {"schedule": "constant"}
    if timescale == warmup:
        return {}
    steps = [number / POINTS * total for number in range(POINTS + 1)]
    table = [(at / total, min(1.0, at / (warmup or 1.0), (timescale / max(at, 1.0)) ** 0.5)) for at in steps]
    if not warmup:
        table[0] = (0.0, 1.0)
    return {"schedule": "table", "schedule_table": tuple(table), "warmup_steps": None}


def _cycles(keys: Keys, warmup: float, total: float) -> dict[str, Any]:
    """Restarts, whose lengths are taken to grow by one factor: they are listed, or a number, or of one length."""
    cycles, length = keys.raw("optimizer.cycles"), _whole_steps(keys.number("optimizer.cycle_length"), total)
    ends: list[float] = []
    if isinstance(cycles, list):
        ends = [Keys({"cycles": each}).number("cycles") or 0.0 for each in cycles]
    elif cycles is not None:
        count = min(keys.number("optimizer.cycles") or 1.0, MAX_PIECES, total)
        ends = [total / count * number for number in range(1, int(count))]
    elif length and total / length <= MAX_PIECES:
        ends = [length * number for number in range(1, int(total // length))]
    ends = [warmup, *(end for end in ends if end < total), total]
    if len(ends) < 3 or sorted(set(ends)) != ends:
        return {}
    lengths = [end - start for start, end in pairwise(ends)]
    growth = (lengths[-1] / lengths[0]) ** (1 / (len(lengths) - 1))
    if any(abs(later / earlier / growth - 1) > 0.1 for earlier, later in pairwise(lengths)):
        message = f"the lengths of the cycles grow by no one factor; they are judged as if it were {growth:.3g}"
        keys.note("uneven-cycles", "optimizer.cycles", message, fix="nothing to do if they are meant")
    return {"schedule": "cosine-restarts", "cycles": len(lengths), "cycle_growth": growth}
