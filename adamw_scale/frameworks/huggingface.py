"""Hugging Face Trainer: torch AdamW; decays all but LayerNorms, biases and norm-like names (trainer.py).

Embeddings and the output are decayed, as in the recommendation's groups. `warmup_ratio` is gone
since transformers 5.3, so warm-up is written in steps, which 4.x reads too. "linear" has no floor:
a linear schedule that ends above zero is written as a polynomial of power 1.
"""

import re
from typing import Any, ClassVar, Literal

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.framework import Language
from adamw_scale.frameworks.optimizer_calls import keys_of_optimizer, read_groups, read_optimizer, the_optimizer
from adamw_scale.frameworks.pytorch import adamw_source, param_groups_source
from adamw_scale.frameworks.reading import Keys, chosen, keys_of
from adamw_scale.frameworks.schedule_calls import read_schedule
from adamw_scale.frameworks.spelling import betas_of, eps_of, final_lr, lr_of, one_for_all, value, whole
from adamw_scale.frameworks.table import Table, Trap, key
from adamw_scale.theory.parametrizations import NORM_AND_BIAS
from adamw_scale.theory.schedules import Schedule

_WSD = {"wsd": "linear", "wsd-cosine": "cosine", "wsd-1-sqrt": "1-sqrt"}
_NAMES = {
    "constant": "constant_with_warmup",
    "linear": "linear",
    "cosine": "cosine",
    "polynomial": "polynomial",
    "inverse-sqrt": "inverse_sqrt",
    "cosine-restarts": "cosine_with_restarts",
    **dict.fromkeys(_WSD, "warmup_stable_decay"),
}
_WITH_FLOOR = {"linear": "polynomial", "cosine": "cosine_with_min_lr"}
SCHEDULERS = {
    **{spelled: name for name, spelled in _NAMES.items()},
    "constant": "constant",
    "cosine_with_min_lr": "cosine",
    "cosine_warmup_with_min_lr": "cosine",
    "warmup_stable_decay": "wsd-cosine",
}
# Optimizers of the Trainer, by the convention of their decay; the rest are not AdamW or are not known here.
OPTIMIZERS = {
    **dict.fromkeys(
        ("adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw_torch_xla", "adamw_torch_npu_fused"), "pytorch"
    ),
    **dict.fromkeys(
        (
            *("adamw_bnb_8bit", "adamw_8bit", "paged_adamw", "paged_adamw_32bit", "paged_adamw_8bit"),
            *("lion_32bit", "lion_8bit", "paged_lion_32bit", "paged_lion_8bit"),
        ),
        "bitsandbytes",
    ),
    **dict.fromkeys(("adamw_torch_4bit", "adamw_torch_8bit"), "torchao"),
    "adamw_apex_fused": "apex",
    "adafactor": "transformers-adafactor",
    "schedule_free_adamw": "schedulefree",
    "stable_adamw": "optimi",
}
_IN_BLOCKS = re.compile(r"\brun_[cmp]lm\w*\.py\b|\bgroup_texts\b")  # of transformers' examples
POLYNOMIAL_END = 1e-7  # where transformers' polynomial ends if lr_end is not given


