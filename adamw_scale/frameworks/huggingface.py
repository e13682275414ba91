"""Hugging Face Trainer: torch AdamW; decays all but LayerNorms, biases and norm-like names (trainer.py).

Embeddings and the output are decayed, as in the recommendation's groups. `warmup_ratio` is gone
since transformers 5.3, so warm-up is written in steps, which 4.x reads too. "linear" has no floor:
a linear schedule that ends above zero is written as a polynomial of power 1.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.framework import Language
from adamw_scale.frameworks.optimizer_calls import (
    WATCH,
    Constructor,
    built,
    keys_of_optimizer,
    read_groups,
    read_optimizer,
    the_optimizer,
)
from adamw_scale.frameworks.pytorch import adamw_source, param_groups_source
from adamw_scale.frameworks.reading import LEFT_OPEN, Keys, chosen, keys_of
from adamw_scale.frameworks.schedule_calls import read_schedule
from adamw_scale.frameworks.spelling import betas_of, eps_of, final_lr, lr_of, one_for_all, value, whole, yaml_number
from adamw_scale.frameworks.table import Table, Trap, key
from adamw_scale.theory.parametrizations import NORM_AND_BIAS
from adamw_scale.theory.schedules import Schedule

_FALLS = {"linear": "wsd", "cosine": "wsd-cosine", "1-sqrt": "wsd-1-sqrt"}
# Optimizers of the Trainer, by the convention of their decay; the rest are not AdamW or are not known here.
_OPTIMIZERS = {
    "pytorch": "adamw_torch adamw_torch_fused adamw_hf adamw_torch_xla adamw_torch_npu_fused",
    "bitsandbytes": "adamw_bnb_8bit adamw_8bit paged_adamw paged_adamw_32bit paged_adamw_8bit lion_32bit lion_8bit "
    "paged_lion_32bit paged_lion_8bit",
    "torchao": "adamw_torch_4bit adamw_torch_8bit",
    "apex": "adamw_apex_fused",
    "transformers-adafactor": "adafactor",
    "schedulefree": "schedule_free_adamw",
    "optimi": "stable_adamw",
}
OPTIMIZERS: dict[str, str | Constructor] = {
    name: convention for convention, names in _OPTIMIZERS.items() for name in names.split()
}
_BATCH = {
    "per_device_train_batch_size": "PER_DEVICE_BATCH_SIZE",
    "gradient_accumulation_steps": "GLOBAL_BATCH_SIZE // (PER_DEVICE_BATCH_SIZE * WORLD_SIZE)",
}
_BATCH_SOURCE = """GLOBAL_BATCH_SIZE = {}
PER_DEVICE_BATCH_SIZE = 1  # as much as fits in memory; times the world size it must divide the global batch
WORLD_SIZE = int(os.environ.get("WORLD_SIZE", "1"))

