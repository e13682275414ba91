"""NeMo Automodel: any torch optimizer by its name, with Megatron's schedule; decays everything (components/optim).

At every step the scheduler writes lr and weight_decay of every group anew, times the group's lr_mult and wd_mult. Its
defaults surprise: warm-up starts at a tenth of the peak and the floor is a hundredth of it, so both are written, and
the run ends after 10 epochs whatever max_steps says. Groups have no eps of their own.
"""

import math
import re
from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Group, same_decay
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.group_names import kinds_named, own_groups
from adamw_scale.frameworks.megatron import read_decay
from adamw_scale.frameworks.reading import Keys, Optimizer, chosen, keys_of
from adamw_scale.frameworks.spelling import betas_of, eps_of, final_lr, value, whole, yaml_number
from adamw_scale.theory.parametrizations import EMBEDDING, GROUPS, NORM_AND_BIAS, OUTPUT

PATTERNS = {NORM_AND_BIAS: r"norm|bias$", EMBEDDING: r"embed_tokens\.", OUTPUT: r"lm_head\."}
_WSD = {"wsd": "linear", "wsd-cosine": "cosine", "wsd-1-sqrt": "minus_sqrt"}
_STYLES = {"constant": "constant", "linear": "linear", "cosine": "cosine", "inverse-sqrt": "inverse-square-root"}
SECTION = "lr_scheduler"


TARGETS = {
    "AdamW": Optimizer("pytorch", 1e-3, 0.01),
    "Adam": Optimizer("torch-adam", 1e-3, 0.0),
    "AdamWConfig": Optimizer("pytorch", 1e-4, 0.01),
    "FlashAdamWConfig": Optimizer("pytorch", 1e-4, 0.01),
    "AdamConfig": Optimizer("torch-adam", 1e-4, 0.01),
    "FusedAdam": Optimizer("apex", 1e-3, 0.0),
    "FusedAdamConfig": Optimizer("apex", 1e-4, 0.01),
    "AdamW8bit": Optimizer("bitsandbytes", 1e-3, 0.01),
}


class NemoAutomodel(Framework):
    """The optimizer, lr_scheduler and step_scheduler sections of a recipe."""

    name = "nemo-automodel"
    title = "NeMo Automodel"
    language = "yaml"
    convention = "pytorch"
    undecayed_by_default = "nothing: norms, biases and embeddings decay too, unless an override spares them"
    grouping = "all"
    schedules = (*_STYLES, *_WSD)
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

    def write(self, config: Config) -> str:
        """Three sections of a recipe."""
        *others, hidden = own_groups(config)
        beta1, beta2 = betas_of(config)
        peak = (config.peak_lr or 0) * hidden.lr_factor
        optimizer = {
            "_target_": "torch.optim.AdamW",
            "lr": yaml_number(value(peak)),
            "betas": f"[{yaml_number(beta1)}, {yaml_number(beta2)}]",
            "eps": yaml_number(eps_of(config)),
            "weight_decay": yaml_number(value(hidden.weight_decay)),
        }
        overrides = "".join(
            f'    - pattern: "{_quoted(PATTERNS[group.group])}"\n'
            f"      lr_mult: {yaml_number(value(group.lr_factor / hidden.lr_factor))}\n"
            f"      wd_mult: {yaml_number(value(group.weight_decay / hidden.weight_decay))}\n"
            for group in others
        )
        steps = {
            "max_steps": whole(config.total_steps),
            "num_epochs": max(1, math.ceil(config.epochs or 1)),
            "global_batch_size": whole(config.batch_size)
            if config.batch_size
            else "null  # in sequences; left out it is 32",
        }
        factors = {group.eps_factor for group in config.groups if group.weight_decay}
        return (
            ("# muP wants another eps for each group, which Automodel cannot give them.\n" if len(factors) > 1 else "")
            + _section("optimizer", optimizer)
            + (f"  param_group_overrides:\n{overrides}" if overrides else "")
            + _section(SECTION, _scheduler(config, hidden))
            + _section("step_scheduler", steps)
        )

    def read(self, document: Document) -> Config:
        """The sections, with what Automodel fills in where they say nothing."""
        keys = keys_of(document)
        target = keys.text_or("optimizer", "torch.optim.AdamW", "optimizer._target_")
        known = chosen("optimizer._target_", target.rpartition(".")[2], TARGETS, None) or TARGETS["AdamW"]
        said = keys.number_or("peak_lr", known.lr, "optimizer.lr")
        scheduled = isinstance(keys.raw(SECTION), dict)
        top = keys.number(f"{SECTION}.max_lr") if scheduled else None
        total = keys.number("step_scheduler.max_steps")
        weight_decay, shape = _read_decay(keys, known)
        _note_traps(keys, said, top, total)
        base = said if top is None else top
        groups, factor = _read_groups(keys, weight_decay) if scheduled else (same_decay(weight_decay), 1.0)
        return Config(
            convention=known.convention,
            optimizer=target,
            peak_lr=base * factor if base else None,
            groups=groups,
            betas=keys.pair_or("betas", (0.9, 0.999), "optimizer.betas"),
            eps=keys.number_or("eps", 1e-8, "optimizer.eps"),
            **(_read_schedule(keys, base, total) if scheduled else _without_scheduler(keys)),
            weight_decay_schedule=shape[0],
            final_weight_decay_fraction=shape[1],
            total_steps=total,
            epochs=None if total else keys.number_or("epochs", 10.0, "step_scheduler.num_epochs"),
            batch_size=_batch(keys),
            per_device_batch_size=keys.number("step_scheduler.local_batch_size"),
            sequence_length=keys.number("packed_sequence.packed_sequence_size")  # 0 is no packing
            or keys.number("dataset.seq_length", "dataset.seq_len"),
            task=(task := _task(keys)),
            packed=_packed(keys) if task else None,
            **keys.noted(),
        )


