"""DeepSpeed-Chat: DeepSpeed's Adam without decay on biases and norms (DeepSpeedExamples 45b4b71, step*/main.py).

Betas are (0.9, 0.95) in its code, and no argument changes them or epsilon. Weight decay is 0 and the schedule a cosine
if nothing is said; the learning rate's default hangs on the step. LoRA's matrices learn at `lora_learning_rate`, 5e-4
by default, and what they adapt not at all. RLHF trains an actor and a critic, with an optimizer each.
"""

from typing import Any

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import same_decay
from adamw_scale.frameworks.huggingface import HuggingFace
from adamw_scale.frameworks.reading import Keys, keys_of
from adamw_scale.frameworks.table import key
from adamw_scale.theory.parametrizations import HIDDEN

BETAS, LORA_LR = (0.9, 0.95), 5e-4


class DeepSpeedChat(HuggingFace):
    """Arguments of its main.py; read, and not written, as betas and epsilon are none."""

    name = "deepspeed-chat"
    title = "DeepSpeed-Chat"
    language = "shell"
    convention = "deepspeed"
    undecayed_by_default = "biases and names like norm.weight; embeddings do decay"
    grouping = "none"
    how_to_group = "change get_optimizer_grouped_parameters in dschat/utils/utils.py"
    reads = "a command line of step 1 or 2, the finetuning of a model, of a reward model, or DPO"
    signs = HuggingFace.signs | frozenset(
        {
            *("zero_stage", "num_warmup_steps", "data_split", "sft_only_data_path", "lora_dim"),
            *("lora_module_name", "only_optimize_lora", "num_padding_at_beginning", "disable_dropout", "enable_ema"),
            *("actor_learning_rate", "critic_learning_rate", "actor_zero_stage", "critic_zero_stage"),
        }
    )
    packages = frozenset({"dschat"})
    scripts = r"\bDeepSpeed-Chat/training/step[12]\w*/main\.py\b"
    formats = frozenset({"shell arguments"})
    emits = False
    proven = "source only: scripts of a repository (commit 45b4b71)"

    keys = {
        "peak_lr": key("learning_rate"),
        "weight_decay": key("weight_decay", default=0.0),
        "eps": key("eps", default=1e-8),
        "accumulation": key("gradient_accumulation_steps", default=1.0),
        "schedule": key("lr_scheduler_type", default="cosine"),
        "warmup_steps": key("num_warmup_steps", default=0.0),
        "epochs": key("num_train_epochs", default=1.0),
        "per_device_batch_size": key("per_device_train_batch_size", default=16.0),
        "sequence_length": key("max_seq_len", default=512.0),
    }
    traps = ()

    def find(self, document: Document) -> Keys:
        """One optimizer's arguments; those of step 3 are two."""
        keys = keys_of(document)
        both = [(name, keys.raw(f"{name}_learning_rate")) for name in ("actor", "critic")]
        if any(keys.source(f"{name}_{rest}") for name, _ in both for rest in ("learning_rate", "zero_stage")):
            listed = ", ".join(f"{name} (lr {lr if lr is not None else 'not given'})" for name, lr in both)
            raise SpecError(
                f"two optimizers are in this launch, {listed}: audit the training, adamw-scale audit -- ..."
            )
        return keys

    def fields(self, keys: Keys, document: Document) -> dict[str, Any]:
        """Where LoRA is trained alone, its learning rate is all there is."""
        found = super().fields(keys, document)
        if found["task"] == "lora" and keys.yes("only_optimize_lora"):
            found["peak_lr"] = keys.number_or("peak_lr", LORA_LR, "lora_learning_rate")
        return found

    def betas(self, keys: Keys) -> tuple[float, float] | None:
        """Those of its code."""
        return keys.filled("betas", BETAS)

    def grouped(
        self, keys: Keys, document: Document, peak_lr: float | None, weight_decay: float | None, eps: float | None
    ) -> dict[str, Any]:
        """LoRA's matrices, which are the hidden ones that learn, have a learning rate of their own."""
        groups = same_decay(weight_decay, self.undecayed)
        if keys.number("lora_dim") and not keys.yes("only_optimize_lora") and peak_lr:
            factor = (keys.number("lora_learning_rate") or LORA_LR) / peak_lr
            groups = tuple(g.model_copy(update={"lr_factor": factor}) if g.group == HIDDEN else g for g in groups)
        return {"groups": groups, "weight_decay_known": weight_decay is not None}

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """The Trainer's names; `constant` looks at no warm-up."""
        fields = super().schedule(keys, peak_lr, steps)
        plain = keys.text("lr_scheduler_type") == "constant"
        return fields if plain else {**fields, "warmup_steps": self.number(keys, "warmup_steps")}

    def task(self, keys: Keys, document: Document) -> str | None:
        """LoRA by its rank."""
        return "lora" if keys.number("lora_dim") else "finetuning"