class HuggingFace(Table):
    """TrainingArguments, and a ready-made optimizer where one λ does not serve all groups."""

    name = "huggingface"
    title = "Hugging Face Trainer (transformers 4.x and 5.x)"
    language: ClassVar[Language] = "python"
    convention = "pytorch"
    undecayed = frozenset({NORM_AND_BIAS})
    undecayed_by_default = "LayerNorm modules, biases, names like norm; embeddings do decay"
    grouping: ClassVar[Literal["all", "decay", "none"]] = "all"
    schedules = tuple(_NAMES)
    only_to_zero = frozenset({"cosine-restarts"})
    reads = "TrainingArguments in Python, JSON, YAML, or a command line"
    signs = frozenset(
        {
            *("per_device_train_batch_size", "lr_scheduler_type", "num_train_epochs", "adam_epsilon"),
            *("TrainingArguments", "Seq2SeqTrainingArguments", "gradient_accumulation_steps"),
            "SentenceTransformerTrainingArguments",
        }
    )
    packages = frozenset({"transformers", "sentence_transformers"})
    formats = frozenset({"Python", "JSON", "YAML", "shell arguments"})
    proven = "transformers 5.23 and 4.57"

    arguments_class = "TrainingArguments"
    package = "transformers"
    usual_task: ClassVar[str | None] = None
    keys = {
        "optimizer": key("optim", default="adamw_torch"),
        "peak_lr": key("learning_rate", default=5e-5),
        "weight_decay": key("weight_decay", default=0.0),
        "eps": key("adam_epsilon", default=1e-8),
        "accumulation": key("gradient_accumulation_steps", "gradient_accumulation", default=1.0),
        "beta1": key("adam_beta1", default=0.9),
        "beta2": key("adam_beta2", default=0.999),
        "schedule": key("lr_scheduler_type", "lr_scheduler", default="linear"),
        "total_steps": key("max_steps"),
        "epochs": key("num_train_epochs", default=3.0),
        "per_device_batch_size": key("per_device_train_batch_size", default=8.0),
        "sequence_length": key("max_length", "max_seq_length", "block_size", "cutoff_len"),
    }
    optimizers = OPTIMIZERS
    traps: ClassVar[tuple[Trap, ...]] = (
        Trap(
            "warning",
            "removed-key",
            "warmup_ratio",
            "warmup_ratio = {value} is read by transformers 4.x and 5.0 to 5.2; later releases do not know it and "
            "refuse it",
            "write warmup_steps: whole steps work in every release, a number below 1 is a fraction since 5.0",
        ),
    )
    words = {name: (spelled,) for name, spelled in _NAMES.items()}

    def has(self, schedule: Schedule) -> bool:
        """Restarts are of one length here."""
        return super().has(schedule) and schedule.cycle_growth in (None, 1)

    def write(self, config: Config) -> str:
        """Python that builds the arguments as `training_args`."""
        beta1, beta2 = betas_of(config)
        scheduler, kwargs = scheduler_of(config)
        rows = {
            "output_dir": '"out"',
            "max_steps": str(whole(config.total_steps)),
            **({} if config.batch_size is None else _batch_rows()),
            "learning_rate": lr_of(config),
            "weight_decay": value(config.weight_decay),
            "adam_beta1": beta1,
            "adam_beta2": beta2,
            "adam_epsilon": eps_of(config),
            "optim": '"adamw_torch"',
            "lr_scheduler_type": f'"{scheduler}"',
            **({"lr_scheduler_kwargs": repr(kwargs).replace("'", '"')} if kwargs else {}),
            "warmup_steps": str(whole(config.warmup_steps)),
        }
        by_group = not one_for_all(config)
        arguments = "".join(f"    {key}={text},\n" for key, text in rows.items())
        return (
            ("import os\n\n" if config.batch_size is not None else "")
            + ("import torch\nfrom torch import nn\n" if by_group else "")
            + f"from {self.package} import {self.arguments_class}\n\n"
            + (
                _batch_source(whole(config.batch_size))
                if config.batch_size is not None
                else f"# Keep the global batch at {config.batch_tokens:g} tokens.\n"
            )
            + f"training_args = {self.arguments_class}(\n{arguments})\n"
            + (_optimizer_source(config) if by_group else "")
        )

    def read(self, document: Document) -> Config:
        """The arguments, with the Trainer's defaults; an optimizer of one's own replaces what they say of it."""
        config, own = super().read(document), _own_optimizer(document)
        return config if own is None else _replaced(document, config, own)

    def find(self, document: Document) -> Keys:
        """Arguments of the classes, in Python."""
        return keys_of(document, self._classes(document), ("output_dir",))

    def fields(self, keys: Keys, document: Document) -> dict[str, Any]:
        """With the batch of the snippet's own name, and the processes of a launch."""
        found = super().fields(keys, document)
        found |= {"batch_size": Keys(document.content).number("GLOBAL_BATCH_SIZE"), "devices": _launched(keys)}
        return {**found, "packed": _packed(keys, document) if found["task"] else None}

    def grouped(
        self, keys: Keys, document: Document, peak_lr: float | None, weight_decay: float | None, eps: float | None
    ) -> dict[str, Any]:
        """Groups that are made in Python text, or the Trainer's own."""
        return read_groups(document, keys, peak_lr, weight_decay, eps, self.undecayed)

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """Names of the Trainer's, with their own arguments."""
        return {**read_scheduler(keys, peak_lr, default=self.keys["schedule"].default), **_read_warmup(keys)}

    def task(self, keys: Keys, document: Document) -> str | None:
        """By LoRA's keys, or a model that is named."""
        return _task(keys, document) or self.usual_task

    def _classes(self, document: Document) -> frozenset[str]:
        """Classes of arguments: its own, and those that are named after TrainingArguments."""
        called = {call.name.rpartition(".")[2] for call in document.calls}
        return frozenset(name for name in called if name.endswith("TrainingArguments")) | {self.arguments_class}


