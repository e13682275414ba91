"""LitGPT: torch AdamW over all of model.parameters(), one cosine to `train.min_lr` (pretrain.py).

The schedule is taken at every micro-batch, so an optimizer step gets the learning rate of its last one. The length of
a run is `train.max_tokens`; `train.max_steps` is not looked at. Every group gets the same learning rate. Fine-tuning
(finetune/full.py) counts epochs instead and always falls to zero.
"""

from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Mend
from adamw_scale.frameworks.reading import Keys, keys_of
from adamw_scale.frameworks.spelling import whole
from adamw_scale.frameworks.table import Table, Trap, key

ARGUMENTS = "optimizer.init_args"
BITS = ("AdamW", "AdamW8bit", "PagedAdamW")
MOVED = {"learning_rate": "lr", "weight_decay": "weight_decay", "beta1": "betas", "beta2": "betas"}


def _finetunes(keys: Keys) -> bool:
    """Whether `litgpt finetune` reads it, which has defaults of its own."""
    named = "checkpoint_dir" in keys and "model_name" not in keys
    return "train.epochs" in keys or "lora_r" in keys or named


class LitGPT(Table):
    """YAML of `litgpt pretrain --config`: its train and optimizer keys."""

    name = "litgpt"
    title = "LitGPT"
    language = "yaml"
    convention = "pytorch"
    undecayed_by_default = "nothing: every parameter decays"
    grouping = "none"
    how_to_group = (
        "change the optimizer in litgpt/pretrain.py: give it groups, and let the loop multiply each group's own lr"
    )
    schedules = ("cosine",)
    reads = "YAML of litgpt pretrain and litgpt finetune"
    signs = frozenset(
        {
            *("lr_warmup_steps", "lr_warmup_fraction", "max_tokens", "min_lr", "max_norm", "tie_embeddings"),
            *("global_batch_size", "micro_batch_size", "max_seq_length", "logger_name"),
        }
    )
    formats = frozenset({"YAML"})
    proven = "litgpt 0.5"
    unit = "tokens"

    keys = {
        "batch_size": key("train.global_batch_size", default=lambda keys: 16.0 if _finetunes(keys) else 512.0),
        "per_device_batch_size": key("train.micro_batch_size", default=lambda keys: 1.0 if _finetunes(keys) else 4.0),
        "sequence_length": key("train.max_seq_length"),
        "total_tokens": key("train.max_tokens", default=3e12),
        "epochs": key("train.epochs", default=lambda keys: 5.0 if _finetunes(keys) else None),
        "warmup_steps": key("train.lr_warmup_steps", default=lambda keys: 100.0 if _finetunes(keys) else 2000.0),
        "warmup_fraction": key("train.lr_warmup_fraction"),
        "final_lr": key("train.min_lr", default=4e-5),
        "optimizer": key("optimizer.class_path"),
        "peak_lr": key(f"{ARGUMENTS}.lr", "train.learning_rate", default=1e-3),
        "weight_decay": key(
            f"{ARGUMENTS}.weight_decay",
            "train.weight_decay",
            default=lambda keys: 0.0 if (keys.text("optimizer.class_path") or "").endswith("Adam") else 0.01,
        ),
        "betas": key(f"{ARGUMENTS}.betas"),
        "eps": key(f"{ARGUMENTS}.eps", default=1e-8),
    }
    optimizers = {
        **dict.fromkeys(("AdamW", "torch.optim.AdamW"), "pytorch"),
        **dict.fromkeys(("Adam", "torch.optim.Adam"), "torch-adam"),
        **dict.fromkeys(
            (f"bitsandbytes.optim.{each}" for each in ("AdamW", "AdamW8bit", "PagedAdamW")), "bitsandbytes"
        ),
    }
    traps = (
        *(
            Trap(
                "warning",
                "removed-key",
                f"train.{old}",
                f"train.{old} is of older releases; LitGPT now refuses it, as the optimizer has its own keys",
                f"write {ARGUMENTS}.{new}",
            )
            for old, new in MOVED.items()
        ),
        Trap("error", "refused-value", "train.lr_warmup_fraction",
             "lr_warmup_fraction is refused beside lr_warmup_steps, which has a default of its own",
             "write lr_warmup_steps: 0 too, or lr_warmup_steps alone",
             lambda keys: keys.number("train.lr_warmup_fraction") and keys.number("train.lr_warmup_steps") != 0),
        Trap("note", "fraction-of-an-epoch", "train.lr_warmup_fraction",
             "lr_warmup_fraction is of an epoch of the data, not of the run; it is judged as if the two were equal",
             "write lr_warmup_steps", lambda keys: keys.number("train.lr_warmup_fraction")),
        Trap("error", "ignored-key", "train.max_steps",
             "pretraining does not look at train.max_steps, neither for its schedule nor for its end",
             "write train.max_tokens: steps times global_batch_size times max_seq_length",
             lambda keys: "train.max_steps" in keys and not _finetunes(keys)),
        Trap("note", "shorter-of-two", "train.max_steps",
             "finetuning ends after train.max_steps, or after its epochs if those are shorter; the steps are judged",
             "pass --steps if the epochs are shorter", lambda keys: "train.max_steps" in keys and _finetunes(keys)),
        Trap("note", "ignored-key", "train.min_lr",
             "finetuning does not look at train.min_lr: its cosine always falls to zero",
             "drop it", lambda keys: "train.min_lr" in keys and _finetunes(keys), Mend(key="min_lr")),
        Trap("error", "refused-value", "optimizer",
             "optimizer has no class_path, without which it is not built",
             f"write optimizer.class_path: torch.optim.AdamW, and its arguments below {ARGUMENTS}",
             lambda keys: isinstance(keys.raw("optimizer"), dict) and "optimizer.class_path" not in keys),
    )  # fmt: skip

    def find(self, document: Document) -> Keys:
        """Keys, with a class as a mapping of it."""
        named = document.content.get("optimizer")
        content = document.content | ({"optimizer": {"class_path": named}} if isinstance(named, str) else {})
        return keys_of(document._replace(content=content))

    def word(self, keys: Keys, field: str) -> str | None:
        """Paged AdamW of bitsandbytes where it quantizes, whatever AdamW is written (instantiate_bnb_optimizer)."""
        if field == "optimizer" and str(keys.raw("quantize")).startswith("bnb."):
            return "bitsandbytes.optim.PagedAdamW"
        return super().word(keys, field)

    def fields(self, keys: Keys, document: Document) -> dict[str, Any]:
        """Pretraining counts tokens; finetuning steps or epochs, of rows that it pads."""
        found, tokens, steps = super().fields(keys, document), None, None
        if _finetunes(keys):
            found["packed"], steps = False, keys.number("train.max_steps") or None
        else:
            tokens = self.number(keys, "total_tokens")
            if tokens and found["batch_size"] and found["sequence_length"]:
                steps = tokens / (found["batch_size"] * found["sequence_length"])
        if steps:
            keys.settle("epochs")
            found["epochs"] = None
        return {**found, "total_tokens": tokens, "total_steps": steps}

    def task(self, keys: Keys, document: Document) -> str | None:
        """LoRA by its rank."""
        return "lora" if "lora_r" in keys else "finetuning" if _finetunes(keys) else None

    def betas(self, keys: Keys) -> tuple[float, float] | None:
        """Of the optimizer, or as older releases had them."""
        return super().betas(keys) or keys.betas((0.9, 0.999), "train.beta1", "train.beta2")

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """The one cosine, to zero in finetuning."""
        part = self.number(keys, "warmup_fraction")
        warmup = {"warmup_fraction": part} if part else {"warmup_steps": self.number(keys, "warmup_steps")}
        floor = 0.0 if _finetunes(keys) else self.number(keys, "final_lr", filling="final_lr_fraction")
        fraction = keys.fraction("final_lr_fraction", floor, peak_lr)
        return {"schedule": "cosine", **warmup, "final_lr_fraction": fraction}

    def spelled(self, field: str, config: Config) -> str | None:
        """The run in tokens, of which samples count as one each."""
        steps, batch, length = (whole(each) for each in (config.total_steps, config.batch_size, config.sequence_length))
        tokens = steps * batch * (length or 1) if batch else round(steps * (config.batch_tokens or 0))
        unknown = "1  # a sample counts as one token: set the length and multiply max_tokens by it"
        own: dict[str, str | None] = {
            "batch_size": str(batch) if batch else f"null  # {config.batch_tokens:g} tokens over the sequence length",
            "per_device_batch_size": "1  # as much as fits in memory" if batch else None,
            "sequence_length": (str(length) if length else unknown) if batch else None,
            "total_tokens": str(tokens),
            "optimizer": "torch.optim.AdamW",
            "epochs": None,
            "warmup_fraction": None,
        }
        return own[field] if field in own else super().spelled(field, config)
