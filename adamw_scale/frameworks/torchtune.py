"""torchtune: any torch optimizer by its path, one parameter group: decays everything (recipes/full_finetune_*.py).

Its one schedule is a linear warm-up and a cosine to 0 over the steps that the recipe counts itself
(training/lr_schedulers.py); with no waves in the cosine it stays at the peak. Without lr_scheduler the learning rate is
constant in recipes for all weights, and recipes for LoRA do not start. The project is no longer developed.
"""

import math
from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, same_decay
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.reading import Keys, Optimizer, chosen, keys_of
from adamw_scale.frameworks.spelling import betas_of, eps_of, lr_of, value, whole, yaml_number

COSINE = "torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup"
OLD_COSINE = "torchtune.modules.get_cosine_schedule_with_warmup"
WAVES = 0.5  # of the cosine, if num_cycles is not given: half a wave, to 0


COMPONENTS = {
    "torch.optim.AdamW": Optimizer("pytorch", 1e-3, 0.01),
    "torch.optim.Adam": Optimizer("torch-adam", 1e-3, 0.0),
    **dict.fromkeys(
        (f"bitsandbytes.optim.{name}" for name in ("AdamW", "AdamW8bit", "PagedAdamW", "PagedAdamW8bit")),
        Optimizer("bitsandbytes", 1e-3, 0.01),
    ),
    **dict.fromkeys(
        (f"torchao.optim.{name}" for name in ("AdamW8bit", "AdamW4bit", "AdamWFp8")), Optimizer("torchao", 1e-3, 0.01)
    ),
}


class TorchTune(Framework):
    """The optimizer, lr_scheduler and training keys of a recipe's YAML."""

    name = "torchtune"
    title = "torchtune"
    language = "yaml"
    convention = "pytorch"
    undecayed_by_default = "nothing: norms, biases and embeddings decay too"
    grouping = "none"
    how_to_group = (
        "copy the recipe (tune cp) and pass parameter groups in its _setup_optimizer, all of one learning rate"
    )
    schedules = ("constant", "cosine")
    only_to_zero = frozenset({"cosine"})
    reads = "a recipe's YAML"
    signs = frozenset(
        {
            *("_component_", "max_steps_per_epoch", "num_warmup_steps", "optimizer_in_bwd", "checkpointer"),
            *("metric_logger", "enable_activation_checkpointing", "log_peak_memory_stats"),
        }
    )
    packages = frozenset({"torchtune"})
    formats = frozenset({"YAML"})
    proven = "torchtune 0.6"

    def write(self, config: Config) -> str:
        """Keys to put into a recipe's YAML; the recipe tells the scheduler how many steps there are."""
        (beta1, beta2), epochs = betas_of(config), max(1, math.ceil(config.epochs or 1))
        repeats = epochs > 1 and config.epochs == epochs
        batch = whole(config.batch_size)
        return (
            "optimizer:\n"
            "  _component_: torch.optim.AdamW\n"
            f"  lr: {yaml_number(lr_of(config))}\n"
            f"  weight_decay: {yaml_number(value(config.weight_decay))}\n"
            f"  betas: [{yaml_number(beta1)}, {yaml_number(beta2)}]\n"
            f"  eps: {yaml_number(eps_of(config))}\n"
            "lr_scheduler:\n"
            f"  _component_: {COSINE}\n"
            f"  num_warmup_steps: {whole(config.warmup_steps)}\n"
            + ("  num_cycles: 0.0  # no wave: the peak throughout\n" if config.schedule == "constant" else "")
            + f"epochs: {epochs}\n"
            + f"max_steps_per_epoch: {'null' if repeats else whole((config.total_steps or 0) / epochs)}\n"
            + (
                f"global_batch_size: {batch}  # for people: what the next two and the number of devices have to "
                "multiply to\n"
                f"batch_size: 1\ngradient_accumulation_steps: {batch}\n"
                if batch
                else f"# Keep the global batch at {config.batch_tokens:g} tokens.\n"
            )
        )

    def read(self, document: Document) -> Config:
        """The keys; how many steps an epoch has is known if it is limited."""
        keys = keys_of(document)
        name = keys.text_or("optimizer", "torch.optim.AdamW", "optimizer._component_")
        known = chosen("optimizer._component_", name, COMPONENTS, None) or COMPONENTS["torch.optim.AdamW"]
        epochs, each = keys.number("epochs"), keys.number("max_steps_per_epoch")
        limited = each is not None and each > 0
        _note_traps(keys)
        return Config(
            task="lora" if _adapts(keys) else "finetuning",
            convention=known.convention,
            optimizer=name,
            peak_lr=keys.number_or("peak_lr", known.lr, "optimizer.lr"),
            groups=same_decay(keys.number_or("weight_decay", known.weight_decay, "optimizer.weight_decay")),
            betas=keys.pair_or("betas", (0.9, 0.999), "optimizer.betas"),
            eps=keys.number_or("eps", 1e-8, "optimizer.eps"),
            **_read_schedule(keys),
            total_steps=(epochs or 1.0) * each if limited and each else None,
            epochs=None if limited else epochs,
            batch_size=keys.number("global_batch_size"),
            per_device_batch_size=keys.number("batch_size"),
            accumulation=keys.number_or("accumulation", 1.0, "gradient_accumulation_steps"),
            sequence_length=keys.number("tokenizer.max_seq_len", "dataset.max_seq_len"),
            packed=_packed(keys),
            **keys.noted(),
        )


