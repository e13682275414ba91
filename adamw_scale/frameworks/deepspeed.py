"""DeepSpeed: FusedAdam, or CPUAdam when offloaded, AdamW by default; decays all model_parameters (runtime/engine.py).

Exclusions and other learning rates are groups passed as model_parameters; their own weight_decay wins over the
JSON's. The scheduler is one step behind: it is stepped first after the first update (runtime/lr_schedules.py), and
WarmupCosineLR then takes its cosine one step ahead again. The Warmup classes cannot do without a warm-up, so a run
without one gets a scheduler of torch.optim. Keys at the top that DeepSpeed does not know it ignores.
"""

import json
from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Mend, same_decay
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.reading import Keys, chosen, keys_of
from adamw_scale.frameworks.spelling import final_lr, lr_of, value, whole
from adamw_scale.theory.schedules import Schedule

ABOUT = "adamw_scale"  # key of what DeepSpeed has no word for: comments, and the length of the run
SCHEDULERS = {
    "WarmupLR": "constant",
    "WarmupDecayLR": "linear",
    "WarmupCosineLR": "cosine",
    "LinearLR": "linear",
    "CosineAnnealingLR": "cosine",
}
P, S = "optimizer.params", "scheduler.params"
DECAY_PEAK = 0.001  # where WarmupDecayLR goes if warmup_max_lr is not given
COSINE_FLOOR = 1e-4  # where WarmupCosineLR ends if cos_min_ratio is not given
WARMUP_STEPS = 1000.0


class DeepSpeed(Framework):
    """The JSON of deepspeed.initialize(config=...), or ds_config."""

    name = "deepspeed"
    title = "DeepSpeed"
    language = "json"
    convention = "deepspeed"
    undecayed_by_default = "nothing: every parameter it is given decays"
    grouping = "none"
    how_to_group = (
        "pass parameter groups as model_parameters of deepspeed.initialize: a group's own lr and weight_decay win "
        "over the JSON's"
    )
    schedules = ("constant", "linear", "cosine")
    only_to_zero = frozenset({"linear"})
    reads = "the JSON (ds_config), the same in YAML, or a dict in Python"
    signs = frozenset(
        {
            *("train_micro_batch_size_per_gpu", "train_batch_size", "zero_optimization", "gradient_clipping"),
            *("warmup_num_steps", "warmup_max_lr", "total_num_steps", "cos_min_ratio", "torch_adam"),
            *("gradient_accumulation_steps", "optimizer.params", "scheduler.params"),
        }
    )
    formats = frozenset({"JSON", "YAML", "Python"})
    proven = "deepspeed 0.19"

    def has(self, schedule: Schedule) -> bool:
        """A warm-up has to start where a linear fall ends; without one torch's LinearLR ends anywhere."""
        return super().has(schedule) or (schedule.name == "linear" and not schedule.warmup)

    def write(self, config: Config) -> str:
        """The JSON; merge it into a ds_config that has the rest."""
        name, options = _scheduler(config)
        length = {"sequence_length": whole(config.sequence_length)} if config.sequence_length else {}
        content: dict[str, Any] = {
            ABOUT: {"total_steps": whole(config.total_steps), **length},
            **({} if config.batch_size is None else {"train_batch_size": whole(config.batch_size)}),
            "optimizer": {
                "type": "AdamW",
                "params": {
                    "lr": float(lr_of(config)),
                    "betas": config.betas,
                    "eps": config.eps,
                    "weight_decay": float(value(config.weight_decay)),
                },
            },
            **({"scheduler": {"type": name, "params": options}} if name else {}),
        }
        return _json(content)

    def annotated(self, lines: list[str], body: str) -> str:
        """Comments under a key that DeepSpeed ignores."""
        content = json.loads(body)
        content[ABOUT] = {"about": [" ".join(line.split()) for line in lines], **content[ABOUT]}
        return _json(content)

    def read(self, document: Document) -> Config:
        """The optimizer, the scheduler and the batch; "auto", and what is built in code, is not known."""
        keys = keys_of(document, ("dict",))
        given, name = keys.mapping(P), keys.text("optimizer.type")
        convention = chosen("optimizer.type", name, dict.fromkeys(("Adam", "AdamW", "Lion"), "deepspeed"), "deepspeed")
        if given.yes("adam_w_mode") is False and (name or "").lower() == "adam":
            convention = "deepspeed-l2"
        torchs = (name or "").lower() == "adamw" and given.yes("torch_adam")
        decay = given.number_or("weight_decay", None if name is None else 0.01 if torchs else 0.0, "weight_decay")
        _note_optimizer(given, name)
        schedule, peak_lr = _read_scheduler(keys, given, name)
        schedule["total_steps"] = schedule.get("total_steps") or keys.number(f"{ABOUT}.total_steps")
        return Config(
            convention=str(convention),
            optimizer=name or "adamw",
            peak_lr=peak_lr,
            groups=same_decay(decay or 0.0),
            weight_decay_known=decay is not None,
            betas=given.pair("betas") if name is None else given.pair_or("betas", (0.9, 0.999), "betas"),
            eps=given.number("eps") if name is None else given.number_or("eps", 1e-8, "eps"),
            **schedule,
            batch_size=keys.number("train_batch_size"),
            per_device_batch_size=keys.number("train_micro_batch_size_per_gpu"),
            accumulation=keys.number("gradient_accumulation_steps"),
            sequence_length=keys.number(f"{ABOUT}.sequence_length"),
            **keys.noted(),
        )