_REPLACED = re.compile(r"\bdef create_optimizer\b")


def _own_optimizer(document: Document) -> str | None:
    """What is passed to a Trainer as optimizers=(...), or that one makes its own; None where the arguments hold."""
    for call in document.calls:
        given = call.keywords.get("optimizers", call.keywords.get("optimizer_cls_and_kwargs"))
        if call.name.rpartition(".")[2].endswith("Trainer") and given is not None and given != [None, None]:
            return str(given)
    if document.format == "Python" and _REPLACED.search(document.text):
        return "create_optimizer"
    return None


def _replaced(document: Document, arguments: Config, given: str) -> Config:
    """The config whose optimizer is not that of its arguments, and what of them is void."""
    call, made = the_optimizer(document, "torch")
    keys = keys_of_optimizer(document, call, made)
    fields = read_optimizer(document, keys, call, made)
    how = "optimizers=(...) is passed to the Trainer" if given != "create_optimizer" else "the Trainer makes its own"
    acting = {"weight_decay": max(group.weight_decay for group in fields["groups"]), "peak_lr": fields["peak_lr"]}
    for field, name, code in (
        ("weight_decay", "weight_decay", "decay-overridden"),
        ("peak_lr", "learning_rate", "lr-overridden"),
    ):
        said, acts = getattr(arguments, field), acting[field]
        if field in (*arguments.defaults, *arguments.unknown) or said is None or said == acts:
            continue
        shown = "is not known" if field in keys.unknown or acts is None else f"is {acts:g}"
        message = f"{name} {said:g} is never used: {how}, and that of its {call.name.rpartition('.')[2]} {shown}"
        keys.error(code, name, message, fix=f"write {name} into the optimizer, and drop it here")
    theirs: tuple[str, ...] = ("weight_decay", "peak_lr", "betas", "eps", "optimizer")
    if not given.endswith("None)") and given != "create_optimizer":
        schedule, _ = read_schedule(document)
        end, _ = schedule.pop("end_lr", None), schedule.pop("overridable", None)
        keys.defaults.extend(schedule.pop("filled", ()))
        for name in ("replaces", "peak_lr", "total_steps", "epochs"):  # how long the run is, the arguments say
            schedule.pop(name, None)
        if end is not None and fields["peak_lr"]:
            schedule["final_lr_fraction"] = end / fields["peak_lr"]
        cleared = ("schedule", "warmup_steps", "warmup_fraction", "final_lr_fraction", "decay_steps")
        fields = {**dict.fromkeys(cleared), **fields, **schedule}
        theirs = (*theirs, *cleared)
    noted = keys.noted()
    for name in ("defaults", "unknown", "overridable"):
        noted[name] = (*(each for each in getattr(arguments, name) if each not in theirs), *noted[name])
    noted["findings"] = (*arguments.findings, *noted["findings"])
    return arguments.model_copy(update={**fields, **noted})


def _packed(keys: Keys, document: Document) -> bool | None:
    """Whether finetuning packs rows to full sequences: where it is told to, or where texts are cut into blocks."""
    if keys.yes("packing", "neat_packing") or "block_size" in keys or _IN_BLOCKS.search(document.text):
        return True
    return keys.filled("packed", False, "packing", "neat_packing")


def _task(keys: Keys, document: Document) -> str | None:
    """LoRA, or the finetuning of a model that is named; and a note where DeepSpeed's own config has a say."""
    if "deepspeed" in keys:
        message = (
            "a DeepSpeed config goes with it: an optimizer block there decays all parameters, gains and biases too, "
            "and a scheduler block there takes the place of this schedule"
        )
        keys.note("deepspeed-config", "deepspeed", message, fix="audit that file too")
    lora = ("lora_r", "lora_alpha", "lora_target_modules", "lora_rank", "lora_target")
    kind = keys.text("finetuning_type")
    if any(call.name.rpartition(".")[2] in ("LoraConfig", "get_peft_model") for call in document.calls):
        return "lora"
    if kind in (None, "lora") and (kind or any(key in keys for key in lora) or keys.yes("use_peft")):
        return "lora"
    return "finetuning" if "model_name_or_path" in keys else None


