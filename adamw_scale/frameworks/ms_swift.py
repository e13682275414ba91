"""ms-swift: the Hugging Face Trainer's arguments with other defaults (ms-swift 4.6.0, trainers/arguments.py).

Its weight decay is 0.1, beta2 0.95, the schedule a cosine; the learning rate is 1e-5 for all weights and 1e-4 for LoRA
and the like, which it trains unless `tuner_type` (once `train_type`) is full (arguments/sft_args.py). A batch is made
of 16 sequences where no accumulation is given. `--optimizer` goes before `--optim`. The number of processes is in the
environment (cli/main.py), of which those of one sequence share it. GRPO counts completions, as TRL's does.
"""

import math
import re
from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.huggingface import HuggingFace
from adamw_scale.frameworks.reading import Keys, keys_of
from adamw_scale.frameworks.table import Table, Trap, key
from adamw_scale.frameworks.trl import GENERATIONS, in_completions

TUNER = ("tuner_type", "train_type", "sft_type")
_STARTED = re.compile(r"(?m)^\s*(?:export\s+)?(NPROC_PER_NODE|NNODES)=(\d+|\$\S+)")
IN_ALL = 16  # sequences of a batch whose accumulation is not given


def _processes(keys: Keys) -> float | None:
    """Processes of all nodes, where both are told."""
    each, nodes = keys.number("nproc_per_node", "NPROC_PER_NODE"), keys.number("nnodes", "NNODES")
    return None if each is None or (nodes is None and keys.unread("NNODES")) else each * (nodes or 1.0)


def _accumulation(keys: Keys) -> float | None:
    """Passes that make 16 sequences on devices whose number is known."""
    each, devices = keys.number("per_device_train_batch_size") or 1.0, _processes(keys)
    return None if devices is None else float(max(1, math.ceil(IN_ALL / each / devices)))


def in_prompts(keys: Keys) -> dict[str, Any]:
    """What an epoch is of GRPO, whose batches are in completions."""
    return in_completions(keys, GENERATIONS["grpo"] if keys.text("rlhf_type") == "grpo" else None)


class MSSwift(HuggingFace):
    """Arguments of `swift sft` for all weights."""

    name = "ms-swift"
    title = "ms-swift"
    language = "shell"
    grouping = "none"
    how_to_group = "write an optimizer plugin and name it with --optimizer"
    reads = "a command line of swift sft, pt or rlhf, or YAML or JSON of its arguments"
    signs = HuggingFace.signs | frozenset(
        {
            *("tuner_type", "train_type", "split_dataset_ratio", "rlhf_type", "model_author", "freeze_vit"),
        }
    )
    packages = frozenset({"swift"})
    scripts = r"(?m)(^|\s)swift\s+(sft|pt|rlhf)\b|\bswift/cli/(sft|pt|rlhf)\.py\b"
    formats = frozenset({"shell arguments", "YAML", "JSON"})
    proven = "ms-swift 4.6, on transformers 5.23"

    keys = {
        **HuggingFace.keys,
        "peak_lr": key("learning_rate", default=lambda keys: 1e-5 if keys.text(*TUNER) == "full" else 1e-4),
        "weight_decay": key("weight_decay", default=0.1),
        "beta2": key("adam_beta2", default=0.95),
        "schedule": key("lr_scheduler_type", "lr_scheduler", default="cosine"),
        "per_device_batch_size": key("per_device_train_batch_size", default=1.0),
        "accumulation": key("gradient_accumulation_steps", default=_accumulation),
        "sequence_length": key("max_length"),
    }
    besides = {"tuner_type": "full"}
    not_adamw = {"optimizer": "a plugin", "use_galore": "GaLore", "lorap_lr_ratio": "LoRA+"}
    traps = tuple(
        Trap(
            "note",
            "parts-apart",
            name,
            f"{part} learns at {{value}} and not at learning_rate, and so decays at that rate too; it is not judged",
            "nothing to do if it is meant",
        )
        for name, part in (("vit_lr", "the vision transformer"), ("aligner_lr", "the aligner"))
    )
    launch = 'NPROC_PER_NODE=1 swift sft --model MODEL --dataset DATASET "${ADAMW_ARGS[@]}"\n'
    write = Table.write

    def find(self, document: Document) -> Keys:
        """With the processes that the environment says."""
        said = set(_STARTED.findall(document.text)) if document.format == "shell arguments" else set()
        started = {name: each for name, each in said if [other for other, _ in said].count(name) == 1}
        return keys_of(document._replace(content=started | document.content))

    def fields(self, keys: Keys, document: Document) -> dict[str, Any]:
        """With the processes that have sequences of their own, and batches of GRPO in completions."""
        processes, shared = _processes(keys), keys.number("sequence_parallel_size") or 1.0
        found = {**super().fields(keys, document), "devices": processes and max(1.0, processes / shared)}
        return found | in_prompts(keys)

    def task(self, keys: Keys, document: Document) -> str | None:
        """LoRA and the like by default."""
        return "lora" if keys.text(*TUNER) != "full" else "finetuning"
