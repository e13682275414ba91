"""axolotl: the Hugging Face Trainer's optimizer, groups and schedules under its own keys (core/builders/base.py).

Its cosine has a floor as a fraction, `cosine_min_lr_ratio`, which no other schedule but rex looks at. A warm-up that
is not given is not none (core/builders/base.py), and keys that it does not know are ignored. With an optimizer of its
own, or a learning rate of their own, embeddings and output no longer decay (core/trainers/mixins/optimizer.py).
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Mend, same_decay
from adamw_scale.frameworks.huggingface import OPTIMIZERS, HuggingFace
from adamw_scale.frameworks.optimizer_calls import CONSTRUCTORS, Constructor
from adamw_scale.frameworks.reading import Keys
from adamw_scale.frameworks.spelling import value, whole, yaml_number
from adamw_scale.frameworks.table import Table, Trap, key
from adamw_scale.theory.parametrizations import EMBEDDING, NORM_AND_BIAS, OUTPUT
from adamw_scale.theory.schedules import ONE_CYCLE_FINAL

ABOUT = "adamw_scale"  # key of what axolotl has no word for: the batch over all devices
OWN_OPTIMIZERS: dict[str, str | Constructor] = {
    "optimi_adamw": CONSTRUCTORS["optimi", "AdamW"]._replace(weight_decay=0.0),
    "adamc": "adamc",
    "ao_adamw_fp8": "torchao",
}
OWN_GROUPING = ("embedding_lr", "embedding_lr_scale", "lr_groups", "loraplus_lr_ratio")
WARMUP, MOST_WARMUP = 0.03, 100  # of the run, and in steps, where no warm-up is given
TABLE = 64  # points of a schedule that has no name here


def _quadratic(keys: Keys) -> bool:
    """Whether a cosine's warm-up rises with the square of the step, and its floor is not looked at."""
    return bool(keys.yes("lr_quadratic_warmup")) and (keys.text("lr_scheduler") or "cosine") == "cosine"


def _moves_beta(keys: Keys) -> bool:
    kept = "cycle_momentum" in keys.mapping("lr_scheduler_kwargs")
    return keys.text("lr_scheduler") == "one_cycle" and not kept