"""
_OPTIMIZER_SOURCE = '''

{groups}

def build_optimizer(model: nn.Module, output_layer: nn.Module) -> torch.optim.AdamW:
    """Pass it on: Trainer(model, training_args, optimizers=(build_optimizer(model, model.lm_head), None), ...)."""
    return {adamw}
'''
_IN_BLOCKS = re.compile(r"\brun_[cmp]lm\w*\.py\b|\bgroup_texts\b")  # of transformers' examples
_REPLACED = re.compile(r"\bdef create_optimizer\b")
SETTERS = ("set_training", "set_optimizer", "set_lr_scheduler", "set_dataloader")  # of TrainingArguments
POLYNOMIAL_END = 1e-7  # where transformers' polynomial ends if lr_end is not given


RATIO_REMOVED = Trap(
    "warning",
    "removed-key",
    "warmup_ratio",
    "warmup_ratio = {value} is read by transformers 4.x and 5.0 to 5.2; later releases do not know it and refuse it",
    "write warmup_steps: whole steps work in every release, a number below 1 is a fraction since 5.0",
)


class HuggingFace(Table):
    """TrainingArguments, and a ready-made optimizer where one λ does not serve all groups."""

    name = "huggingface"
    title = "Hugging Face Trainer (transformers 4.x and 5.x)"
    language: ClassVar[Language] = "python"
    convention = "pytorch"
    undecayed = frozenset({NORM_AND_BIAS})
    undecayed_by_default = "LayerNorm modules, biases, names like norm; embeddings do decay"
    grouping: ClassVar[Literal["all", "decay", "none"]] = "all"
    schedules = ("constant", "linear", "cosine", "polynomial", "inverse-sqrt", "cosine-restarts", *_FALLS.values())
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
        "sequence_length": key("max_length", "max_seq_length", "model_max_length", "block_size", "cutoff_len"),
        "kwargs": key("lr_scheduler_kwargs"),
        "warmup_steps": key("warmup_steps"),
    }
    packing: ClassVar[tuple[str, ...]] = ("packing", "neat_packing")
    optimizers: ClassVar[Mapping[str, str | Constructor]] = OPTIMIZERS
    traps: ClassVar[tuple[Trap, ...]] = (
        Trap("note", "deepspeed-config", "deepspeed",
             "a DeepSpeed config goes with it: an optimizer block there decays all parameters, gains and biases too, "
             "and a scheduler block there takes the place of this schedule",
             "audit that file too"),
        RATIO_REMOVED,
    )  # fmt: skip
    words = {
        "constant": ("constant_with_warmup", "constant"),
        "linear": ("linear",),
        "cosine": ("cosine", "cosine_with_min_lr", "cosine_warmup_with_min_lr"),
        "polynomial": ("polynomial",),
        "inverse-sqrt": ("inverse_sqrt",),
        "cosine-restarts": ("cosine_with_restarts",),
        **dict.fromkeys(_FALLS.values(), ("warmup_stable_decay",)),
    }

    @classmethod
    def shown(cls, document: Document) -> frozenset[str]:
        """Nothing where a script takes what the Trainer does not: such build an optimizer of their own."""
        keys = document.keys()
        theirs = keys & {"deepspeed_config", "train_batch_size"} and "per_device_train_batch_size" not in keys
        return frozenset() if document.format == "shell arguments" and theirs else super().shown(document)

    def has(self, schedule: Schedule) -> bool:
        """Restarts are of one length here."""
        return super().has(schedule) and schedule.cycle_growth in (None, 1)

    def write(self, config: Config) -> str:
        """Python that builds the arguments as `training_args`; groups go in as an optimizer."""
        beta1, beta2 = betas_of(config)
        scheduler, kwargs = self.scheduler(config)
        batch, by_group = config.batch_size is not None, not one_for_all(config)
        rows = {
            "output_dir": '"out"',
            "max_steps": str(whole(config.total_steps)),
            **(_BATCH if batch else {}),
            "learning_rate": lr_of(config),
            "weight_decay": value(config.weight_decay),
            "adam_beta1": beta1,
            "adam_beta2": beta2,
            "adam_epsilon": eps_of(config),
            "optim": '"adamw_torch"',
            "lr_scheduler_type": f'"{scheduler}"',
            **({"lr_scheduler_kwargs": json.dumps(kwargs)} if kwargs else {}),
            "warmup_steps": str(whole(config.warmup_steps)),
        }
        arguments = "".join(f"    {key}={text},\n" for key, text in rows.items())
        tokens = f"# Keep the global batch at {config.batch_tokens or 0:g} tokens.\n"
        groups = {"groups": param_groups_source(config), "adamw": adamw_source(config, "model, output_layer")}
        return (
            "import os\n\n" * batch
            + "import torch\nfrom torch import nn\n" * by_group
            + f"from {self.package} import {self.arguments_class}\n\n"
            + (_BATCH_SOURCE.format(whole(config.batch_size)) if batch else tokens)
            + f"training_args = {self.arguments_class}(\n{arguments})\n"
            + (_OPTIMIZER_SOURCE.format(**groups) if by_group else "")
        )

    def spelled(self, field: str, config: Config) -> str | None:
        """The scheduler, and its arguments as YAML or JSON."""
        scheduler, kwargs = self.scheduler(config)
        if field == "schedule":
            return scheduler
        if field != "kwargs":
            return super().spelled(field, config)
        if not kwargs or self.language == "shell":
            return f"'{json.dumps(kwargs)}'" if kwargs else None
        return f"{{{', '.join(f'{name}: {yaml_number(str(each))}' for name, each in kwargs.items())}}}"

    def scheduler(self, config: Config) -> tuple[str, dict[str, Any]]:
        """The name and the arguments of a scheduler; a floor above zero needs other names than decay to zero."""
        schedule = config.lr_schedule
        floor, name = schedule.floor, self.words[schedule.name][0]
        if floor:
            name = {"linear": "polynomial", "cosine": "cosine_with_min_lr"}.get(name, name)
        kwargs: dict[str, dict[str, Any]] = {
            "warmup_stable_decay": {
                "num_decay_steps": whole(config.decay_steps),
                "decay_type": next((fall for fall, each in _FALLS.items() if each == schedule.name), None),
                "min_lr_ratio": floor,
            },
            "cosine_with_min_lr": {"min_lr_rate": floor},
            "polynomial": {"power": config.power, "lr_end": float(value(final_lr(config)))},
            "cosine_with_restarts": {"num_cycles": whole(schedule.cycles)},
        }
        return name, kwargs.get(name, {})

    def read(self, document: Document) -> Config:
        """The arguments, with the Trainer's defaults; an optimizer of one's own replaces what they say of it."""
        for call in document.calls:
            if call.last in SETTERS and "." in call.name:
                message = f"{call.name}(...) in {call.where} changes what {self.arguments_class} says"
                raise SpecError(f"{message}: write the values into that, or look at the training itself: {WATCH}")
        config, own = super().read(document), _own_optimizer(document)
        return config if own is None else _replaced(document, config, own)

    def find(self, document: Document) -> Keys:
        """Arguments of its class, and of those that are named after TrainingArguments, in Python."""
        called = {call.last for call in document.calls}
        named = {name for name in called if name.endswith("TrainingArguments")}
        return keys_of(document, named | {self.arguments_class}, ("output_dir",))

    def fields(self, keys: Keys, document: Document) -> dict[str, Any]:
        """With the batch of the snippet's own name, and the processes of a launch."""
        found, each = super().fields(keys, document), keys.number("nproc_per_node", "num_gpus")
        nodes = keys.number("nnodes", "num_nodes") or 1.0
        devices = keys.number("num_processes") if each is None else each * nodes
        return {**found, "batch_size": Keys(document.content).number("GLOBAL_BATCH_SIZE"), "devices": devices}

    def grouped(
        self, keys: Keys, document: Document, peak_lr: float | None, weight_decay: float | None, eps: float | None
    ) -> dict[str, Any]:
        """Groups that are made in Python text, or the Trainer's own."""
        return read_groups(document, keys, peak_lr, weight_decay, eps, self.undecayed)

    def word(self, keys: Keys, field: str) -> str | None:
        """A schedule may be a member of SchedulerType."""
        found = super().word(keys, field)
        return found.rpartition(".")[2] if found and field == "schedule" else found

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """Names of the Trainer's, with their own arguments."""
        fields, kwargs = super().schedule(keys, peak_lr, steps), keys.mapping("lr_scheduler_kwargs")
        name, word = fields.get("schedule"), self.word(keys, "schedule")
        floor, end = kwargs.number("min_lr_rate", "min_lr_ratio"), kwargs.number("min_lr", "lr_end")
        if word == "polynomial":
            if end is None and not kwargs.unread("lr_end"):
                end = keys.filled("final_lr_fraction", POLYNOMIAL_END)
            power = kwargs.number("power") or 1.0
            fields |= {"schedule": "linear"} if power == 1.0 else {"schedule_power": power}
        if name == "cosine-restarts":
            fields["cycles"] = kwargs.number("num_cycles") or 1.0
        if name == "wsd-1-sqrt":  # or another, which is said apart
            fields["schedule"] = chosen("decay_type", kwargs.text("decay_type"), _FALLS, "wsd-cosine")
            fields["decay_steps"] = kwargs.number("num_decay_steps")
        if floor is None and end is not None and peak_lr:
            floor = end / peak_lr
        if floor is not None and name not in (None, "constant", "inverse-sqrt", "cosine-restarts"):
            fields["final_lr_fraction"] = floor
        fields.pop("warmup_steps", None)
        return {**fields, **self.warmup(keys, steps)}

    def warmup(self, keys: Keys, steps: float | None) -> dict[str, float]:
        """Warm-up in steps, or as a fraction: `warmup_ratio` in 4.x, a number below 1 in 5.x."""
        ratio, warm = keys.number("warmup_ratio"), keys.number("warmup_steps")
        if warm:
            return {"warmup_fraction": warm} if warm < 1 else {"warmup_steps": warm}
        return {"warmup_fraction": ratio} if ratio else {}

    def task(self, keys: Keys, document: Document) -> str | None:
        """LoRA by its keys, or the finetuning of a model that is named."""
        lora = ("lora_r", "lora_alpha", "lora_target_modules", "lora_rank", "lora_target")
        kind = keys.text("finetuning_type")
        if any(call.last in ("LoraConfig", "get_peft_model") for call in document.calls):
            return "lora"
        if kind in (None, "lora") and (kind or any(key in keys for key in lora) or keys.yes("use_peft")):
            return "lora"
        named = str(keys.source("model_name_or_path")).lower() not in LEFT_OPEN  # "$MODEL" is a model too
        return "finetuning" if named else self.usual_task

    def packed(self, keys: Keys, document: Document) -> bool | None:
        """Where texts are cut into blocks, too."""
        return "block_size" in keys or bool(_IN_BLOCKS.search(document.text)) or super().packed(keys, document)


def _own_optimizer(document: Document) -> str | None:
    """What is passed to a Trainer as optimizers=(...), or that one makes its own; None where the arguments hold."""
    for call in document.calls:
        given = call.keywords.get("optimizers", call.keywords.get("optimizer_cls_and_kwargs"))
        if call.last.endswith("Trainer") and given is not None and given != [None, None]:
            return str(given)
    if document.format != "Python":
        return None
    given_one = any(re.search(r"(?i)trainer\w*\.optimizer$", path) for path in document.content)
    return "create_optimizer" if (given_one and built(document)) or _REPLACED.search(document.text) else None


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
