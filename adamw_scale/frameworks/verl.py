"""verl: one group of torch's AdamW, so everything decays (verl 0.9.1, workers/config/optimizer.py, trainer/config).

Its own engine (fsdp) only: with Megatron, VeOmni or torchtitan below, other keys and defaults hold. An RL run counts
rollouts, whose optimizer steps hang on mini-batches and samples, so its batch and length are not read.
"""

from typing import Any

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Document
from adamw_scale.frameworks.reading import Keys, keys_of
from adamw_scale.frameworks.table import Key, Table, key

ACTOR, CRITIC = "actor_rollout_ref.actor", "critic.optim"


def _either(name: str, default: Any = None) -> Key:
    """A key of the actor's optimizer, or of the one that sft_trainer has."""
    return key(f"{ACTOR}.optim.{name}", f"optim.{name}", default=default)


def _of_rl(keys: Keys) -> bool:
    return keys.source("actor_rollout_ref") is not None or f"{ACTOR}.optim.lr" in keys


class Verl(Table):
    """The optimizer of an actor, or of supervised finetuning; read, and not written."""

    name = "verl"
    title = "verl"
    language = "shell"
    convention = "pytorch"
    undecayed_by_default = "nothing: norms, biases and embeddings decay too"
    grouping = "none"
    how_to_group = "pass parameter groups to build_optimizer in workers/config/optimizer.py"
    schedules = ("constant", "cosine")
    reads = "YAML of its trainers, or their key=value arguments"
    signs = frozenset({"actor_rollout_ref", f"{ACTOR}.optim.lr", "lr_warmup_steps_ratio", "adv_estimator", CRITIC})
    packages = frozenset({"verl"})
    scripts = r"\bverl\.trainer\.\w+"
    formats = frozenset({"YAML", "shell arguments"})
    emits = False
    proven = "verl 0.9.1"

    keys = {
        "optimizer": _either("optimizer", "AdamW"),
        "peak_lr": _either("lr", lambda keys: 1e-6 if _of_rl(keys) else 1e-3),
        "weight_decay": _either("weight_decay", 0.01),
        "betas": _either("betas", (0.9, 0.999)),
        "eps": _either("override_optimizer_config.eps", 1e-8),
        "schedule": _either("lr_scheduler_type", "constant"),
        "warmup_steps": _either("lr_warmup_steps"),
        "warmup_fraction": _either("lr_warmup_steps_ratio", 0.0),
        "final_lr_fraction": _either("min_lr_ratio", 0.0),
        "total_steps": key("trainer.total_training_steps"),
        "epochs": key("trainer.total_epochs"),
        "batch_size": key("data.train_batch_size"),
        "sequence_length": key("data.max_length"),
    }
    optimizers = {"AdamW": "pytorch", "_AdamW": "torchao", "AdamW8bit": "bitsandbytes", "Adam": "torch-adam"}
    words = {"constant": ("constant",), "cosine": ("cosine",)}

    def find(self, document: Document) -> Keys:
        """One optimizer of verl's own engine; that of a critic beside it is asked about."""
        keys = keys_of(document)
        engine = keys.text(f"{ACTOR}.strategy", "engine.strategy")
        if engine not in (None, "fsdp", "fsdp2"):
            raise SpecError(f"strategy = {engine[:40]}: verl's own engine (fsdp, fsdp2) is read here, and no other")
        estimator = keys.text("algorithm.adv_estimator")
        critic = keys.yes("critic.enable") or (estimator in (None, "gae") and keys.source(CRITIC) is not None)
        if _of_rl(keys) and (critic or estimator == "gae" or f"{CRITIC}.lr" in keys) and estimator in (None, "gae"):
            lrs = [keys.raw(f"{ACTOR}.optim.lr"), keys.raw(f"{CRITIC}.lr")]
            actor, other = (f"lr {lr}" if lr is not None else "lr not given" for lr in lrs)
            raise SpecError(
                f"two optimizers are in this config, {ACTOR}.optim ({actor}) and {CRITIC} ({other}): audit the "
                "training, adamw-scale audit -- COMMAND, or a file with one of them and algorithm.adv_estimator: grpo"
            )
        return keys

    def fields(self, keys: Keys, document: Document) -> dict[str, Any]:
        """Without the counts of rollouts; -1 for a warm-up in steps is none."""
        found = super().fields(keys, document)
        if _of_rl(keys):
            found |= dict.fromkeys(("total_steps", "epochs", "batch_size", "sequence_length"))
        return found

    def task(self, keys: Keys, document: Document) -> str | None:
        """LoRA by its rank."""
        rank = keys.number("actor_rollout_ref.model.lora_rank", "model.lora_rank")
        return "lora" if rank else "finetuning"

    def number(self, keys: Keys, field: str, filling: str | None = None) -> float | None:
        """A warm-up of -1 steps is not given."""
        if field == "warmup_steps":
            return max(0.0, keys.signed(*self.keys[field].names) or 0.0) or None
        return super().number(keys, field, filling)
