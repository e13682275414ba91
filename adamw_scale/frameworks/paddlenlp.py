"""PaddleNLP: Paddle's AdamW without decay on biases and norms (paddlenlp 2.8.1, trainer; llm/run_pretrain.py).

The arguments are those of the Hugging Face Trainer with schedules of their own, whose options are arguments too. In
run_pretrain.py a line and a cosine end at `min_learning_rate`, 1e-5 by default, after `decay_steps`; elsewhere at 0.
A batch is of every device that shares its model with no other.
"""

import math
import re
from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.huggingface import POLYNOMIAL_END, HuggingFace
from adamw_scale.frameworks.reading import Keys, keys_of
from adamw_scale.frameworks.spelling import final_lr, value
from adamw_scale.frameworks.table import Table, key, note_other_end

OF_PRETRAINING = ("min_learning_rate", "decay_steps", "input_dir", "continue_training")
SHARED_BY = ("tensor_parallel_degree", "pipeline_parallel_degree", "sep_parallel_degree")
_NAMED = re.compile(r"(?m)\bpaddle\.distributed\.launch\b[^#;&|]*?--(?:gpus|devices)[= ]\s*[\"']?(\d+(?:,\d+)*)\b")


def _pretrains(keys: Keys) -> bool:
    """Whether they are arguments of run_pretrain.py."""
    return any(keys.source(name) is not None for name in OF_PRETRAINING)


def _devices(keys: Keys, document: Document) -> float | None:
    """Devices with sequences of their own, where the launch says how many there are."""
    each = keys.number("nproc_per_node")
    if each is None and len(named := set(_NAMED.findall(document.text))) == 1:
        each = float(len(named.pop().split(",")))
    if each is None or keys.unread("nnodes"):
        return None
    shared = math.prod(max(1.0, keys.signed(name) or 1.0) for name in SHARED_BY)
    return max(1.0, each * (keys.number("nnodes") or 1.0) / shared)


class PaddleNLP(HuggingFace):
    """Arguments of llm/run_pretrain.py."""

    name = "paddlenlp"
    title = "PaddleNLP"
    language = "shell"
    convention = "paddle"
    undecayed_by_default = "names with bias or norm; embeddings do decay"
    grouping = "none"
    how_to_group = "pass Trainer.set_optimizer_grouped_parameters groups of your own"
    schedules = ("linear", "cosine", "constant", "polynomial")
    only_to_zero = frozenset()
    reads = "TrainingArguments in Python, JSON, YAML, or a command line"
    signs = HuggingFace.signs | frozenset(
        {
            "PreTrainingArguments",
            *("tensor_parallel_degree", "pipeline_parallel_degree", "sharding_parallel_degree", "sharding"),
            *("unified_checkpoint", "fp16_opt_level", "amp_master_grad", "min_learning_rate", "zero_padding"),
            *("use_fused_rms_norm", "recompute", "recompute_granularity", "distributed_dataloader", "src_length"),
            *("dataset_name_or_path", "scale_loss", "eval_with_do_generation", "virtual_pp_degree"),
        }
    )
    packages = frozenset({"paddlenlp"})
    scripts = r"\bPaddleNLP/llm/\S+\.py\b|\bpaddle\.distributed\.launch\b[^#;&|]*\brun_(pretrain|finetune|dpo)\.py\b"
    formats = frozenset({"Python", "JSON", "YAML", "shell arguments"})
    proven = "source only, but for its schedules: its AdamW wants paddlepaddle"

    keys = {
        "optimizer": key("optim", default="adamw"),
        "peak_lr": key("learning_rate", default=5e-5),
        "weight_decay": key("weight_decay", default=0.0),
        "beta1": key("adam_beta1", default=0.9),
        "beta2": key("adam_beta2", default=0.999),
        "eps": key("adam_epsilon", default=1e-8),
        "schedule": key("lr_scheduler_type", default="linear"),
        "final_lr": key("min_learning_rate", default=lambda keys: 1e-5 if _pretrains(keys) else 0.0),
        "lr_end": key("lr_end"),
        "schedule_power": key("power"),
        "warmup_steps": key("warmup_steps"),
        "warmup_fraction": key("warmup_ratio"),
        "total_steps": key("max_steps"),
        "epochs": key("num_train_epochs", default=1.0),
        "per_device_batch_size": key("per_device_train_batch_size", default=8.0),
        "accumulation": key("gradient_accumulation_steps", default=1.0),
        "sequence_length": key("max_seq_length", "max_length", "max_seq_len"),
    }
    packing = ("zero_padding", "greedy_zero_padding", "intokens")
    optimizers = {"adamw": "paddle"}
    words = {
        "linear": ("linear",),
        "cosine": ("cosine",),
        "constant": ("constant_with_warmup", "constant"),
        "polynomial": ("polynomial",),
    }
    traps = ()
    launch = (
        "python -u -m paddle.distributed.launch --nproc_per_node 1 run_pretrain.py --model_name_or_path MODEL"
        ' --input_dir DATA --output_dir out "${ADAMW_ARGS[@]}"\n'
    )
    write = Table.write

    def find(self, document: Document) -> Keys:
        """Arguments of its classes."""
        return keys_of(document, ("TrainingArguments", "PreTrainingArguments"), ("output_dir",))

    def fields(self, keys: Keys, document: Document) -> dict[str, Any]:
        """With the devices of a launch."""
        return {**super().fields(keys, document), "devices": _devices(keys, document)}

    def task(self, keys: Keys, document: Document) -> str | None:
        """By the script's own arguments."""
        if keys.yes("lora"):
            return "lora"
        return "pretraining" if _pretrains(keys) else super().task(keys, document)

    def packed(self, keys: Keys, document: Document) -> bool | None:
        """Pretraining cuts its text into full sequences."""
        return True if _pretrains(keys) else super().packed(keys, document)

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """Its names, and their options."""
        fields = Table.schedule(self, keys, peak_lr, steps)
        name, word = fields.get("schedule"), self.word(keys, "schedule")
        if name == "cosine" and (keys.number("num_cycles") or 0.5) != 0.5:
            message = "a cosine of other than half a wave is not known here"
            keys.note("schedule-unread", "num_cycles", message, fix="pass --schedule with the nearest")
            return {**fields, "schedule": None}
        if name == "polynomial":
            keys.settle("final_lr_fraction")
            end = keys.number_or("final_lr_fraction", POLYNOMIAL_END, "lr_end")
            fields["final_lr_fraction"] = keys.fraction("final_lr_fraction", end, peak_lr)
            power = fields.pop("schedule_power", None) or keys.filled("schedule_power", 1.0, "power")
            fields |= {"schedule": "linear"} if power == 1.0 else {"schedule_power": power}
        if word == "constant":
            fields = {"schedule": "constant"}
        end = keys.number("decay_steps")
        if end and steps and end != steps and name in ("linear", "cosine"):
            fix = "leave decay_steps out: it is max_steps then"
            note_other_end(keys, "other-end", "decay_steps", end, steps, fix)
            warmup = fields.pop("warmup_fraction", None)
            fields |= {"schedule_end": end} | ({"warmup_steps": warmup * steps} if warmup else {})
        return fields

    def spelled(self, field: str, config: Config) -> str | None:
        """An end is of a shape; the warm-up is written in steps."""
        name = config.schedule or "constant"
        if field == "warmup_fraction" or (field == "final_lr" and name not in ("linear", "cosine")):
            return None
        if name == "polynomial" and field in ("lr_end", "schedule_power"):
            return value(final_lr(config) if field == "lr_end" else config.power)
        return None if field in ("lr_end", "schedule_power") else Table.spelled(self, field, config)
