"""axolotl: the Hugging Face Trainer's optimizer, groups and schedules under its own keys (core/builders/base.py).

Its cosine has a floor as a fraction, `cosine_min_lr_ratio`, which no other schedule but rex looks at. A warm-up that
is not given is not none (core/builders/base.py), and keys that it does not know are ignored. With an optimizer of its
own, or a learning rate of their own, embeddings and output no longer decay (core/trainers/mixins/optimizer.py).
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Group, Mend, same_decay
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.huggingface import OPTIMIZERS as TRAINERS
from adamw_scale.frameworks.huggingface import HuggingFace, read_scheduler, scheduler_of
from adamw_scale.frameworks.reading import Keys, chosen, keys_of
from adamw_scale.frameworks.spelling import betas_of, eps_of, exact, lr_of, value, whole, yaml_number
from adamw_scale.theory.parametrizations import EMBEDDING, NORM_AND_BIAS, OUTPUT
from adamw_scale.theory.schedules import ONE_CYCLE_FINAL, Schedule

ABOUT = "adamw_scale"  # key of what axolotl has no word for: the batch over all devices
OWN_OPTIMIZERS = {"optimi_adamw": "optimi", "adamc": "adamc", "ao_adamw_fp8": "torchao"}
OPTIMIZERS = {**TRAINERS, **OWN_OPTIMIZERS, "ao_adamw_4bit": "torchao", "ao_adamw_8bit": "torchao"}
OWN_BETAS, OWN_EPS = {"optimi_adamw": (0.9, 0.99)}, {"optimi_adamw": 1e-6}  # where axolotl passes none on
OWN_GROUPING = ("embedding_lr", "embedding_lr_scale", "lr_groups", "loraplus_lr_ratio")
WARMUP, MOST_WARMUP = 0.03, 100  # of the run, and in steps, where no warm-up is given
TABLE = 64  # points of a schedule that has no name here


class Axolotl(Framework):
    """The keys of a YAML config that are about the optimizer; merge them into one that has model and data."""

    name = "axolotl"
    title = "axolotl"
    language = "yaml"
    convention = "pytorch"
    undecayed = frozenset({NORM_AND_BIAS})
    undecayed_by_default = "LayerNorm modules, biases, names like norm; embeddings do decay"
    grouping = "none"
    how_to_group = (
        "lr_groups gives modules a learning rate, but weight decay is one number; for more, create the optimizer in a "
        "plugin"
    )
    schedules = HuggingFace.schedules
    only_to_zero = HuggingFace.only_to_zero
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

    def has(self, schedule: Schedule) -> bool:
        """Restarts are of one length here."""
        return super().has(schedule) and schedule.cycle_growth in (None, 1)

    def write(self, config: Config) -> str:
        """YAML; `gradient_accumulation_steps` is for one GPU."""
        (beta1, beta2), (scheduler, kwargs) = betas_of(config), scheduler_of(config)
        if scheduler == "cosine_with_min_lr":
            schedule = {"lr_scheduler": "cosine", "cosine_min_lr_ratio": yaml_number(value(kwargs["min_lr_rate"]))}
        else:
            inside = ", ".join(
                f"{key}: {each if isinstance(each, str) else yaml_number(exact(each))}" for key, each in kwargs.items()
            )
            schedule = {"lr_scheduler": scheduler, **({"lr_scheduler_kwargs": f"{{{inside}}}"} if kwargs else {})}
        rows = {
            "max_steps": str(whole(config.total_steps)),
            **({} if config.batch_size is None else _batch_rows(whole(config.batch_size))),
            **({"sequence_len": str(whole(config.sequence_length))} if config.sequence_length else {}),
            "optimizer": "adamw_torch_fused",
            "learning_rate": yaml_number(lr_of(config)),
            "weight_decay": yaml_number(value(config.weight_decay)),
            "adam_beta1": beta1,
            "adam_beta2": beta2,
            "adam_epsilon": yaml_number(eps_of(config)),
            **schedule,
            "warmup_steps": str(whole(config.warmup_steps)),
        }
        return "".join(f"{key}: {text}\n" for key, text in rows.items())

    def read(self, document: Document) -> Config:
        """The keys, with what axolotl and the Trainer below it fill in."""
        keys = keys_of(document)
        optimizer = keys.text_or("optimizer", "adamw_torch_fused", "optimizer")
        convention = chosen("optimizer", optimizer, OPTIMIZERS, None) or self.convention
        peak_lr = keys.number("learning_rate")
        weight_decay = keys.number_or("weight_decay", 0.0, "weight_decay")
        steps = keys.number("max_steps")
        micro = keys.number_or("per_device_batch_size", 1.0, "micro_batch_size")
        in_all, accumulation = keys.number("batch_size"), keys.number("gradient_accumulation_steps")
        if accumulation is None:
            accumulation = max(1.0, in_all // micro) if in_all and micro else None
        if accumulation is None:
            accumulation = keys.filled("accumulation", 1.0, "gradient_accumulation_steps")
        schedule = _read_schedule(keys, peak_lr, steps)
        full = "pretraining" if "pretraining_dataset" in keys else "finetuning"
        return Config(
            task="lora" if "adapter" in keys else full,
            convention=convention,
            optimizer=optimizer,
            peak_lr=peak_lr,
            groups=_groups(keys, optimizer, weight_decay, peak_lr),
            betas=_betas(keys, optimizer),
            eps=keys.number_or("eps", OWN_EPS.get(optimizer, 1e-8), "adam_epsilon"),
            **schedule,
            total_steps=steps,
            epochs=None if steps else keys.number_or("epochs", 1.0, "num_epochs"),
            batch_size=keys.number(f"{ABOUT}.global_batch_size"),
            per_device_batch_size=micro,
            accumulation=accumulation,
            sequence_length=keys.number("sequence_len"),
            packed=None
            if full == "pretraining"
            else keys.yes("sample_packing") or keys.filled("packed", False, "sample_packing"),
            **keys.noted(),
        )


def _batch_rows(batch: int) -> dict[str, str]:
    return {
        ABOUT: f"{{global_batch_size: {batch}}}  # axolotl ignores this key",
        "micro_batch_size": "1",
        "gradient_accumulation_steps": f"{batch}  # on one GPU; divide by the number of GPUs, and by micro_batch_size",
    }


def _groups(keys: Keys, optimizer: str, weight_decay: float | None, peak_lr: float | None) -> tuple[Group, ...]:
    """What decays, and the embeddings' learning rate."""
    why = [f"{key} is set" for key in OWN_GROUPING if keys.raw(key)]
    if optimizer in OWN_OPTIMIZERS:
        why.append(f"optimizer is {optimizer}")
    if not why:
        return same_decay(weight_decay, Axolotl.undecayed)
    if weight_decay:
        message = (
            f"axolotl does not decay parameters named like embed_tokens and lm_head once {why[0]}, which it "
            "otherwise does"
        )
        fix = "nothing to do if it is meant"
        keys.note("embeddings-spared", next((key for key in OWN_GROUPING if keys.raw(key)), "optimizer"), message, fix)
    scale, own = keys.number("embedding_lr_scale"), keys.number("embedding_lr")
    factor = scale or (own / peak_lr if own and peak_lr else 1.0)
    return tuple(
        Group(
            group=group.group,
            weight_decay=group.weight_decay,
            lr_factor=factor if group.group in (EMBEDDING, OUTPUT) else 1.0,
        )
        for group in same_decay(weight_decay, frozenset({EMBEDDING, OUTPUT, NORM_AND_BIAS}))
    )


