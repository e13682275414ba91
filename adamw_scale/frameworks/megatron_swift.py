"""Megatron-SWIFT: Megatron's arguments with ms-swift's defaults (ms-swift 4.6.0, megatron/arguments/megatron_args.py).

Weight decay 0.1, beta2 0.95, a cosine to 0, 16 sequences a step; 1e-5 for all weights, which it trains unless
`tuner_type` (once `train_type`) says otherwise, and 1e-4 for LoRA. Epochs go before `train_iters`, and GRPO counts
completions, as TRL's does. An argument is spelled with dashes or underscores.
"""

from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.megatron import Megatron
from adamw_scale.frameworks.ms_swift import TUNER, MSSwift, in_prompts
from adamw_scale.frameworks.reading import Keys
from adamw_scale.frameworks.table import key

ADAPTERS = ("adapters", "mcore_adapter")  # that are trained on, whatever the tuner


def _full(keys: Keys) -> bool:
    return keys.text(*TUNER) in (None, "full") and not any(name in keys for name in ADAPTERS)


class MegatronSwift(Megatron):
    """Arguments of `megatron sft`."""

    name = "megatron-swift"
    title = "Megatron-SWIFT"
    reads = "a command line of megatron sft, pt or rlhf, or YAML of its arguments"
    signs = Megatron.signs | frozenset(
        {"save_safetensors", "merge_lora", "mcore_model", "mcore_adapter", "padding_free"}
    )
    scripts = r"(?m)(^|\s)megatron\s+(sft|pt|rlhf)\b|\bswift/cli/_megatron/(sft|pt|rlhf)\.py\b"
    proven = "ms-swift 4.6; its optimizer and schedule as Megatron-LM's"

    keys = {
        **Megatron.keys,
        "peak_lr": key("lr", default=lambda keys: 1e-5 if _full(keys) else 1e-4),
        "weight_decay": key("weight_decay", default=0.1),
        "beta2": key("adam_beta2", default=0.95),
        "schedule": key("lr_decay_style", default="cosine"),
        "batch_size": key("global_batch_size", default=16.0),
        "per_device_batch_size": key("micro_batch_size", default=1.0),
        "epochs": key("num_train_epochs"),
        "sequence_length": key("max_length"),
    }
    packing = ("packing",)
    traps = (*Megatron.traps, *MSSwift.traps)
    unit = None
    launch = 'megatron sft --model MODEL --dataset DATASET "${ADAMW_ARGS[@]}"\n'

    def number(self, keys: Keys, field: str, filling: str | None = None) -> float | None:
        """The length of a pack goes before that of a row."""
        packs = keys.number("packing_length") if field == "sequence_length" else None
        return packs or super().number(keys, field, filling)

    def fields(self, keys: Keys, document: Document) -> dict[str, Any]:
        """Epochs go before iterations, and batches of GRPO are in completions."""
        found, epochs = super().fields(keys, document), keys.number("num_train_epochs")
        found |= {"epochs": epochs, "total_steps": None} if epochs else {}
        return found | in_prompts(keys)

    def task(self, keys: Keys, document: Document) -> str | None:
        """All weights unless it says otherwise."""
        return "finetuning" if _full(keys) else "lora"

    def spelled(self, field: str, config: Config) -> str | None:
        """Without epochs, as it counts iterations."""
        return None if field == "epochs" else super().spelled(field, config)
