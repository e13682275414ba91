"""LLM Foundry: Composer's DecoupledAdamW, decay lr / initial_lr * weight_decay, from YAML.

Everything decays, embeddings, norms and biases too, unless `param_groups` say otherwise: each takes the parameters
whose names its regular expression finds, the first that does (utils/builders.py). There is no scheduler called WSD;
inv_sqrt_with_warmup with alpha_f_decay 1 is constant and then falls straight (optim/scheduler.py). As everywhere in
Composer, each step runs at the lr of the one before.
"""

import re
from collections import Counter
from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.composer import BETAS, EPS, LR, WEIGHT_DECAY, Duration, part_of_run, read_time, run_length
from adamw_scale.frameworks.config import Config, Group
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.reading import Keys, chosen, keys_of
from adamw_scale.frameworks.spelling import betas_of, eps_of, lr_of, value, whole, yaml_number
from adamw_scale.theory.parametrizations import EMBEDDING, GROUPS, HIDDEN, NORM_AND_BIAS, OUTPUT

_SCHEDULERS = {
    "constant": "constant_with_warmup",
    "linear": "linear_decay_with_warmup",
    "cosine": "cosine_with_warmup",
    "wsd": "inv_sqrt_with_warmup",
    "inverse-sqrt": "inv_sqrt_with_warmup",
}
_READ_SCHEDULERS = {spelled: name for name, spelled in _SCHEDULERS.items()}
_OPTIMIZERS = dict.fromkeys(("decoupled_adamw", "decoupled_lionw", "adalr_lion", "clip_lion"), "composer")
# What names of tensors are searched for, in this order; hidden matrices are whatever is left.
_MATCHES = {NORM_AND_BIAS: r"norm|ln_|bias$", EMBEDDING: "wte|wpe|embed", OUTPUT: "lm_head", HIDDEN: "."}
# Names by which groups of a config are told apart: of MPT, and of Hugging Face models.
_NAMES = {
    NORM_AND_BIAS: (
        "model.transformer.blocks.0.norm_1.weight",
        "model.transformer.blocks.0.ffn.up_proj.bias",
        "model.layers.0.input_layernorm.weight",
    ),
    EMBEDDING: ("model.transformer.wte.weight", "model.embed_tokens.weight"),
    OUTPUT: ("model.lm_head.weight", "lm_head.weight"),
    HIDDEN: (
        "model.transformer.blocks.0.attn.Wqkv.weight",
        "model.transformer.blocks.0.ffn.down_proj.weight",
        "model.layers.0.mlp.up_proj.weight",
    ),
}
MOST_REPEATS = 3  # in a config's regular expression; with repeats of groups, one could run forever


class LLMFoundry(Framework):
    """Keys of a YAML for scripts/train/train.py."""

    name = "llm-foundry"
    title = "LLM Foundry"
    language = "yaml"
    convention = "composer"
    undecayed_by_default = "nothing: embeddings, norms and biases decay too"
    grouping = "all"
    schedules = tuple(_SCHEDULERS)
    reads = "YAML for scripts/train/train.py"
    signs = frozenset(
        {
            *("global_train_batch_size", "device_train_microbatch_size", "max_duration", "t_warmup"),
            *("param_str_match", "eval_first", "icl_tasks", "max_seq_len"),
        }
    )
    formats = frozenset({"YAML"})
    proven = "mosaicml 0.32, llm-foundry 0.22"

    def write(self, config: Config) -> str:
        """The optimizer, its groups, the scheduler, duration and batch."""
        (beta1, beta2), rows = betas_of(config), _group_rows(config)
        lines = [
            "optimizer:",
            "  name: decoupled_adamw",
            f"  lr: {yaml_number(lr_of(config))}",
            f"  betas: [{yaml_number(beta1)}, {yaml_number(beta2)}]",
            f"  eps: {yaml_number(eps_of(config))}",
            f"  weight_decay: {yaml_number(value(config.weight_decay))}",
            *(["  param_groups:  # by name; the first that matches counts"] if rows else []),
            *rows,
            "scheduler:",
            f"  name: {_SCHEDULERS[config.schedule or 'constant']}",
            *(f"  {key}: {text}" for key, text in _scheduler_rows(config).items()),
            f"max_duration: {whole(config.total_steps)}ba",
            *([f"global_train_batch_size: {whole(config.batch_size)}"] if config.batch_size else []),
            *([f"max_seq_len: {whole(config.sequence_length)}"] if config.sequence_length else []),
        ]
        return "".join(f"{line}\n" for line in lines)

    def read(self, document: Document) -> Config:
        """The keys, with the defaults of DecoupledAdamW and of the schedulers where they say nothing."""
        keys = keys_of(document)
        optimizer = keys.text_or("optimizer", "decoupled_adamw", "optimizer.name")
        peak_lr = keys.number_or("peak_lr", LR, "optimizer.lr")
        weight_decay = keys.number_or("weight_decay", WEIGHT_DECAY, "optimizer.weight_decay")
        eps = keys.number_or("eps", EPS, "optimizer.eps")
        total = read_time(keys, "max_duration")
        fields = _read_scheduler(keys, total)
        return Config(
            convention=chosen("optimizer.name", optimizer, _OPTIMIZERS, None) or self.convention,
            optimizer=optimizer,
            peak_lr=peak_lr,
            groups=_read_groups(keys, Keys({"lr": peak_lr, "weight_decay": weight_decay, "eps": eps})),
            betas=keys.pair_or("betas", BETAS, "optimizer.betas"),
            eps=eps,
            **fields,
            **run_length(total),
            unit="tokens",
            packed=_packed(keys),
            task=_task(keys),
            batch_size=keys.number("global_train_batch_size"),
            sequence_length=keys.number("max_seq_len", "variables.max_seq_len", "model.max_seq_len"),
            **keys.noted(),
        )


