"""torchtune: any torch optimizer by its path, one parameter group: decays everything (recipes/full_finetune_*.py).

Its one schedule is a linear warm-up and a cosine to 0 over the steps that the recipe counts itself
(training/lr_schedulers.py); with no waves in the cosine it stays at the peak. Without lr_scheduler the learning rate is
constant in recipes for all weights, and recipes for LoRA do not start. The project is no longer developed.
"""

import math
from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Mend
from adamw_scale.frameworks.optimizer_calls import constructors_in
from adamw_scale.frameworks.reading import Keys
from adamw_scale.frameworks.spelling import whole
from adamw_scale.frameworks.table import Table, Trap, key

COSINE = "torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup"
OLD_COSINE = "torchtune.modules.get_cosine_schedule_with_warmup"
SCHEDULER, WAVES = "lr_scheduler._component_", "lr_scheduler.num_cycles"


class TorchTune(Table):
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

    keys = {
        "optimizer": key("optimizer._component_", default="torch.optim.AdamW"),
        "peak_lr": key("optimizer.lr"),
        "weight_decay": key("optimizer.weight_decay"),
        "betas": key("optimizer.betas"),
        "eps": key("optimizer.eps"),
        "schedule": key(SCHEDULER, "lr_scheduler"),
        "warmup_steps": key("lr_scheduler.num_warmup_steps"),
        "waves": key(WAVES),
        "epochs": key("epochs"),
        "total_steps": key("max_steps_per_epoch"),
        "batch_size": key("global_batch_size"),
        "per_device_batch_size": key("batch_size"),
        "accumulation": key("gradient_accumulation_steps", default=1.0),
        "sequence_length": key("tokenizer.max_seq_len", "dataset.max_seq_len"),
    }
    optimizers = constructors_in("torch.optim", "bitsandbytes.optim", "torchao.optim")
    traps = (
        Trap("warning", "moved", SCHEDULER,
             "{value} is an old place, which torchtune 0.6 does not have",
             f"write {COSINE}", lambda keys: keys.text(SCHEDULER) == OLD_COSINE,
             Mend(key=SCHEDULER.rpartition(".")[2], value=COSINE)),
        Trap("error", "scheduler-refused", SCHEDULER,
             "recipes pass num_training_steps to their scheduler, which {value} does not take",
             f"write {COSINE}, or change the recipe",
             lambda keys: (keys.text(SCHEDULER) or "").startswith("torch.optim.lr_scheduler.")),
        Trap("warning", "other-waves", WAVES,
             "num_cycles {value} is not half a wave, so the cosine ends elsewhere than at 0 or rises again; it is "
             "judged as half a wave",
             "drop num_cycles, which is 0.5 by default", lambda keys: keys.number(WAVES) not in (None, 0, 0.5)),
    )  # fmt: skip

    def fields(self, keys: Keys, document: Document) -> dict[str, Any]:
        """With the steps of all epochs, where those of one are limited."""
        found = super().fields(keys, document)
        if found["total_steps"]:
            found["total_steps"] *= keys.number("epochs") or 1.0
        return found

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """A cosine that stays at the peak without waves; nothing of a scheduler that is not known."""
        name = keys.text(SCHEDULER)
        if name is None:
            return {"schedule": keys.filled("schedule", "constant", SCHEDULER, "lr_scheduler")}
        if name not in (COSINE, OLD_COSINE):
            return {}
        shape = "constant" if keys.number(WAVES) == 0 else "cosine"
        return {"schedule": shape, "warmup_steps": self.number(keys, "warmup_steps")}

    def task(self, keys: Keys, document: Document) -> str | None:
        """LoRA by the model's builder, or by what it is passed."""
        model = keys.raw("model")
        given = list(model) if isinstance(model, dict) else []
        adapts = "lora" in str(keys.raw("model._component_")) or any(str(name).startswith("lora_") for name in given)
        return "lora" if adapts else "finetuning"

    def packed(self, keys: Keys, document: Document) -> bool | None:
        """Of several data sets, where any is."""
        several = keys.raw("dataset")
        rows = several if isinstance(several, list) else [several]
        given = [said for row in rows if isinstance(row, dict) if (said := keys.within(row).yes("packed")) is not None]
        return any(given) if given else keys.filled("packed", False, "dataset.packed")

    def spelled(self, field: str, config: Config) -> str | None:
        """The recipe counts the steps of an epoch, and tells the scheduler how many there are in all."""
        epochs, batch = max(1, math.ceil(config.epochs or 1)), whole(config.batch_size)
        about = "for people: what the next two and the number of devices have to multiply to"
        own = {
            "schedule": COSINE,
            "waves": "0.0  # no wave: the peak throughout" if config.schedule == "constant" else None,
            "epochs": str(epochs),
            "total_steps": "null" if 1 < epochs == config.epochs else str(whole((config.total_steps or 0) / epochs)),
            "batch_size": f"{batch}  # {about}" if batch else None,
            "per_device_batch_size": "1" if batch else None,
            "accumulation": str(batch) if batch else None,
            "sequence_length": None,
        }
        return own[field] if field in own else super().spelled(field, config)

    def write(self, config: Config) -> str:
        """The keys of a recipe, or what is to be kept where the batch is in tokens."""
        batch = "" if config.batch_size else f"# Keep the global batch at {config.batch_tokens:g} tokens.\n"
        return super().write(config) + batch