def _task(keys: Keys) -> str | None:
    """LoRA by its section; the finetuning of a model by the recipe's name."""
    if isinstance(keys.raw("peft"), dict):
        return "lora"
    return "finetuning" if "Finetune" in str(keys.raw("recipe")) else None


def _packed(keys: Keys) -> bool | None:
    """Whether a finetuning recipe packs rows, which it does with a size above 0."""
    size = keys.number("packed_sequence.packed_sequence_size")
    return keys.filled("packed", False, "packed_sequence", "packed_sequence.packed_sequence_size") if not size else True


def _section(name: str, rows: dict[str, Any]) -> str:
    return f"{name}:\n" + "".join(f"  {key}: {each}\n" for key, each in rows.items())


def _quoted(pattern: str) -> str:
    return pattern.replace("\\", "\\\\")


def _scheduler(config: Config, hidden: Group) -> dict[str, Any]:
    schedule = config.schedule or "constant"
    floor = 0.0 if schedule == "inverse-sqrt" else final_lr(config) * hidden.lr_factor
    return {
        "lr_decay_style": _STYLES.get(schedule, "WSD"),
        **(
            {"lr_wsd_decay_style": _WSD[schedule], "wsd_decay_steps": whole(config.decay_steps)}
            if schedule in _WSD
            else {}
        ),
        "lr_decay_steps": whole(config.total_steps),
        "lr_warmup_steps": whole(config.warmup_steps),
        "init_lr": "0.0",
        "min_lr": yaml_number(value(floor)),
    }


def _read_decay(keys: Keys, known: Optimizer) -> tuple[float | None, tuple[str, float | None]]:
    """The decay that acts: the scheduler's start and end, which are the optimizer's if they are not given."""
    given = {
        "weight_decay": keys.number_or("weight_decay", known.weight_decay, "optimizer.weight_decay"),
        "start_weight_decay": keys.number(f"{SECTION}.start_wd"),
        "end_weight_decay": keys.number(f"{SECTION}.end_wd"),
        "weight_decay_incr_style": keys.text(f"{SECTION}.wd_incr_style"),
    }
    if given["start_weight_decay"] is None and given["end_weight_decay"] is not None:
        given["start_weight_decay"] = given["weight_decay"]
    elif given["end_weight_decay"] is None and given["start_weight_decay"] is not None:
        given["end_weight_decay"] = given["weight_decay"]
    renamed = Keys(given)
    result = read_decay(renamed, NemoAutomodel.title)
    for finding in renamed.findings:
        said = {
            field: re.sub(r"(start|end)_weight_decay", r"\1_wd", getattr(finding, field))
            for field in ("message", "fix")
        }
        keys.findings.append(finding.model_copy(update={**said, "key": f"{SECTION}.start_wd"}))
    return result


def _read_groups(keys: Keys, weight_decay: float | None) -> tuple[tuple[Group, ...], float]:
    """Groups, and the factor on the learning rate of gains and biases, which the others are multiples of."""
    overrides = keys.raw("optimizer.param_group_overrides")
    owners: dict[str, Keys] = {}
    for override in overrides if isinstance(overrides, list) else []:
        row = Keys(override if isinstance(override, dict) else {})
        for kind in kinds_named(row.text("pattern") or "?"):
            owners.setdefault(kind, row)
    lr = {kind: _multiplier(owners, kind, "lr_mult") for kind in GROUPS}
    base = lr[NORM_AND_BIAS] or 1.0
    groups = tuple(
        Group(
            group=kind,
            weight_decay=(1.0 if weight_decay is None else weight_decay) * _multiplier(owners, kind, "wd_mult"),
            lr_factor=lr[kind] / base,
        )
        for kind in GROUPS
    )
    return groups, base


def _batch(keys: Keys) -> float | None:
    """Sequences per step; null is left open, and nothing there is Automodel's 32."""
    section = keys.raw("step_scheduler")
    is_open = isinstance(section, dict) and "global_batch_size" in section
    return keys.number_or("batch_size", None if is_open else 32.0, "step_scheduler.global_batch_size")


