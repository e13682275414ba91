"""Levanter (now in marin): optax's decay, lr_t * λ, or AdamC's lr_t^2 / lr_peak * λ (levanter/optim/config.py).

Its default mask spares embeddings, norms and biases; `weight_decay_modules` with `default_weight_decay_mask: true` adds
embeddings to what decays. `warmup` and `decay` up to 1 are fractions of the run, so a single step is written as
a fraction that rounds down to it. WSD is a linear or cosine schedule with `decay` set. This is the code after
levanter 1.1, which is of 2023 and has other keys.
"""

from itertools import pairwise
from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, same_decay
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.phase import MOST_PHASES, phases
from adamw_scale.frameworks.reading import Keys, chosen, keys_of
from adamw_scale.frameworks.spelling import betas_of, eps_of, lr_of, spared, value, whole, yaml_number
from adamw_scale.theory.parametrizations import EMBEDDING, GROUPS, HIDDEN, NORM_AND_BIAS, OUTPUT
from adamw_scale.theory.schedules import MAX_PIECES, POWER, Schedule

_NAMES = {
    "constant": "constant",
    "linear": "linear",
    "cosine": "cosine",
    "wsd": "linear",
    "wsd-cosine": "cosine",
    "cosine-restarts": "cosine",
    "inverse-sqrt": "inv_sqrt",
}
_READ = {**{spelled: spelled for spelled in ("constant", "linear", "cosine", "polynomial")}, "inv_sqrt": "inverse-sqrt"}
_TIMESCALE = 10_000.0  # of inv_sqrt, if not said
EMBEDDING_LAYERS = "Embedding.weight"  # class and attribute, as weight_decay_modules sees them
# What Levanter calls the weights of its Llama, and Llama's layers by class.
PATHS = {
    HIDDEN: (
        "transformer.layers.stacked.self_attn.q_proj.weight",
        "transformer.layers.stacked.mlp.down_proj.weight",
        "Linear.weight",
    ),
    EMBEDDING: ("embeddings.token_embeddings.weight", EMBEDDING_LAYERS),
    OUTPUT: ("lm_head.weight", "Linear.weight"),
    NORM_AND_BIAS: ("transformer.layers.stacked.ln_1.weight", "LayerNorm.weight", "Linear.bias"),
}
FIELDS = frozenset(
    {
        *("learning_rate", "weight_decay", "min_lr_ratio", "warmup", "decay", "rewarmup", "cooldown", "cycle_length"),
        *("cycles", "lr_schedule", "haps", "weight_decay_modules", "default_weight_decay_mask", "beta1", "beta2"),
        *("epsilon", "max_grad_norm", "nesterov", "update_rms_clipping", "clip_update_norm", "skip_bad_steps"),
        "adamc_weight_decay",
    }
)


class Levanter(Framework):
    """The optimizer and trainer sections of train_lm's YAML."""

    name = "levanter"
    title = "Levanter"
    language = "yaml"
    convention = "levanter"
    undecayed = frozenset({EMBEDDING, NORM_AND_BIAS})
    undecayed_by_default = "embeddings, LayerNorm, RMSNorm, and whatever ends in bias"
    grouping = "decay"
    how_to_group = "register an OptimizerConfig of your own that builds one optimizer per group"
    schedules = tuple(_NAMES)
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

    def has(self, schedule: Schedule) -> bool:
        """Restarts are listed by the steps where they end."""
        return super().has(schedule) and len(schedule.pieces) <= MOST_PHASES

    def write(self, config: Config) -> str:
        """YAML to merge into a train_lm config."""
        total, warmup = whole(config.total_steps), whole(config.warmup_steps)
        beta1, beta2 = betas_of(config)
        name = _NAMES[config.schedule or "constant"]
        ends = [phase.end for phase in phases(config) if phase.curve == "cosine"][:-1]
        rows = {
            "type": "adam",
            "learning_rate": yaml_number(lr_of(config)),
            "weight_decay": yaml_number(value(config.weight_decay)),
            **({"adamc_weight_decay": "true"} if config.weight_decay_schedule == "follows-lr" else {}),
            **_mask(spared(config)),
            "beta1": yaml_number(beta1),
            "beta2": yaml_number(beta2),
            "epsilon": yaml_number(eps_of(config)),
            "lr_schedule": f"{{type: inv_sqrt, timescale: {warmup}}}" if name == "inv_sqrt" else name,
            "min_lr_ratio": yaml_number(value(config.lr_schedule.floor)),
            "warmup": _steps(warmup, total),
            **({"decay": _steps(whole(config.decay_steps), total)} if config.decay_steps is not None else {}),
            **({"cycles": f"[{', '.join(map(str, ends))}]"} if config.schedule == "cosine-restarts" and ends else {}),
        }
        batch = {} if config.batch_size is None else {"train_batch_size": str(whole(config.batch_size))}
        length = {"seq_len": str(whole(config.sequence_length))} if config.sequence_length else {}
        sections = {"optimizer": rows, "trainer": {"num_train_steps": str(total), **batch}, "model": length}
        return "".join(
            f"{section}:\n" + "".join(f"  {key}: {text}\n" for key, text in content.items())
            for section, content in sections.items()
            if content
        )

    def read(self, document: Document) -> Config:
        """The sections, with Levanter's defaults where they say nothing."""
        keys = keys_of(document)
        kind = keys.text_or("optimizer", "adam", "optimizer.type")
        given = document.content.get("optimizer")
        _note_strangers(keys, given if isinstance(given, dict) else {})
        steps = keys.number_or("total_steps", 400_000.0, "trainer.num_train_steps")
        betas = keys.betas((0.9, 0.95), "optimizer.beta1", "optimizer.beta2")
        weight_decay = keys.number_or("weight_decay", 0.1, "optimizer.weight_decay")
        decaying = _decaying(keys)
        return Config(
            convention=chosen("optimizer.type", kind, {"adam": self.convention}, None) or self.convention,
            optimizer=kind,
            peak_lr=keys.number_or("peak_lr", 6e-4, "optimizer.learning_rate"),
            groups=same_decay(weight_decay, frozenset(GROUPS) - decaying),
            betas=betas,
            eps=keys.number_or("eps", 1e-8, "optimizer.epsilon"),
            **_read_schedule(keys, steps or 0.0),
            weight_decay_schedule="follows-lr" if keys.yes("optimizer.adamc_weight_decay") else "constant",
            total_steps=steps,
            unit="tokens",
            batch_size=_batch(keys),
            sequence_length=keys.number("train_seq_len", "model.seq_len", "model.max_seq_len"),
            **keys.noted(),
        )