def read_scheduler(keys: Keys, peak_lr: float | None, default: str = "linear") -> dict[str, Any]:
    """Schedule fields from the Trainer's names, which others share."""
    spelled = keys.text("lr_scheduler_type", "lr_scheduler")
    if spelled is None:
        keys.filled("schedule", default, "lr_scheduler_type", "lr_scheduler")
    spelled = spelled if spelled is None else spelled.rpartition(".")[2]
    if spelled is not None and spelled.lower() not in SCHEDULERS:
        message = f"the schedule {spelled[:60]!r} is not known here"
        keys.note("schedule-unread", "lr_scheduler_type", message, fix="pass --schedule with the nearest")
        return {"schedule": None}
    name = chosen("lr_scheduler_type", spelled, SCHEDULERS, None) or default
    kwargs = keys.mapping("lr_scheduler_kwargs")
    ratio, absolute = kwargs.number("min_lr_rate", "min_lr_ratio"), kwargs.number("min_lr", "lr_end")
    if spelled == "polynomial" and absolute is None and not kwargs.unread("lr_end"):
        absolute = keys.filled("final_lr_fraction", POLYNOMIAL_END)
    floor = ratio if ratio is not None else absolute / peak_lr if absolute is not None and peak_lr else None
    fields: dict[str, Any] = {"schedule": name}
    if name == "wsd-cosine":
        kind = kwargs.text("decay_type") or "cosine"
        fields["schedule"] = chosen("decay_type", kind, {spelled: name for name, spelled in _WSD.items()}, None)
        fields["decay_steps"] = kwargs.number("num_decay_steps")
    if name == "polynomial":
        power = kwargs.number("power") or 1.0
        fields |= {"schedule": "linear"} if power == 1.0 else {"schedule_power": power}
    if name == "cosine-restarts":
        fields["cycles"] = kwargs.number("num_cycles") or 1.0
    if floor is not None and name not in ("constant", "inverse-sqrt", "cosine-restarts"):
        fields["final_lr_fraction"] = floor
    return fields


def _launched(keys: Keys) -> float | None:
    """Processes that torchrun starts, where the text has its command line."""
    each = keys.number("nproc_per_node", "num_processes")
    return None if each is None else each * (keys.number("nnodes") or 1.0 if "num_processes" not in keys else 1.0)


def _read_warmup(keys: Keys) -> dict[str, Any]:
    """Warm-up in steps, or as a fraction: `warmup_ratio` in 4.x, a number below 1 in 5.x."""
    ratio, steps = keys.number("warmup_ratio"), keys.number("warmup_steps")
    if steps:
        return {"warmup_fraction": steps} if steps < 1 else {"warmup_steps": steps}
    return {"warmup_fraction": ratio} if ratio else {}


def scheduler_of(config: Config) -> tuple[str, dict[str, Any]]:
    """lr_scheduler_type and its kwargs; a floor above zero needs other names than decay to zero."""
    schedule = config.lr_schedule
    floor = schedule.floor
    name = _NAMES[schedule.name]
    if floor:
        name = _WITH_FLOOR.get(schedule.name, name)
    kwargs: dict[str, dict[str, Any]] = {
        "warmup_stable_decay": {
            "num_decay_steps": whole(config.decay_steps),
            "decay_type": _WSD.get(schedule.name),
            "min_lr_ratio": floor,
        },
        "cosine_with_min_lr": {"min_lr_rate": floor},
        "polynomial": {"power": config.power, "lr_end": float(value(final_lr(config)))},
        "cosine_with_restarts": {"num_cycles": whole(schedule.cycles)},
    }
    return name, kwargs.get(name, {})


def _batch_rows() -> dict[str, str]:
    return {
        "per_device_train_batch_size": "PER_DEVICE_BATCH_SIZE",
        "gradient_accumulation_steps": "GLOBAL_BATCH_SIZE // (PER_DEVICE_BATCH_SIZE * WORLD_SIZE)",
    }


def _batch_source(batch: int) -> str:
    return f"""GLOBAL_BATCH_SIZE = {batch}
PER_DEVICE_BATCH_SIZE = 1  # as much as fits in memory; times the world size it must divide the global batch
WORLD_SIZE = int(os.environ.get("WORLD_SIZE", "1"))

"""


_BUILT = "optimizers=(build_optimizer(model, model.lm_head), None)"


def _optimizer_source(config: Config) -> str:
    """TrainingArguments hold one lr and one λ; groups go in as an optimizer, the Trainer adds the schedule."""
    return f"""

{param_groups_source(config)}

def build_optimizer(model: nn.Module, output_layer: nn.Module) -> torch.optim.AdamW:
    \"\"\"Pass it on: Trainer(model, training_args, {_BUILT}, ...).\"\"\"
    return {adamw_source(config, "model, output_layer")}
"""
