"""LLaMA-Factory: the Hugging Face Trainer's arguments with keys of its own (llamafactory 0.9.5, hparams/*_args.py).

LoRA unless `finetuning_type` says otherwise. Its switches put other optimizers in AdamW's place
(train/trainer_utils.py); of those its Muon decays every tensor by lr * weight_decay, norms and biases too
(third_party/muon/muon.py). Its warmup_stable_decay falls after a third of what follows the warm-up, unless
`num_stable_steps` says otherwise.
"""

from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, same_decay
from adamw_scale.frameworks.huggingface import RATIO_REMOVED, HuggingFace
from adamw_scale.frameworks.reading import Keys
from adamw_scale.frameworks.spelling import whole
from adamw_scale.frameworks.table import Table, Trap, key


class LLaMAFactory(HuggingFace):
    """The keys of a YAML config that are about the optimizer; merge them into one that has model and data."""

    name = "llama-factory"
    title = "LLaMA-Factory"
    language = "yaml"
    grouping = "none"
    how_to_group = "create the optimizer in code: of groups its configs know only LoRA+'s"
    reads = "its YAML or JSON, or a command line of llamafactory-cli train"
    signs = HuggingFace.signs | frozenset(
        {
            *("finetuning_type", "cutoff_len", "lora_target", "lora_rank", "stage", "template", "dataset_dir"),
            *("overwrite_cache", "preprocessing_num_workers", "freeze_trainable_layers", "neat_packing", "plot_loss"),
        }
    )
    packages = frozenset({"llamafactory"})
    scripts = r"\bllamafactory-cli\b|\bllamafactory\b|\bLLaMA-Factory/src/train\w*\.py\b"
    formats = frozenset({"YAML", "JSON", "shell arguments"})
    proven = "llamafactory 0.9.5, on transformers 5.23"

    keys = {**HuggingFace.keys, "sequence_length": key("cutoff_len")}
    besides = {"finetuning_type": "full"}  # LoRA otherwise
    not_adamw = {
        "use_galore": "GaLore",
        "use_apollo": "APOLLO",
        "use_badam": "BAdam, one block at a time,",
        "use_adam_mini": "Adam-mini",
        "use_mca": "Megatron's optimizer",
    }
    traps = (
        RATIO_REMOVED,
        Trap("note", "muon-decays-all", "use_muon",
             "use_muon trains matrices with Muon and the rest with AdamW, all at learning_rate, and decays every "
             "tensor, norms and biases too",
             "nothing to do if it is meant; a weight decay for AdamW is none for Muon",
             lambda keys: keys.yes("use_muon")),
        Trap("note", "loraplus", "loraplus_lr_ratio",
             "LoRA+ trains lora_B at {value} times learning_rate, and so decays it as many times faster",
             "nothing to do if it is meant"),
    )  # fmt: skip
    write = Table.write

    def fields(self, keys: Keys, document: Document) -> dict[str, Any]:
        """Muon goes before whatever `optim` says."""
        found = super().fields(keys, document)
        if keys.yes("use_muon"):
            keys.settle("optimizer")
            found |= {"optimizer": "muon", "convention": self.convention}
        if keys.text("stage") == "pt" and keys.yes("packing") is None:
            keys.settle("packed")
            found["packed"] = True  # by default, of that stage alone (data_args.py)
        return found

    def task(self, keys: Keys, document: Document) -> str | None:
        """LoRA by default."""
        if keys.text("finetuning_type") in (None, "lora", "oft"):  # OFT adapts too: the weights stay as they are
            return "lora"
        return "pretraining" if keys.text("stage") == "pt" else "finetuning"

    def grouped(
        self, keys: Keys, document: Document, peak_lr: float | None, weight_decay: float | None, eps: float | None
    ) -> dict[str, Any]:
        """Muon spares nothing."""
        if keys.yes("use_muon"):
            return {"groups": same_decay(weight_decay), "weight_decay_known": weight_decay is not None}
        return super().grouped(keys, document, peak_lr, weight_decay, eps)

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """With its own length of a fall."""
        fields, kwargs = super().schedule(keys, peak_lr, steps), keys.mapping("lr_scheduler_kwargs")
        if "decay_steps" not in fields or not steps:
            return fields
        after = steps - (fields.get("warmup_steps") or int(steps * fields.get("warmup_fraction", 0.0)))
        stable, fall = kwargs.number("num_stable_steps"), fields["decay_steps"]
        if stable is None and fall is None:
            return {**fields, "decay_steps": keys.filled("decay_steps", after - after // 3)}
        stable = after // 3 if stable is None else stable
        fall = max(1.0, after - stable) if fall is None else fall
        if abs(stable + fall - after) > 1:
            message = f"the fall of {fall:g} steps starts {stable:g} after the warm-up and does not end with the run"
            fix = "write num_stable_steps into lr_scheduler_kwargs, so that it does"
            keys.warning("other-end", "lr_scheduler_kwargs", message, fix)
        return {**fields, "decay_steps": fall}

    def scheduler(self, config: Config) -> tuple[str, dict[str, Any]]:
        """With the steps before a fall."""
        name, kwargs = super().scheduler(config)
        if "num_decay_steps" in kwargs:
            after = whole(config.total_steps) - whole(config.warmup_steps)
            kwargs["num_stable_steps"] = after - kwargs["num_decay_steps"]
        return name, kwargs
