"""LitGPT: torch AdamW over all of model.parameters(), one cosine to `train.min_lr` (pretrain.py).

The schedule is taken at every micro-batch, so an optimizer step gets the learning rate of its last one. The length of
a run is `train.max_tokens`; `train.max_steps` is not looked at. Every group gets the same learning rate. Fine-tuning
(finetune/full.py) counts epochs instead and always falls to zero.
"""

from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Mend, same_decay
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.reading import Keys, chosen, keys_of
from adamw_scale.frameworks.spelling import betas_of, eps_of, final_lr, lr_of, value, whole, yaml_number

OPTIMIZERS = {
    "AdamW": "pytorch",
    "torch.optim.AdamW": "pytorch",
    "torch.optim.Adam": "torch-adam",
    "Adam": "torch-adam",
    **dict.fromkeys((f"bitsandbytes.optim.{name}" for name in ("AdamW", "AdamW8bit", "PagedAdamW")), "bitsandbytes"),
}
# What `litgpt pretrain` and `litgpt finetune_full` take where nothing is said.
PRETRAIN = {"batch": 512.0, "micro": 4.0, "warmup": 2000.0, "min_lr": 4e-5, "tokens": 3e12}
FINETUNE = {"batch": 16.0, "micro": 1.0, "warmup": 100.0, "min_lr": 0.0, "epochs": 5.0}
MOVED = {"learning_rate": "lr", "weight_decay": "weight_decay", "beta1": "betas", "beta2": "betas"}


class LitGPT(Framework):
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

    def write(self, config: Config) -> str:
        """YAML; the micro-batch times the number of devices has to divide the batch."""
        beta1, beta2 = betas_of(config)
        optimizer = {
            "lr": yaml_number(lr_of(config)),
            "weight_decay": yaml_number(value(config.weight_decay)),
            "betas": f"[{beta1}, {beta2}]",
            "eps": yaml_number(eps_of(config)),
        }
        rows = {
            **_length(config),
            "lr_warmup_steps": str(whole(config.warmup_steps)),
            "min_lr": yaml_number(value(final_lr(config))),
        }
        return (
            "train:\n"
            + "".join(f"  {key}: {text}\n" for key, text in rows.items())
            + "optimizer:\n  class_path: torch.optim.AdamW\n  init_args:\n"
            + "".join(f"    {key}: {text}\n" for key, text in optimizer.items())
        )

    def read(self, document: Document) -> Config:
        """The train and optimizer keys, with the defaults of litgpt pretrain, or of finetuning if epochs are given."""
        keys = keys_of(document)
        train, arguments, name = keys.mapping("train"), keys.mapping("optimizer.init_args"), _optimizer(keys)
        named = "checkpoint_dir" in keys and "model_name" not in keys
        finetuning = "epochs" in train or "lora_r" in keys or named
        default = FINETUNE if finetuning else PRETRAIN
        convention = chosen("optimizer", name, OPTIMIZERS, self.convention) or self.convention
        peak_lr = train.number("learning_rate") or arguments.number_or("peak_lr", 1e-3, "lr")
        weight_decay = train.number("weight_decay")
        if weight_decay is None:
            ordinary = 0.0 if convention == "torch-adam" else 0.01
            weight_decay = arguments.number_or("weight_decay", ordinary, "weight_decay")
        batch = train.number_or("batch_size", default["batch"], "global_batch_size")
        length = train.number("max_seq_length")
        tokens = None if finetuning else train.number_or("total_tokens", default["tokens"], "max_tokens")
        most = train.number("max_steps") if finetuning else None
        floor = 0.0 if finetuning else train.number_or("final_lr_fraction", default["min_lr"], "min_lr")
        _note_traps(keys, train, finetuning)
        return Config(
            task="lora" if "lora_r" in keys else "finetuning" if finetuning else None,
            convention=convention,
            optimizer=name or "AdamW",
            peak_lr=peak_lr,
            groups=same_decay(weight_decay or 0.0),
            betas=arguments.pair("betas") or train.betas((0.9, 0.999), "beta1", "beta2"),
            eps=arguments.number_or("eps", 1e-8, "eps"),
            schedule="cosine",
            **_warmup(train, default["warmup"]),
            final_lr_fraction=(floor or 0.0) / peak_lr if peak_lr else None,
            total_steps=most or (tokens / (batch * length) if tokens and batch and length else None),
            epochs=train.number_or("epochs", FINETUNE["epochs"], "epochs") if finetuning and not most else None,
            unit="tokens",
            packed=False if finetuning else None,  # litgpt finetune pads rows, and has no packing
            total_tokens=tokens,
            sequence_length=length,
            batch_size=batch,
            per_device_batch_size=train.number_or("per_device_batch_size", default["micro"], "micro_batch_size"),
            **keys.noted(),
        )