def _steps(steps: int, total: int) -> str:
    """Whole steps; a single one as a fraction, since 1 is the whole run."""
    return yaml_number(value(1.5 / total)) if steps == 1 else str(steps)


def _mask(undecayed: frozenset[str]) -> dict[str, str]:
    """Keys that let decay what does not by default."""
    if not undecayed:
        return {"default_weight_decay_mask": "false"}
    if EMBEDDING in undecayed:
        return {}
    return {"weight_decay_modules": f'["{EMBEDDING_LAYERS}"]', "default_weight_decay_mask": "true"}


def _batch(keys: Keys) -> float | None:
    """train_batch_size, which may also be a schedule of its own."""
    if isinstance(keys.raw("trainer.train_batch_size"), list):
        message = "the batch has a schedule of its own, which is not read: lr and decay are judged without it"
        keys.note("batch-schedule", "trainer.train_batch_size", message, fix="say the batch you mean")
        return None
    return keys.number("trainer.train_batch_size")


def _decaying(keys: Keys) -> frozenset[str]:
    """Groups that decay: by the default mask, by weight_decay_modules, or by both."""
    modules, mask = keys.raw("optimizer.weight_decay_modules"), keys.yes("optimizer.default_weight_decay_mask")
    if modules is None:
        return frozenset(GROUPS) if mask is False else frozenset(GROUPS) - Levanter.undecayed
    by_default = frozenset(GROUPS) - Levanter.undecayed if mask else frozenset()
    named = {name for name, paths in PATHS.items() if any(_names(modules, path) for path in paths)}
    if named != {EMBEDDING}:
        message = (
            "weight_decay_modules says what decays by the names of your model's weights; it is judged by those "
            "of Levanter's Llama"
        )
        fix = "check the list of decayed weights that Levanter logs at its start"
        keys.note("decay-by-name", "optimizer.weight_decay_modules", message, fix)
    return by_default | named


def _names(modules: Any, path: str) -> bool:
    """Whether a list's words, or a regex of plain alternatives such as ".*attn.*weight|.*mlp.*", are in a path.

    A regex is not run as one, since it may be anybody's.
    """
    if isinstance(modules, list):
        return any(str(word) in path for word in modules)
    alternatives = [each.replace("\\", "").split(".*") for each in str(modules).split("|")]
    return any(path.startswith(words[0]) and all(word in path for word in words) for words in alternatives)


def _part(keys: Keys, key: str, total: float, default: float | None) -> float | None:
    """Steps of a duration that up to 1 is a fraction, rounded down as Levanter does."""
    given = keys.number(f"optimizer.{key}")
    given = default if given is None else given
    if given is None or given > 1:
        return given
    return float(int(given * total))


