"""ms-swift: the Hugging Face Trainer's arguments with other defaults (ms-swift 4.6.0, trainers/arguments.py).

Its weight decay is 0.1, beta2 0.95, the schedule a cosine; the learning rate is 1e-5 for all weights and 1e-4 for LoRA
and the like, which it trains unless `tuner_type` (once `train_type`) is full (arguments/sft_args.py). A batch is made
of 16 sequences where no accumulation is given. `--optimizer` goes before `--optim`.
"""

import math

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.huggingface import HuggingFace, scheduler_of
from adamw_scale.frameworks.reading import Keys
from adamw_scale.frameworks.spelling import whole
from adamw_scale.frameworks.table import Table, key

TUNER = ("tuner_type", "train_type", "sft_type")
IN_ALL = 16  # sequences of a batch whose accumulation is not given


def _accumulation(keys: Keys) -> float | None:
    """Passes that make 16 sequences on devices whose number is known."""
    each, devices = keys.number("per_device_train_batch_size") or 1.0, keys.number("nproc_per_node", "num_processes")
    return None if devices is None else float(max(1, math.ceil(IN_ALL / each / devices)))


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
    proven = "source only: ms-swift 4.6.0; its arguments are proven as the Trainer's"

    keys = {
        **HuggingFace.keys,
        "peak_lr": key("learning_rate", default=lambda keys: 1e-5 if keys.text(*TUNER) == "full" else 1e-4),
        "weight_decay": key("weight_decay", default=0.1),
        "beta2": key("adam_beta2", default=0.95),
        "schedule": key("lr_scheduler_type", default="cosine"),
        "per_device_batch_size": key("per_device_train_batch_size", default=1.0),
        "accumulation": key("gradient_accumulation_steps", default=_accumulation),
        "sequence_length": key("max_length"),
    }
    besides = {"tuner_type": "full"}
    not_adamw = {"optimizer": "a plugin", "use_galore": "GaLore", "lorap_lr_ratio": "LoRA+"}
    traps = ()
    launch = 'NPROC_PER_NODE=1 swift sft --model MODEL --dataset DATASET "${ADAMW_ARGS[@]}"\n'
    write = Table.write

    def task(self, keys: Keys, document: Document) -> str | None:
        """LoRA and the like by default."""
        return "lora" if keys.text(*TUNER) != "full" else "finetuning"

    def rows(self, config: Config) -> dict[str, str]:
        """With the arguments of the schedule, as JSON."""
        scheduler, kwargs = scheduler_of(config)
        inside = str(kwargs).replace("'", '"')
        return {
            **super().rows(config),
            "lr_scheduler_type": scheduler,
            **({"lr_scheduler_kwargs": f"'{inside}'"} if kwargs else {}),
            "warmup_steps": str(whole(config.warmup_steps)),
        }