def _multiplier(owners: dict[str, Keys], kind: str, name: str) -> float:
    found = owners[kind].number(name) if kind in owners else None
    return 1.0 if found is None else found


def _read_schedule(keys: Keys, peak: float | None, total: float | None) -> dict[str, Any]:
    """Schedule fields; lengths that are not given follow from the run's."""
    style = keys.text_or("schedule", "cosine", f"{SECTION}.lr_decay_style")
    schedule = chosen("lr_decay_style", style, {each: name for name, each in _STYLES.items()} | {"WSD": "WSD"}, None)
    if schedule == "WSD":
        wsd = keys.text(f"{SECTION}.lr_wsd_decay_style")
        known = {each: name for name, each in _WSD.items()} | {"exponential": "wsd"}
        schedule = chosen("lr_wsd_decay_style", wsd, known, "wsd")
    warmup = keys.number(f"{SECTION}.lr_warmup_steps")
    fields: dict[str, Any] = {"schedule": schedule}
    if warmup is None:
        field = "warmup_fraction" if total is None else "warmup_steps"
        if keys.filled(field, 0.1, f"{SECTION}.lr_warmup_steps") is not None:
            fields |= {"warmup_fraction": 0.1} if total is None else {"warmup_steps": min(1000, total // 10)}
    elif not 0 < warmup < 1:
        fields["warmup_steps"] = warmup
    if schedule in _WSD:
        fields["decay_steps"] = keys.number(f"{SECTION}.wsd_decay_steps")
    if schedule not in ("constant", "inverse-sqrt"):
        floor = keys.number(f"{SECTION}.min_lr")
        if floor is None:
            fields["final_lr_fraction"] = keys.filled("final_lr_fraction", 0.01, f"{SECTION}.min_lr")
        else:
            fields["final_lr_fraction"] = floor / peak if peak else None
    end = keys.number(f"{SECTION}.lr_decay_steps")
    if end and total and end != total and schedule != "constant" and (end < total or schedule != "inverse-sqrt"):
        fields["schedule_end"] = end
        if schedule == "inverse-sqrt" and peak:
            floor = keys.number(f"{SECTION}.min_lr")
            fields["after_end"] = min(1.0, 0.01 if floor is None else floor / peak)
    return fields


def _without_scheduler(keys: Keys) -> dict[str, Any]:
    """The learning rate stays where it is."""
    return {"schedule": keys.filled("schedule", "constant", SECTION)}


def _note_traps(keys: Keys, said: float | None, top: float | None, total: float | None) -> None:
    """Traps of the sections as they stand together."""
    if not isinstance(keys.raw(SECTION), dict):
        if keys.raw("optimizer.param_group_overrides"):
            message = (
                "param_group_overrides do nothing without an lr_scheduler, which is what multiplies lr and weight decay"
            )
            fix = "add an lr_scheduler, with lr_decay_style: constant if nothing else is meant"
            keys.error("overrides-unused", "optimizer.param_group_overrides", message, fix)
        return
    if top is not None and said is not None and top != said and "optimizer.lr" in keys:
        message = (
            f"lr {said:g} is never used: the scheduler writes its own, up to max_lr {top:g}, into the optimizer at "
            "every step"
        )
        fix = "drop max_lr, which is the optimizer's lr by default"
        keys.error("lr-overridden", f"{SECTION}.max_lr", message, fix)
    warmup = keys.number(f"{SECTION}.lr_warmup_steps")
    if warmup is not None and 0 < warmup < 1:
        message = f"lr_warmup_steps {warmup:g} is refused: Automodel takes whole steps, no fraction of the run"
        keys.error("warmup-fraction", f"{SECTION}.lr_warmup_steps", message, fix="write the number of steps")
    if f"{SECTION}.init_lr" not in keys and warmup != 0:
        message = (
            "warm-up starts at a tenth of the learning rate, which is the default of init_lr, and is judged as if it "
            "started at 0"
        )
        keys.note("warmup-start", f"{SECTION}.init_lr", message, fix="write init_lr: 0.0")
    style = keys.text(f"{SECTION}.lr_decay_style") or "cosine"
    missing = [each for each in ("wsd_decay_steps", "lr_wsd_decay_style") if f"{SECTION}.{each}" not in keys]
    if style == "WSD" and missing:
        message = f"WSD without {' and '.join(missing)} fails, at the latest when the fall starts: there is no default"
        fix = "write wsd_decay_steps and lr_wsd_decay_style (linear, cosine, minus_sqrt or exponential)"
        keys.error("wsd-incomplete", f"{SECTION}.{missing[0]}", message, fix)
    end = keys.number(f"{SECTION}.lr_decay_steps")
    if end is not None and total is not None and end != total and style != "constant":
        message = f"the schedule ends after {end:g} steps and the run after {total:g}" + (
            ": the rest is at min_lr" if end < total else ", before it has fallen"
        )
        fix = "drop lr_decay_steps, which is the run's length by default"
        keys.warning("decay-steps", f"{SECTION}.lr_decay_steps", message, fix)