def _adapts(keys: Keys) -> bool:
    """Whether adapters are trained: by the model's builder, or by what it is passed."""
    model = keys.raw("model")
    given = list(model) if isinstance(model, dict) else []
    return "lora" in str(keys.raw("model._component_")) or any(str(key).startswith("lora_") for key in given)


def _packed(keys: Keys) -> bool | None:
    """Whether rows are packed: of several data sets, where any is."""
    several = keys.raw("dataset")
    rows = several if isinstance(several, list) else [several]
    given = [keys.within(row).yes("packed") for row in rows if isinstance(row, dict)]
    return any(given) or keys.filled("packed", False, "dataset.packed")


def _read_schedule(keys: Keys) -> dict[str, Any]:
    """Schedule fields; nothing of a scheduler that is not known."""
    name, waves = keys.text("lr_scheduler._component_"), keys.number("lr_scheduler.num_cycles")
    if name is None:
        return {"schedule": keys.filled("schedule", "constant", "lr_scheduler._component_", "lr_scheduler")}
    if name not in (COSINE, OLD_COSINE):
        return {}
    return {
        "schedule": "constant" if waves == 0 else "cosine",
        "warmup_steps": keys.number("lr_scheduler.num_warmup_steps"),
    }


def _note_traps(keys: Keys) -> None:
    """Schedulers that the current release lacks or cannot build, and cosines of another length."""
    name, waves = keys.text("lr_scheduler._component_"), keys.number("lr_scheduler.num_cycles")
    if name == OLD_COSINE:
        message = f"{OLD_COSINE} is an old place, which torchtune 0.6 does not have"
        keys.warning("moved", "lr_scheduler._component_", message, fix=f"write {COSINE}")
    elif name is not None and name.startswith("torch.optim.lr_scheduler."):
        message = f"recipes pass num_training_steps to their scheduler, which {name} does not take"
        fix = f"write {COSINE}, or change the recipe"
        keys.error("scheduler-refused", "lr_scheduler._component_", message, fix)
    if waves is not None and waves not in (0, WAVES):
        message = (
            f"num_cycles {waves:g} is not half a wave, so the cosine ends elsewhere than at 0 or rises again; it is "
            "judged as half a wave"
        )
        fix = f"drop num_cycles, which is {WAVES} by default"
        keys.warning("other-waves", "lr_scheduler.num_cycles", message, fix)