ADAPTERS = ("model.peft_config", "peft_config", "model.peft", "peft", "lora")
FINETUNING = "finetuning"  # the loader's name for rows of prompts and responses


def _task(keys: Keys) -> str | None:
    """LoRA by its section, the finetuning of a model by its loader."""
    if any(isinstance(keys.raw(path), dict) for path in ADAPTERS):
        return "lora"
    return "finetuning" if keys.text("train_loader.name") == FINETUNING else None


def _packed(keys: Keys) -> bool | None:
    """Whether the finetuning loader packs rows, which it does by a ratio, a number or "auto"."""
    if keys.text("train_loader.name") != FINETUNING:
        return None
    given = keys.source("train_loader.dataset.packing_ratio") is not None
    return True if given else keys.filled("packed", False, "train_loader.dataset")


def _group_rows(config: Config) -> list[str]:
    """One group for each kind of tensor that is unlike the optimizer's own; all, where hidden matrices are."""
    rows = []
    hidden = config.group(HIDDEN)
    each = hidden.lr_factor != 1 or hidden.eps_factor != 1
    for name, match in _MATCHES.items():
        group = config.group(name)
        values = {}
        if each or group.lr_factor != 1:
            values["lr"] = (config.peak_lr or 0) * group.lr_factor
        if each or group.weight_decay != config.weight_decay:
            values["weight_decay"] = group.weight_decay
        if group.eps_factor != 1:
            values["eps"] = (config.eps or 0) * group.eps_factor
        if values:
            rows.append(f"    - param_str_match: '{match}'")
            rows += [f"      {key}: {yaml_number(value(number))}" for key, number in values.items()]
    return rows


def _scheduler_rows(config: Config) -> dict[str, str]:
    """Arguments of the scheduler; every time in batches, as max_duration."""
    warmup, floor = whole(config.warmup_steps), yaml_number(value(config.lr_schedule.floor))
    rows = {"t_warmup": f"{warmup}ba"}
    if config.schedule in ("linear", "cosine"):
        rows["alpha_f"] = floor
    if config.schedule == "wsd":
        rows |= {"t_scale": "1ba", "t_cooldown": f"{whole(config.decay_steps)}ba"}
        rows |= {"alpha_f_decay": "1.0", "alpha_f_cooldown": floor}
    if config.schedule == "inverse-sqrt":
        rows |= {"t_scale": f"{warmup}ba", "t_cooldown": "0ba"}
    return rows