def _read_schedule(keys: Keys, total: float) -> dict[str, Any]:
    """Fields of a `Config` that say its schedule."""
    for key in ("warmup", "decay"):
        if keys.number(f"optimizer.{key}") == 1:
            message = f"{key}: 1 is the whole run and not one step: numbers up to 1 are fractions"
            fix = f"for one step write a fraction, {1.5 / total if total else 1e-5:.3g}; above 1 numbers are steps"
            keys.error("fraction-of-one", f"optimizer.{key}", message, fix)
    shaped = isinstance(keys.raw("optimizer.lr_schedule"), dict)
    name = keys.text("optimizer.lr_schedule.type") if shaped else keys.text("optimizer.lr_schedule")
    if name is None:
        keys.filled("schedule", "cosine", "optimizer.lr_schedule")
    kind = chosen("optimizer.lr_schedule", name, _READ, "cosine")
    if "optimizer.warmup" not in keys:
        keys.filled("warmup_steps", 0.01, "optimizer.warmup")
    warmup, falling = _part(keys, "warmup", total, 0.01) or 0.0, _part(keys, "decay", total, None)
    floor = keys.number_or("final_lr_fraction", 0.1, "optimizer.min_lr_ratio")
    fields: dict[str, Any] = {"schedule": kind, "warmup_steps": min(warmup, max(total - 1, 0.0))}
    cooldown = _part(keys, "cooldown", total, None)
    if cooldown:
        message = "cooldown is deprecated: it falls in a straight line after the schedule has ended, and shortens it"
        keys.warning("deprecated-key", "optimizer.cooldown", message, fix="write decay with lr_schedule: linear")
        if kind == "constant":
            kind, falling = "linear", cooldown
    if kind == "inverse-sqrt":
        return {**fields, **_inverse_sqrt(keys, shaped, warmup, total)}
    if kind == "constant" or falling == 0:
        return {**fields, "schedule": "constant"}
    fields["final_lr_fraction"] = floor
    if kind == "polynomial":
        fields["schedule_power"] = keys.number("optimizer.lr_schedule.power") or POWER
    elif falling is not None and warmup + falling < total:
        fields |= {"schedule": "wsd" if kind == "linear" else "wsd-cosine", "decay_steps": falling}
    elif kind == "cosine":
        fields |= {"schedule": kind, **_read_cycles(keys, warmup, total)}
    return {"schedule": kind, **fields}


def _inverse_sqrt(keys: Keys, shaped: bool, warmup: float, total: float) -> dict[str, Any]:
    """Fields of inv_sqrt, which stays at the peak until its timescale."""
    timescale = (keys.number("optimizer.lr_schedule.timescale") if shaped else None) or _TIMESCALE
    if timescale >= total:
        message = (
            f"inv_sqrt starts to fall at its timescale, step {timescale:g}, which this run of {total:g} does not reach"
        )
        fix = "write lr_schedule: {type: inv_sqrt, timescale: ...} with the steps of the warm-up"
        keys.warning("never-decays", "optimizer.lr_schedule", message, fix)
        return {"schedule": "constant"}
    if timescale == warmup:
        return {}
    points = [(number / 256, number / 256 * total) for number in range(257)]
    rising = warmup or 1.0
    table = [(at, min(1.0, step / rising, (timescale / max(step, 1.0)) ** 0.5)) for at, step in points]
    if not warmup:
        table[0] = (0.0, 1.0)
    return {"schedule": "table", "schedule_table": tuple(table), "warmup_steps": None}


def _read_cycles(keys: Keys, warmup: float, total: float) -> dict[str, Any]:
    """Restarts, whose lengths are taken to grow by one factor."""
    ends = _ends(keys, total)
    if len(ends) < 2 or sorted({warmup, *ends}) != [warmup, *ends]:
        return {}
    lengths = [end - start for start, end in pairwise([warmup, *ends])]
    growth = (lengths[-1] / lengths[0]) ** (1 / (len(lengths) - 1))
    if any(abs(later / earlier / growth - 1) > 0.1 for earlier, later in pairwise(lengths)):
        message = f"the lengths of the cycles grow by no one factor; they are judged as if it were {growth:.3g}"
        keys.note("uneven-cycles", "optimizer.cycles", message, fix="nothing to do if they are meant")
    return {"schedule": "cosine-restarts", "cycles": len(lengths), "cycle_growth": growth}


def _ends(keys: Keys, total: float) -> list[float]:
    """Steps at which cycles end: listed, a number of cycles, or their length."""
    cycles, length = keys.raw("optimizer.cycles"), _part(keys, "cycle_length", total, None)
    if isinstance(cycles, list):
        ends = [Keys({"cycles": each}).number("cycles") or 0.0 for each in cycles]
    elif cycles is not None:
        count = min(keys.number("optimizer.cycles") or 1.0, MAX_PIECES, total)
        ends = [total / count * number for number in range(1, int(count))]
    elif length and total / length <= MAX_PIECES:
        ends = [length * number for number in range(1, int(total // length))]
    else:
        ends = []
    return [*(end for end in ends if end < total), total]


def _note_strangers(keys: Keys, given: dict[str, Any]) -> None:
    """Keys of the optimizer that Levanter does not know."""
    unknown = [str(key)[:40] for key in given if key not in FIELDS | {"type"}]
    if unknown and str(given.get("type", "adam")) == "adam":
        message = f"Levanter's adam does not know {', '.join(unknown[:5])} and refuses the config"
        fix = "use its own names: learning_rate, weight_decay, beta1, beta2, epsilon, warmup, decay, min_lr_ratio"
        keys.error("refused-key", f"optimizer.{unknown[0]}", message, fix)
