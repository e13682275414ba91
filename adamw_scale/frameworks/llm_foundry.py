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
from adamw_scale.frameworks.composer import DECOUPLED_ADAMW, Duration, part_of_run, read_time, run_length
from adamw_scale.frameworks.config import Config, Group
from adamw_scale.frameworks.reading import Keys, chosen, keys_of
from adamw_scale.frameworks.spelling import value, whole, yaml_number
from adamw_scale.frameworks.table import Table, key
from adamw_scale.theory.parametrizations import EMBEDDING, GROUPS, HIDDEN, NORM_AND_BIAS, OUTPUT

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


ADAPTERS = ("model.peft_config", "peft_config", "model.peft", "peft", "lora")
FINETUNING = "finetuning"  # the loader's name for rows of prompts and responses
PARAM_GROUPS, S = "optimizer.param_groups", "scheduler"


class LLMFoundry(Table):
    """Keys of a YAML for scripts/train/train.py."""

    name = "llm-foundry"
    title = "LLM Foundry"
    language = "yaml"
    convention = "composer"
    undecayed_by_default = "nothing: embeddings, norms and biases decay too"
    grouping = "all"
    schedules = ("constant", "linear", "cosine", "wsd", "inverse-sqrt")
    reads = "YAML for scripts/train/train.py"
    signs = frozenset(
        {
            *("global_train_batch_size", "device_train_microbatch_size", "max_duration", "t_warmup"),
            *("param_str_match", "eval_first", "icl_tasks", "max_seq_len"),
        }
    )
    formats = frozenset({"YAML"})
    proven = "mosaicml 0.32, llm-foundry 0.22"

    unit = "tokens"

    keys = {
        "optimizer": key("optimizer.name", default="decoupled_adamw"),
        "peak_lr": key("optimizer.lr"),
        "betas": key("optimizer.betas"),
        "eps": key("optimizer.eps"),
        "weight_decay": key("optimizer.weight_decay"),
        "schedule": key(f"{S}.name"),
        "warmup_steps": key(f"{S}.t_warmup"),
        "final_lr_fraction": key(f"{S}.alpha_f", default=0.0),
        "scale": key(f"{S}.t_scale"),
        "decay_steps": key(f"{S}.t_cooldown"),
        "before": key(f"{S}.alpha_f_decay"),
        "after": key(f"{S}.alpha_f_cooldown"),
        "duration": key("max_duration"),
        "batch_size": key("global_train_batch_size"),
        "sequence_length": key("max_seq_len", "variables.max_seq_len", "model.max_seq_len"),
    }
    optimizers = dict.fromkeys(("decoupled_adamw", "decoupled_lionw", "adalr_lion", "clip_lion"), DECOUPLED_ADAMW)
    words = {
        "constant": ("constant_with_warmup",),
        "linear": ("linear_decay_with_warmup",),
        "cosine": ("cosine_with_warmup",),
        "wsd": ("inv_sqrt_with_warmup",),
        "inverse-sqrt": ("inv_sqrt_with_warmup",),
    }

    def find(self, document: Document) -> Keys:
        """Keys, which are below `parameters` in what MosaicML's platform takes."""
        inner = document.content.get("parameters")
        if isinstance(inner, dict) and isinstance(inner.get("optimizer"), dict):
            return keys_of(document._replace(content=inner))
        return keys_of(document)

    def fields(self, keys: Keys, document: Document) -> dict[str, Any]:
        """With the run's duration, in whatever it counts."""
        return {**super().fields(keys, document), **run_length(read_time(keys, "max_duration"))}

    def task(self, keys: Keys, document: Document) -> str | None:
        """LoRA by its section, the finetuning of a model by its loader."""
        if any(isinstance(keys.raw(path), dict) for path in ADAPTERS):
            return "lora"
        return "finetuning" if keys.text("train_loader.name") == FINETUNING else None

    def packed(self, keys: Keys, document: Document) -> bool | None:
        """By the finetuning loader, which does it by a ratio, a number or "auto"."""
        if keys.text("train_loader.name") != FINETUNING:
            return None
        given = keys.source("train_loader.dataset.packing_ratio") is not None
        return True if given else keys.filled("packed", False, "train_loader.dataset")

    def grouped(
        self, keys: Keys, document: Document, peak_lr: float | None, weight_decay: float | None, eps: float | None
    ) -> dict[str, Any]:
        """What each kind of tensor gets, found by the names that tensors of its kind have."""
        listed = keys.raw(PARAM_GROUPS)
        rows = [Keys(row) for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
        patterns = [_pattern(row, keys) for row in rows]
        groups = []
        for name in GROUPS:
            hits = Counter(
                next((i for i, p in enumerate(patterns) if p and p.search(each)), -1) for each in _NAMES[name]
            )
            index = hits.most_common(1)[0][0]
            row = Keys({}) if index < 0 else rows[index]
            decay = row.number("weight_decay")
            groups.append(
                Group(
                    group=name,
                    weight_decay=(weight_decay or 0.0) if decay is None else decay,
                    lr_factor=(row.number("lr") or peak_lr) / peak_lr if peak_lr else 1.0,
                    eps_factor=(row.number("eps") or eps) / eps if eps else 1.0,
                )
            )
        return {"groups": tuple(groups)}

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """Of inv_sqrt_with_warmup what is WSD or the plain inverse square root, else no schedule."""
        known = {spelled: name for name, (spelled,) in self.words.items()}
        name = chosen(f"{S}.name", keys.text(f"{S}.name"), known, None)
        if name is None:
            return {}
        total, warmup = (read_time(keys, path) for path in ("max_duration", f"{S}.t_warmup"))
        plain = name == "inverse-sqrt"
        _note_units(keys, warmup, total, in_run_units=plain)
        fields: dict[str, Any] = {"schedule": name, **part_of_run(warmup, total), **_other_end(keys, total)}
        if name in ("linear", "cosine"):
            fields["final_lr_fraction"] = self.number(keys, "final_lr_fraction")
        if not plain:
            return fields
        scale, cooldown = (read_time(keys, f"{S}.{name}") for name in ("t_scale", "t_cooldown"))
        if keys.number(f"{S}.alpha_f_decay") == 1.0 and cooldown is not None:
            part = part_of_run(cooldown, total)
            return {
                **fields,
                "schedule": "wsd",
                "final_lr_fraction": keys.number(f"{S}.alpha_f_cooldown") or 0.0,
                "decay_steps": part.get("warmup_steps"),
                "decay_fraction": part.get("warmup_fraction"),
            }
        ends = cooldown is None or cooldown.amount != 0 or f"{S}.alpha_f_decay" in keys
        return {} if ends or scale != warmup else fields

    def write(self, config: Config) -> str:
        """The optimizer, its groups, the scheduler, duration and batch."""
        about = "  # by name; the first that matches counts"
        return super().write(config).replace("param_groups:\n", f"param_groups:{about}\n")

    def rows(self, config: Config) -> dict[str, Any]:
        """With a group for each kind of tensor that is unlike the optimizer's own; all, where hidden matrices are."""
        listed = []
        hidden = config.group(HIDDEN)
        each = hidden.lr_factor != 1 or hidden.eps_factor != 1
        for name, match in _MATCHES.items():
            group, own = config.group(name), {}
            if each or group.lr_factor != 1:
                own["lr"] = (config.peak_lr or 0) * group.lr_factor
            if each or group.weight_decay != config.weight_decay:
                own["weight_decay"] = group.weight_decay
            if group.eps_factor != 1:
                own["eps"] = (config.eps or 0) * group.eps_factor
            if own:
                numbers = {field: yaml_number(value(number)) for field, number in own.items()}
                listed.append({"param_str_match": f"'{match}'", **numbers})
        return {**super().rows(config), **({PARAM_GROUPS: listed} if listed else {})}

    def spelled(self, field: str, config: Config) -> str | None:
        """Every time in batches; there is no decay of an inverse square root."""
        wsd, warmup = config.schedule == "wsd", f"{whole(config.warmup_steps)}ba"
        floor = value(config.lr_schedule.floor)
        own = {
            "warmup_steps": warmup,
            "final_lr_fraction": floor if config.schedule in ("linear", "cosine") else None,
            "scale": {"wsd": "1ba", "inverse-sqrt": warmup}.get(config.schedule or ""),
            "decay_steps": {"wsd": f"{whole(config.decay_steps)}ba", "inverse-sqrt": "0ba"}.get(config.schedule or ""),
            "before": "1.0" if wsd else None,
            "after": floor if wsd else None,
            "duration": f"{whole(config.total_steps)}ba",
        }
        return own[field] if field in own else super().spelled(field, config)


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