def _scheduler(config: Config) -> tuple[str, dict[str, Any]]:
    """Scheduler type and its params; no type for a constant learning rate."""
    name, steps, warmup = config.schedule, whole(config.total_steps), whole(config.warmup_steps)
    if not warmup:
        ends = {
            "linear": ("LinearLR", {"start_factor": 1.0, "end_factor": config.lr_schedule.final, "total_iters": steps}),
            "cosine": ("CosineAnnealingLR", {"T_max": steps, "eta_min": float(value(final_lr(config)))}),
        }
        return ends.get(name or "", ("", {}))
    warm: dict[str, Any] = {"warmup_num_steps": warmup, "warmup_type": "linear"}
    if name == "cosine":
        return "WarmupCosineLR", {"total_num_steps": steps, **warm, "cos_min_ratio": config.lr_schedule.floor}
    warm |= {"warmup_min_lr": 0.0, "warmup_max_lr": float(lr_of(config))}
    return ("WarmupDecayLR", {"total_num_steps": steps, **warm}) if name == "linear" else ("WarmupLR", warm)


def _read_scheduler(keys: Keys, optimizer: Keys, optimizer_name: str | None) -> tuple[dict[str, Any], float | None]:
    """Schedule fields, and the peak: warmup_max_lr takes the place of the optimizer's lr."""
    given, name = keys.mapping("scheduler.params"), keys.text("scheduler.type")
    said = optimizer.number("lr")
    peak = said if optimizer_name is None else optimizer.number_or("peak_lr", 1e-3, "lr")
    kind = chosen("scheduler.type", name, SCHEDULERS, None)
    if name is None or kind is None:
        return {}, peak
    if not name.startswith("Warmup"):
        return _read_torch_scheduler(keys, given, kind, peak), peak
    if name != "WarmupCosineLR":
        top = given.number_or("peak_lr", DECAY_PEAK if name == "WarmupDecayLR" else None, "warmup_max_lr")
        if top is not None and said is not None and top != said:
            how = "which is" if "warmup_max_lr" in given else "by default"
            message = f"lr {said:g} is never used: {name} warms up to warmup_max_lr, {how} {top:g}"
            fix = f"set scheduler.params.warmup_max_lr to {said:g}"
            keys.error("lr-overridden", f"{S}.warmup_max_lr", message, fix)
        peak = peak if top is None else top
    warmup = given.number_or("warmup_steps", WARMUP_STEPS, "warmup_num_steps")
    _note_warmup(given)
    fields: dict[str, Any] = {"schedule": kind, "total_steps": given.number("total_num_steps")}
    if warmup:
        fields["warmup_steps"] = max(2.0, warmup)
    floor = given.number("warmup_min_lr") or 0.0
    if name == "WarmupCosineLR":
        fields["final_lr_fraction"] = given.number_or("final_lr_fraction", COSINE_FLOOR, "cos_min_ratio")
    elif name == "WarmupDecayLR" and peak:
        fields["final_lr_fraction"] = floor / peak
    return fields, peak


