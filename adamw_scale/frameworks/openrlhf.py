"""OpenRLHF: DeepSpeed's AdamW without decay on biases and norms, the Trainer's schedules (openrlhf 0.11.2, cli).

`--adam.weight_decay` is 0 by default, and was `--l2` once. Where a cosine ends is a fraction, `--min_lr_ratio`,
which no other schedule looks at (utils/deepspeed/deepspeed.py). The learning rate's default hangs on the command.
PPO trains an actor and a critic with an optimizer each.
"""

from typing import Any

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Document
from adamw_scale.frameworks.reading import Keys, keys_of
from adamw_scale.frameworks.table import Table, key
from adamw_scale.theory.parametrizations import NORM_AND_BIAS


class OpenRLHF(Table):
    """Arguments of openrlhf.cli.train_sft."""

    name = "openrlhf"
    title = "OpenRLHF"
    language = "shell"
    convention = "deepspeed"
    undecayed = frozenset({NORM_AND_BIAS})
    undecayed_by_default = "biases and names like norm.weight; embeddings do decay"
    grouping = "none"
    how_to_group = "change get_optimizer_grouped_parameters in utils/deepspeed/deepspeed_utils.py"
    schedules = ("cosine", "constant", "linear", "inverse-sqrt")
    only_to_zero = frozenset({"linear"})
    reads = "a command line of openrlhf.cli.train_sft, train_dpo or train_rm"
    signs = frozenset(
        {
            *("adam.lr", "adam.weight_decay", "adam.betas", "min_lr_ratio", "lr_warmup_ratio"),
            *("train.micro_batch_size", "train.max_epochs", "data.max_len", "micro_train_batch_size", "l2"),
        }
    )
    scripts = r"\bopenrlhf\.cli\.train_\w+"
    formats = frozenset({"shell arguments"})
    proven = "openrlhf 0.11.2, with torch's AdamW for DeepSpeed's"

    keys = {
        "optimizer": key("optim", default="adam"),
        "peak_lr": key("adam.lr", "learning_rate"),
        "betas": key("adam.betas", "adam_betas", default=(0.9, 0.95)),
        "eps": key("adam.eps", default=1e-8),
        "weight_decay": key("adam.weight_decay", "l2", default=0.0),
        "schedule": key("lr_scheduler", default="cosine_with_min_lr"),
        "warmup_fraction": key("lr_warmup_ratio", default=0.03),
        "final_lr_fraction": key("min_lr_ratio", default=0.1),
        "epochs": key("train.max_epochs", "max_epochs"),
        "batch_size": key("train.batch_size", "train_batch_size"),
        "sequence_length": key("data.max_len", "max_len"),
    }
    optimizers = {"adam": "deepspeed"}
    words = {
        "cosine": ("cosine_with_min_lr", "cosine_warmup_with_min_lr", "cosine"),
        "constant": ("constant_with_warmup",),
        "linear": ("linear",),
        "inverse-sqrt": ("inverse_sqrt",),
    }
    launch = 'deepspeed --module openrlhf.cli.train_sft --data.dataset DATASET "${ADAMW_ARGS[@]}"\n'

    def find(self, document: Document) -> Keys:
        """One optimizer's arguments; those of PPO are two."""
        keys = keys_of(document)
        both = [(name, keys.raw(f"{name}.adam.lr", f"{name}_learning_rate")) for name in ("actor", "critic")]
        if any(lr is not None for _, lr in both):
            listed = ", ".join(f"{name} (lr {lr if lr is not None else 'not given'})" for name, lr in both)
            raise SpecError(
                f"two optimizers are in this launch, {listed}: audit the training, adamw-scale audit -- ..."
            )
        return keys

    def task(self, keys: Keys, document: Document) -> str | None:
        """LoRA by its rank."""
        full = "pretraining" if keys.yes("model.pretrain_mode_enable", "pretrain_mode") else "finetuning"
        return "lora" if keys.number("ds.lora.rank", "lora_rank") else full

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """A floor of the cosines that are named after it, and of no other."""
        fields = super().schedule(keys, peak_lr, steps)
        if not (self.word(keys, "schedule") or "").endswith("min_lr"):
            keys.settle("final_lr_fraction")
            fields.pop("final_lr_fraction", None)
        return fields