def _read_scheduler(keys: Keys, total: Duration | None) -> dict[str, Any]:
    """Schedule fields; of inv_sqrt_with_warmup what is WSD or the plain inverse square root, else no schedule."""
    spelled = keys.text("scheduler.name")
    name = chosen("scheduler.name", spelled, _READ_SCHEDULERS, None)
    if name is None:
        return {}
    warmup = read_time(keys, "scheduler.t_warmup")
    _note_units(keys, warmup, total, in_run_units=spelled == "inv_sqrt_with_warmup")
    fields: dict[str, Any] = {"schedule": name, **part_of_run(warmup, total), **_other_end(keys, total)}
    if name in ("linear", "cosine"):
        fields["final_lr_fraction"] = keys.number_or("final_lr_fraction", 0.0, "scheduler.alpha_f")
    if spelled != "inv_sqrt_with_warmup":
        return fields
    scale, cooldown = (read_time(keys, f"scheduler.{key}") for key in ("t_scale", "t_cooldown"))
    if keys.number("scheduler.alpha_f_decay") == 1.0 and cooldown is not None:
        part = part_of_run(cooldown, total)
        return {
            **fields,
            "schedule": "wsd",
            "final_lr_fraction": keys.number("scheduler.alpha_f_cooldown") or 0.0,
            "decay_steps": part.get("warmup_steps"),
            "decay_fraction": part.get("warmup_fraction"),
        }
    plain = scale == warmup and cooldown is not None and cooldown.amount == 0 and "scheduler.alpha_f_decay" not in keys
    return {**fields, "schedule": "inverse-sqrt"} if plain else {}


def _note_units(keys: Keys, warmup: Duration | None, total: Duration | None, *, in_run_units: bool) -> None:
    """Composer subtracts the warm-up from the run, and refuses if one counts batches and the other tokens."""
    if warmup is None or total is None or warmup.unit == total.unit:
        return
    steps = {"ba", "ep"}
    if not in_run_units and (warmup.unit == "dur" or {warmup.unit, total.unit} <= steps):
        return
    message = f"t_warmup counts in {warmup.unit!r} and max_duration in {total.unit!r}: the scheduler refuses that"
    keys.error("time-units", "scheduler.t_warmup", message, fix=f"write t_warmup in {total.unit!r}")


def _other_end(keys: Keys, total: Duration | None) -> dict[str, Any]:
    """Where a scheduler ends, if elsewhere than the run; no schedule where the two cannot be compared in steps."""
    end = read_time(keys, "scheduler.t_max")
    if end is None or total is None or end in (total, Duration(1.0, "dur")):
        return {}
    message = (
        f"t_max is {end.amount:g}{end.unit} and max_duration {total.amount:g}{total.unit}: a shorter t_max is "
        "refused, with a longer one the fall is cut off"
    )
    keys.warning("other-end", "scheduler.t_max", message, fix="leave t_max out, which is 1dur")
    return {"schedule_end": end.amount} if end.unit == total.unit == "ba" else {"schedule": None}


def _read_groups(keys: Keys, own: Keys) -> tuple[Group, ...]:
    """What each kind of tensor gets, found by the names that tensors of its kind have."""
    listed = keys.raw("optimizer.param_groups")
    rows = [Keys(row) for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    patterns = [_pattern(row, keys) for row in rows]
    lr, weight_decay, eps = (own.number(key) or 0.0 for key in ("lr", "weight_decay", "eps"))
    groups = []
    for name in GROUPS:
        hits = Counter(next((i for i, p in enumerate(patterns) if p and p.search(each)), -1) for each in _NAMES[name])
        index = hits.most_common(1)[0][0]
        row = Keys({}) if index < 0 else rows[index]
        decay = row.number("weight_decay")
        groups.append(
            Group(
                group=name,
                weight_decay=weight_decay if decay is None else decay,
                lr_factor=(row.number("lr") or lr) / lr if lr else 1.0,
                eps_factor=(row.number("eps") or eps) / eps if eps else 1.0,
            )
        )
    return tuple(groups)


def _pattern(row: Keys, keys: Keys) -> re.Pattern[str] | None:
    """A group's regular expression; None for one that could take forever, or is none."""
    text = row.text("param_str_match") or ""
    try:
        if text and len(re.findall(r"[+*{?]", text)) <= MOST_REPEATS and not re.search(r"\)[+*{?]", text):
            return re.compile(text)
    except re.error:
        pass
    message = "a group of param_groups was left out: its param_str_match is missing, broken or too intricate"
    fix = "match by plain parts of names, such as norm|bias$"
    keys.note("group-unread", "optimizer.param_groups", message, fix)
    return None