def _read_torch_scheduler(keys: Keys, given: Keys, kind: str, peak: float | None) -> dict[str, Any]:
    """Fields of torch's LinearLR and CosineAnnealingLR, with torch's defaults."""
    if kind == "linear" and given.number("start_factor") != 1:
        message = "LinearLR does not start at the peak (start_factor, 1/3 by default), and so is not judged"
        keys.note("schedule-unread", "scheduler.params.start_factor", message, fix="say the schedule with --schedule")
        return {}
    if kind == "linear":
        end, steps = given.number("end_factor"), given.number("total_iters") or 5.0
        return {"schedule": kind, "total_steps": steps, "final_lr_fraction": 1.0 if end is None else end}
    floor = given.number("eta_min") or 0.0
    return {"schedule": kind, "total_steps": given.number("T_max"), "final_lr_fraction": floor / peak if peak else None}


def _note_optimizer(given: Keys, name: str | None) -> None:
    """Keys that DeepSpeed refuses or ignores, and what it leaves to others."""
    decay, mode, norm = (f"{P}.{key}" for key in ("weight_decay", "adam_w_mode", "max_grad_norm"))
    if name is None:
        message = "there is no optimizer in this config, so its weight decay is set in the training script"
        given.note("optimizer-elsewhere", "optimizer", message, "check the config or script that builds the optimizer")
    elif given.unread("weight_decay"):
        message = 'weight_decay is "auto": the Hugging Face Trainer writes its own there, DeepSpeed alone refuses it'
        given.note("filled-in-elsewhere", decay, message, "check the TrainingArguments instead")
    elif "weight_decay" not in given:
        message = (
            "weight_decay is not written, and is 0 in FusedAdam and CPUAdam but 0.01 in torch's AdamW (torch_adam)"
        )
        given.warning("decay-by-implementation", decay, message, "write weight_decay into optimizer.params")
    if "max_grad_norm" in given:
        message = "DeepSpeed refuses max_grad_norm among the optimizer's params"
        given.error("refused-key", norm, message, "write gradient_clipping at the top of the config")
    if given.yes("adam_w_mode") is False and (name or "").lower() == "adamw":
        message = 'adam_w_mode false has no effect on type "AdamW", whose decay stays decoupled'
        fix = 'drop adam_w_mode, or choose type "Adam" if L2 is meant'
        given.warning("ignored-key", mode, message, fix, Mend(key="adam_w_mode"))


def _note_warmup(given: Keys) -> None:
    """A warm-up that is no straight line, or that DeepSpeed refuses."""
    kind, steps = given.text("warmup_type"), given.raw("warmup_num_steps")
    if kind != "linear" and not given.unread("warmup_type"):
        what = "is" if kind == "log" else f"{kind[:20]!r} is not known and becomes" if kind else "is by default"
        message = f"warmup_type {what} log: past half the peak after the root of its steps; it is judged as linear"
        fix = 'write "warmup_type": "linear" into scheduler.params'
        (given.note if kind == "log" else given.warning)("log-warmup", f"{S}.warmup_type", message, fix)
    if steps is not None and ((given.number("warmup_num_steps") or 0) < 1 or isinstance(steps, float)):
        message = f"warmup_num_steps {steps} is refused: a whole number of at least 1 is needed"
        fix = "write a whole number, or for no warm-up a scheduler of torch such as CosineAnnealingLR"
        given.error("refused-value", f"{S}.warmup_num_steps", message, fix)


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