def _betas(keys: Keys, optimizer: str) -> tuple[float, float] | None:
    """Both betas; an optimizer of axolotl's own takes them only together."""
    given = [key for key in ("adam_beta1", "adam_beta2") if key in keys]
    if optimizer not in OWN_OPTIMIZERS or len(given) == 2:
        return keys.betas((0.9, 0.999), "adam_beta1", "adam_beta2")
    own = OWN_BETAS.get(optimizer, (0.9, 0.999))
    if given:
        message = f"{given[0]} alone is not passed on to {optimizer}, which trains with betas {own[0]} and {own[1]}"
        keys.error("ignored-key", given[0], message, fix="write adam_beta1 and adam_beta2")
    return keys.filled("betas", own, "adam_beta1", "adam_beta2")


def _read_schedule(keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
    """Schedule fields; names of axolotl's own beside the Trainer's."""
    _note_ignored(keys)
    warmup = _warmup(keys, steps)
    name, ratio = keys.text_or("schedule", "cosine", "lr_scheduler"), keys.number("cosine_min_lr_ratio") or 0.0
    if name == "one_cycle":
        fraction = warmup.get("warmup_fraction", (warmup.get("warmup_steps") or 0.0) / steps if steps else WARMUP)
        return {"schedule": "one-cycle", "warmup_fraction": fraction, "final_lr_fraction": ONE_CYCLE_FINAL}
    constant = keys.number("cosine_constant_lr_ratio")
    if name == "rex" or (name == "cosine" and ratio and constant and not keys.yes("lr_quadratic_warmup")):
        start = warmup["warmup_steps"] / steps if steps and "warmup_steps" in warmup else WARMUP
        end = constant if name == "cosine" and constant else 1.0
        fall = (
            _rex
            if name == "rex"
            else lambda u: (1 + math.cos(math.pi * min(1.0, u * (1 - start) / max(end - start, 1e-9)))) / 2
        )
        return {"schedule": "table", "schedule_table": tuple(_table(warmup.get("warmup_fraction", start), ratio, fall))}
    fields: dict[str, Any] = read_scheduler(keys, peak_lr) if "lr_scheduler" in keys else {"schedule": "cosine"}
    if name == "cosine" and not ratio:
        keys.filled("final_lr_fraction", 0.0, "cosine_min_lr_ratio")
    if name == "cosine" and ratio and not keys.yes("lr_quadratic_warmup"):
        fields["final_lr_fraction"] = ratio
    return {**fields, **({} if name == "constant" else warmup)}


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


def _warmup(keys: Keys, total: float | None) -> dict[str, float]:
    """Warm-up in steps where they are known; a single step becomes two."""
    steps, ratio = keys.number("warmup_steps"), keys.number("warmup_ratio")
    if steps and ratio:
        message = "warmup_steps and warmup_ratio are both given, which axolotl refuses"
        keys.error("refused-value", "warmup_ratio", message, fix="keep one of them")
    if steps is None:
        field = "warmup_steps" if total else "warmup_fraction"
        if ratio is None and keys.filled(field, WARMUP, "warmup_steps", "warmup_ratio") is None:
            return {}
        if total is None:
            return {"warmup_fraction": WARMUP if ratio is None else ratio}
        steps = min(int(WARMUP * total), MOST_WARMUP) if ratio is None else int(ratio * total)
    return {"warmup_steps": 2.0 if steps == 1 else float(steps)}


def _note_ignored(keys: Keys) -> None:
    """Keys that the chosen schedule does not look at."""
    name, ratio = keys.text("lr_scheduler") or "cosine", keys.number("cosine_min_lr_ratio")
    quadratic = keys.yes("lr_quadratic_warmup") and name == "cosine"
    if ratio and (name not in ("cosine", "rex") or quadratic):
        keys.error(
            "ignored-key",
            "cosine_min_lr_ratio",
            f"cosine_min_lr_ratio {ratio:g} has no effect with "
            f"{'lr_quadratic_warmup' if quadratic else f'lr_scheduler {name}'}: the learning rate does not end there",
            fix="drop lr_quadratic_warmup"
            if quadratic
            else "choose lr_scheduler cosine, or set the floor in lr_scheduler_kwargs",
        )
    if "lr_div_factor" in keys:
        message = "lr_div_factor is accepted and used nowhere"
        keys.warning("ignored-key", "lr_div_factor", message, fix="drop it", mend=Mend(key="lr_div_factor"))
    if name == "one_cycle" and "cycle_momentum" not in keys.mapping("lr_scheduler_kwargs"):
        message = "one_cycle also moves adam_beta1, from 0.95 down to 0.85 and back, whatever is set"
        fix = "write lr_scheduler_kwargs: {cycle_momentum: false}"
        keys.warning("betas-overridden", "lr_scheduler", message, fix)
    if quadratic:
        message = "lr_quadratic_warmup rises with the square of the step; it is judged as linear"
        keys.note("quadratic-warmup", "lr_quadratic_warmup", message, fix="nothing to do if it is meant")