def _length(config: Config) -> dict[str, str]:
    """Batch and duration; LitGPT counts the run in tokens, so samples count as one each."""
    steps, batch = whole(config.total_steps), whole(config.batch_size)
    if config.batch_size is None:
        return {
            "global_batch_size": f"null  # {config.batch_tokens:g} tokens over the sequence length",
            "max_tokens": str(round(steps * (config.batch_tokens or 0))),
        }
    length = whole(config.sequence_length) or 1
    unknown = (
        ""
        if config.sequence_length
        else "  # a sample counts as one token: set the length and multiply max_tokens by it"
    )
    return {
        "global_batch_size": str(batch),
        "micro_batch_size": "1  # as much as fits in memory",
        "max_seq_length": f"{length}{unknown}",
        "max_tokens": str(steps * batch * length),
    }


def _optimizer(keys: Keys) -> str | None:
    """The optimizer's class: a word, or the class_path of a mapping."""
    return keys.text("optimizer.class_path") if isinstance(keys.raw("optimizer"), dict) else keys.text("optimizer")


def _warmup(train: Keys, default: float) -> dict[str, Any]:
    """Warm-up in steps, or as a fraction of an epoch."""
    fraction = train.number("lr_warmup_fraction")
    if fraction:
        return {"warmup_fraction": fraction}
    return {"warmup_steps": train.number_or("warmup_steps", default, "lr_warmup_steps") or 0.0}


def _note_traps(keys: Keys, train: Keys, finetuning: bool) -> None:
    """Keys that LitGPT refuses or does not look at."""
    for old, new in MOVED.items():
        if old in train:
            message = f"train.{old} is of older releases; LitGPT now refuses it, as the optimizer has its own keys"
            keys.warning("removed-key", f"train.{old}", message, fix=f"write optimizer.init_args.{new}")
    if train.number("lr_warmup_fraction"):
        if train.number_or("warmup_steps", 1.0, "lr_warmup_steps"):
            message = "lr_warmup_fraction is refused beside lr_warmup_steps, which has a default of its own"
            fix = "write lr_warmup_steps: 0 too, or lr_warmup_steps alone"
            keys.error("refused-value", "train.lr_warmup_fraction", message, fix)
        message = "lr_warmup_fraction is of an epoch of the data, not of the run; it is judged as if the two were equal"
        keys.note("fraction-of-an-epoch", "train.lr_warmup_fraction", message, fix="write lr_warmup_steps")
    if "max_steps" in train and not finetuning:
        message = "pretraining does not look at train.max_steps, neither for its schedule nor for its end"
        fix = "write train.max_tokens: steps times global_batch_size times max_seq_length"
        keys.error("ignored-key", "train.max_steps", message, fix)
    if "max_steps" in train and finetuning:
        message = (
            "finetuning ends after train.max_steps, or after its epochs if those are shorter; the steps are judged"
        )
        keys.note("shorter-of-two", "train.max_steps", message, fix="pass --steps if the epochs are shorter")
    if "min_lr" in train and finetuning:
        message = "finetuning does not look at train.min_lr: its cosine always falls to zero"
        keys.note("ignored-key", "train.min_lr", message, fix="drop it", mend=Mend(key="min_lr"))
    if isinstance(keys.raw("optimizer"), dict) and "optimizer.class_path" not in keys:
        message = "optimizer has no class_path, without which it is not built"
        fix = "write optimizer.class_path: torch.optim.AdamW, and its arguments below optimizer.init_args"
        keys.error("refused-value", "optimizer", message, fix)