class Axolotl(HuggingFace):
    """The keys of a YAML config that are about the optimizer; merge them into one that has model and data."""

    name = "axolotl"
    title = "axolotl"
    language = "yaml"
    grouping = "none"
    how_to_group = (
        "lr_groups gives modules a learning rate, but weight decay is one number; for more, create the optimizer in a "
        "plugin"
    )
    reads = "its YAML"
    signs = frozenset(
        {
            *("base_model", "sequence_len", "sample_packing", "val_set_size", "dataset_prepared_path", "num_epochs"),
            *("micro_batch_size", "lr_scheduler", "cosine_min_lr_ratio", "pad_to_sequence_len", "train_on_inputs"),
            *("gradient_accumulation_steps", f"{ABOUT}.global_batch_size"),
        }
    )
    scripts = r"\baxolotl\b"
    formats = frozenset({"YAML"})
    proven = "axolotl 0.19, on transformers 5.23"

    keys = {
        "total_steps": key("max_steps"),
        "about": key(ABOUT),
        "batch_size": key(f"{ABOUT}.global_batch_size"),
        "per_device_batch_size": key("micro_batch_size", default=1.0),
        "accumulation": key("gradient_accumulation_steps", default=1.0),
        "sequence_length": key("sequence_len"),
        "optimizer": key("optimizer", default="adamw_torch_fused"),
        "peak_lr": key("learning_rate"),
        "weight_decay": key("weight_decay", default=0.0),
        "beta1": key("adam_beta1", default=0.9),
        "beta2": key("adam_beta2", default=0.999),
        "eps": key("adam_epsilon", default=1e-8),
        "schedule": key("lr_scheduler", default="cosine"),
        "kwargs": key("lr_scheduler_kwargs"),
        "floor": key("cosine_min_lr_ratio"),
        "warmup_steps": key("warmup_steps"),
        "epochs": key("num_epochs", default=1.0),
    }
    packing = ("sample_packing",)
    optimizers = {
        "adamw_torch_fused": "pytorch",
        **OPTIMIZERS,
        **OWN_OPTIMIZERS,
        "ao_adamw_4bit": "torchao",
        "ao_adamw_8bit": "torchao",
    }
    traps = (
        Trap("warning", "ignored-key", "lr_div_factor",
             "lr_div_factor is accepted and used nowhere",
             "drop it", mend=Mend(key="lr_div_factor")),
        Trap("warning", "betas-overridden", "lr_scheduler",
             "one_cycle also moves adam_beta1, from 0.95 down to 0.85 and back, whatever is set",
             "write lr_scheduler_kwargs: {cycle_momentum: false}", _moves_beta),
        Trap("note", "quadratic-warmup", "lr_quadratic_warmup",
             "lr_quadratic_warmup rises with the square of the step; it is judged as linear",
             "nothing to do if it is meant", _quadratic),
        Trap("error", "refused-value", "warmup_ratio",
             "warmup_steps and warmup_ratio are both given, which axolotl refuses",
             "keep one of them", lambda keys: keys.number("warmup_steps") and keys.number("warmup_ratio"),
             Mend(key="warmup_ratio")),
    )  # fmt: skip
    write = Table.write

    def fields(self, keys: Keys, document: Document) -> dict[str, Any]:
        """With the batch over all devices."""
        if "hatchery" in str(keys.raw("plugins")).lower():
            raise SpecError(
                "plugins has Hatchery, which trains on a service with an optimizer of its own and no schedule "
                "(integrations/hatchery): look at what that service is asked for"
            )
        found = super().fields(keys, document)
        return {**found, "batch_size": self.number(keys, "batch_size"), "devices": None}

    def number(self, keys: Keys, field: str, filling: str | None = None) -> float | None:
        """The accumulation, of a batch per device that is told without it."""
        in_all, micro = keys.number("batch_size"), keys.number("micro_batch_size") or 1.0
        if field == "accumulation" and "gradient_accumulation_steps" not in keys and in_all:
            return max(1.0, in_all // micro)
        return super().number(keys, field, filling)

    def grouped(
        self, keys: Keys, document: Document, peak_lr: float | None, weight_decay: float | None, eps: float | None
    ) -> dict[str, Any]:
        """What decays, and the embeddings' learning rate."""
        optimizer = self.word(keys, "optimizer")
        why = {name: f"{name} is set" for name in OWN_GROUPING if keys.raw(name)}
        if optimizer in OWN_OPTIMIZERS:
            why["optimizer"] = f"optimizer is {optimizer}"
        known = {"weight_decay_known": weight_decay is not None}
        if not why:
            return {"groups": same_decay(weight_decay, self.undecayed), **known}
        if weight_decay:
            first = next(iter(why))
            message = f"embed_tokens and lm_head do not decay once {why[first]}, which they otherwise do"
            keys.note("embeddings-spared", first, message, fix="nothing to do if it is meant")
        own = keys.number("embedding_lr")
        factor = keys.number("embedding_lr_scale") or (own / peak_lr if own and peak_lr else 1.0)
        ends, spared = (EMBEDDING, OUTPUT), frozenset({EMBEDDING, OUTPUT, NORM_AND_BIAS})
        groups = same_decay(weight_decay, spared)
        return {
            "groups": tuple(
                group.model_copy(update={"lr_factor": factor}) if group.group in ends else group for group in groups
            ),
            **known,
        }

    def betas(self, keys: Keys) -> tuple[float, float] | None:
        """An optimizer of axolotl's own takes them only together."""
        optimizer, given = self.word(keys, "optimizer"), [each for each in ("adam_beta1", "adam_beta2") if each in keys]
        if optimizer not in OWN_OPTIMIZERS or len(given) == 2:
            return super().betas(keys)
        known = self.known(optimizer)
        own = known.betas if isinstance(known, Constructor) else (0.9, 0.999)
        if given:
            message = f"{given[0]} alone is not passed on to {optimizer}, which trains with betas {own[0]} and {own[1]}"
            keys.error("ignored-key", given[0], message, fix="write adam_beta1 and adam_beta2")
        return keys.filled("betas", own, "adam_beta1", "adam_beta2")

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """Names of axolotl's own beside the Trainer's."""
        name, floor = self.word(keys, "schedule") or "cosine", keys.number("cosine_min_lr_ratio") or 0.0
        quadratic, warmup = _quadratic(keys), self.warmup(keys, steps)
        if floor and (name not in ("cosine", "rex") or quadratic):
            other = "lr_quadratic_warmup" if quadratic else f"lr_scheduler {name}"
            message = f"cosine_min_lr_ratio {floor:g} has no effect with {other}: the learning rate does not end there"
            fix = "choose lr_scheduler cosine, or set the floor in lr_scheduler_kwargs"
            keys.error(
                "ignored-key", "cosine_min_lr_ratio", message, fix="drop lr_quadratic_warmup" if quadratic else fix
            )
        constant = keys.number("cosine_constant_lr_ratio") if name == "cosine" and floor and not quadratic else None
        part = warmup.get("warmup_fraction", warmup.get("warmup_steps", 0.0) / steps if steps else WARMUP)
        if name == "one_cycle":
            return {"schedule": "one-cycle", "warmup_fraction": part, "final_lr_fraction": ONE_CYCLE_FINAL}
        if name == "rex" or constant:
            fall = _rex if name == "rex" else _cosine((1 - part) / max((constant or 1.0) - part, 1e-9))
            return {"schedule": "table", "schedule_table": tuple(_table(part, floor, fall))}
        fields = super().schedule(keys, peak_lr, steps)
        if name == "cosine" and not floor:
            keys.filled("final_lr_fraction", 0.0, "cosine_min_lr_ratio")
        elif name == "cosine" and not quadratic:
            fields["final_lr_fraction"] = floor
        if name == "constant":
            fields = {"schedule": "constant"}
        return fields

    def warmup(self, keys: Keys, steps: float | None) -> dict[str, float]:
        """Warm-up in steps where they are known; a single step becomes two."""
        warm, ratio = keys.number("warmup_steps"), keys.number("warmup_ratio")
        if warm is None:
            field = "warmup_steps" if steps else "warmup_fraction"
            if ratio is None and keys.filled(field, WARMUP, "warmup_steps", "warmup_ratio") is None:
                return {}
            if steps is None:
                return {"warmup_fraction": WARMUP if ratio is None else ratio}
            warm = min(int(WARMUP * steps), MOST_WARMUP) if ratio is None else int(ratio * steps)
        return {"warmup_steps": 2.0 if warm == 1 else float(warm)}

    def task(self, keys: Keys, document: Document) -> str | None:
        """LoRA by its adapter."""
        return "lora" if "adapter" in keys else "pretraining" if "pretraining_dataset" in keys else "finetuning"

    def packed(self, keys: Keys, document: Document) -> bool | None:
        """Pretraining always is."""
        return None if "pretraining_dataset" in keys else Table.packed(self, keys, document)

    def scheduler(self, config: Config) -> tuple[str, dict[str, Any]]:
        """A cosine has its floor beside it."""
        name, kwargs = super().scheduler(config)
        return ("cosine", {}) if name == "cosine_with_min_lr" else (name, kwargs)

    def spelled(self, field: str, config: Config) -> str | None:
        """The batch as axolotl has no word for it, and what makes it on one GPU."""
        batch, floor = whole(config.batch_size), config.lr_schedule.floor
        own = {
            "about": f"{{global_batch_size: {batch}}}  # axolotl ignores this key" if batch else None,
            "batch_size": None,
            "per_device_batch_size": "1" if batch else None,
            "accumulation": f"{batch}  # on one GPU; divide by the number of GPUs, and by micro_batch_size"
            if batch
            else None,
            "floor": yaml_number(value(floor)) if config.schedule == "cosine" and floor else None,
        }
        return own[field] if field in own else super().spelled(field, config)


def _cosine(stretch: float) -> Callable[[float], float]:
    """A cosine that is at its end before the run is."""
    return lambda u: (1 + math.cos(math.pi * min(1.0, u * stretch))) / 2


def _rex(u: float) -> float:
    """1 to 0, the steeper the later (RexLR in utils/schedulers.py)."""
    return (1 - u) / (0.1 + 0.9 * (1 - u))


def _table(start: float, floor: float, fall: Callable[[float], float]) -> Iterator[tuple[float, float]]:
    """Points of a warm-up and of a fall from 1 to the floor."""
    if start:
        yield 0.0, 0.0
    for number in range(TABLE + 1):
        u = number / TABLE
        yield start + u * (1 - start), floor + (1 - floor) * fall(u)
