"""timm: torch AdamW; biases, tensors of one dimension and what the model's no_weight_decay() names are spared.

Schedules count epochs, by the update only with --sched-on-updates (scheduler/scheduler_factory.py). Without
--warmup-prefix the warm-up hides the start of a cosine instead of coming before it; with it, train.py adds the warm-up
to --epochs. `poly` takes its power from --decay-rate. `--opt adamc` is AdamW whose decay follows the lr: lr^2 / peak lr
* weight_decay, the same number at peak. DeiT, ConvNeXt and MAE have scripts of their own with much the same arguments.
"""

import math
import re
from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, same_decay
from adamw_scale.frameworks.framework import Framework, Snippet
from adamw_scale.frameworks.reading import Keys, chosen, keys_of
from adamw_scale.frameworks.spelling import betas_of, eps_of, exact, final_lr, lr_of, value, whole
from adamw_scale.spec.advice import Caution
from adamw_scale.theory.parametrizations import NORM_AND_BIAS

_WSD = {"wsd": "linear", "wsd-cosine": "cosine", "wsd-1-sqrt": "1-sqrt"}
_SCHED = {
    "constant": "constant",
    "linear": "poly",
    "polynomial": "poly",
    "cosine": "cosine",
    "inverse-sqrt": "rsqrt",
    **dict.fromkeys(_WSD, "wsd"),
}
# Known by name; those without a shape here have to be said by the reader.
_READ_SCHED: dict[str, str | None] = {
    "cosine": "cosine",
    "poly": "polynomial",
    "wsd": "wsd",
    "rsqrt": "inverse-sqrt",
    "constant": "constant",
    "none": "constant",
    "tanh": None,
    "step": None,
    "multistep": None,
    "plateau": None,
}
_OPTIMIZERS = {
    **dict.fromkeys(("adamw", "adamwlegacy", "nadamw", "lion", "laprop", "adoptw"), "timm"),
    **dict.fromkeys(("adamc", "nadamc", "lionc", "lapropc"), "timm-corrected"),
    "fusedadamw": "apex",
    "bnbadamw": "bitsandbytes",
    "bnbadamw8bit": "bitsandbytes",
    "adam": "torch-adam",
}
# Arguments that timm's train.py lacks and scripts have whose defaults are adamw and 0.05: MAE, ConvNeXt, DeiT.
_SIBLINGS = ("blr", "accum_iter", "update_freq", "weight_decay_end", "mask_ratio", "unscale_lr")
_NEARLY_NONE = 0.01  # of an inverse square root that ends in a fall this short

PARTS = "# parts of an epoch are for create_scheduler_v2"


class Timm(Framework):
    """Arguments of train.py, as a bash array."""

    name = "timm"
    title = "timm"
    language = "shell"
    convention = "timm"
    undecayed = frozenset({NORM_AND_BIAS})
    undecayed_by_default = (
        "biases, tensors of one dimension and what no_weight_decay() names; patch embedding and head decay"
    )
    grouping = "none"
    how_to_group = "pass create_optimizer_v2 a list of groups with lr and weight_decay instead of a model"
    schedules = tuple(_SCHED)
    weight_decay_schedules = ("constant", "follows-lr")
    reads = "a command line of train.py or its --config YAML; those of DeiT, ConvNeXt and MAE"
    signs = frozenset(
        {
            *("opt", "sched", "opt_betas", "opt_eps", "sched_on_updates", "warmup_epochs", "warmup_prefix", "lr_base"),
            *("layer_decay", "blr", "drop_path", "mixup", "cutmix", "model_ema", "warmup_lr", "opt_kwargs"),
        }
    )
    formats = frozenset({"shell arguments", "YAML"})
    proven = "timm 1.0.31"

    def write(self, config: Config) -> str:
        """Arguments for train.py, and a launch on one device."""
        schedule, (beta1, beta2) = config.schedule or "constant", betas_of(config)
        epochs, steps = config.epochs or 1.0, whole(config.total_steps)
        warmup = epochs * whole(config.warmup_steps) / steps
        after = steps - whole(config.warmup_steps)
        rows = [
            f"--opt {'adamc' if config.weight_decay_schedule == 'follows-lr' else 'adamw'}",
            f"--opt-betas {beta1} {beta2}",
            f"--opt-eps {eps_of(config)}",
            f"--lr {lr_of(config)}",
            f"--weight-decay {value(config.weight_decay)}",
            f"--sched {_SCHED[schedule]}",
            "--sched-on-updates",
            f"--epochs {value(epochs - warmup)}",
            "--warmup-prefix",
            f"--warmup-epochs {value(warmup)}",
            "--warmup-lr 0",
            f"--min-lr {value(final_lr(config) if schedule not in ('constant', 'inverse-sqrt') else 0.0)}",
        ]
        if _SCHED[schedule] == "poly":
            rows.append(f"--decay-rate {exact(config.power)}")
        if schedule in _WSD:
            rows.append(f"--lr-decay-fn {_WSD[schedule]}")
            rows.append(f"--decay-epochs {_fall(whole(config.decay_steps), after, epochs / steps)}")
        if schedule == "inverse-sqrt":  # the shortest fall that it takes
            rows.append(f"--decay-epochs {_fall(1, after, epochs / steps)}")
        parts = any(abs(number - round(number)) > 1e-6 for number in (epochs - warmup, warmup))
        launch = ""
        if config.batch_size:
            rows.append(f"--batch-size {whole(config.batch_size)}")
            launch = (
                "# --batch-size is of one device: with more of them, divide it by their number\n"
                'torchrun --nproc-per-node=1 train.py --data-dir /path/to/data "${ADAMW_ARGS[@]}"\n'
            )
        note = f"{PARTS}\n" if parts else ""
        return note + "ADAMW_ARGS=(\n" + "".join(f"    {row}\n" for row in rows) + ")\n" + launch

    def finished(self, snippet: Snippet) -> Snippet:
        """With a caution where train.py cannot take what was written."""
        if PARTS not in snippet.text:
            return snippet
        said = Caution(
            code="whole-epochs",
            message="train.py takes whole epochs only, and refuses the parts of one that are written",
            fix="recommend again with a warm-up (and, for wsd, a fall) of whole epochs, or round the numbers yourself",
        )
        line = f"# Caution ({said.code}): {said.message}."
        return snippet.model_copy(
            update={"text": snippet.text.replace(PARTS, line), "cautions": (*snippet.cautions, said)}
        )

    def read(self, document: Document) -> Config:
        """The arguments, with train.py's defaults where they say nothing."""
        keys = keys_of(document)
        sibling = any(key in keys for key in _SIBLINGS)
        optimizer = _read_optimizer(keys, sibling=sibling)
        convention = chosen("opt", optimizer, _OPTIMIZERS, None) or self.convention
        if convention == "timm" and "corrected_weight_decay=true" in str(keys.raw("opt_kwargs")).lower():
            convention = "timm-corrected"
        batch = _read_batch(keys)
        peak_lr = _read_lr(keys, batch)
        decay = keys.number_or("weight_decay", 0.05 if sibling else 2e-5, "weight_decay")
        end = keys.number("weight_decay_end")
        moves = end is not None and bool(decay) and end != decay
        if "layer_decay" in keys and keys.number("layer_decay") != 1.0:
            message = (
                f"layer_decay = {keys.number('layer_decay'):g} lowers lr, and so lr*λ, from layer to layer; the "
                "values here are those of the head"
            )
            keys.note("layer-decay", "layer_decay", message, fix="nothing to do if it is meant")
        return Config(
            convention=convention,
            optimizer=optimizer,
            peak_lr=peak_lr,
            groups=same_decay(decay, self.undecayed),
            betas=keys.pair_or("betas", ((0.9, 0.95) if "mask_ratio" in keys else (0.9, 0.999)), "opt_betas"),
            eps=keys.number_or("eps", 1e-8, "opt_eps"),
            **_read_scheduler(keys, peak_lr, sibling=sibling),
            weight_decay_schedule="cosine" if moves else "constant",
            final_weight_decay_fraction=end / decay if moves and decay and end is not None else None,
            unit="samples",
            **batch,
            **keys.noted(),
        )


def _fall(steps: int, after_warmup: int, epochs_per_step: float) -> str:
    """--decay-epochs: below 1 a fraction of what follows the warm-up, else epochs."""
    return value(steps / after_warmup if steps < after_warmup else steps * epochs_per_step)


def _read_optimizer(keys: Keys, *, sibling: bool) -> str:
    """The optimizer's name; train.py's own default is no AdamW."""
    optimizer = keys.text("opt")
    if optimizer is None and not sibling:
        message = (
            "no --opt: train.py of timm then uses SGD with L2 decay; it is read as adamw, the default of scripts "
            "such as ConvNeXt's"
        )
        keys.warning("optimizer-default", "opt", message, fix="write --opt adamw")
    if optimizer is None:
        keys.filled("optimizer", "adamw", "opt")
    return (optimizer or "adamw").lower()


def _read_batch(keys: Keys) -> dict[str, float | None]:
    """Batch fields; devices from torchrun's arguments."""
    launched = [keys.raw(name) for name in ("nproc_per_node", "nnodes")]
    counts = [str(each[0] if isinstance(each, list) and each else each) for each in launched if each is not None]
    devices = math.prod(int(count) for count in counts) if counts and all(c.isdecimal() for c in counts) else None
    return {
        "per_device_batch_size": keys.number("batch_size", "b"),
        "accumulation": keys.number_or("accumulation", 1.0, "grad_accum_steps", "accum_iter", "update_freq"),
        "devices": float(devices) if devices else None,
    }


def _read_lr(keys: Keys, batch: dict[str, float | None]) -> float | None:
    """The peak; without --lr it is scaled with the global batch, which may not be known."""
    given = keys.number("lr")
    if given is not None:
        return given
    parts = batch.values()
    size = math.prod(part for part in parts if part) if all(parts) else None
    base, reference = keys.number("blr"), 256.0
    scale = "linear"
    if base is None:
        base = keys.number_or("peak_lr", 0.1, "lr_base")
        if base is None:
            return None
        reference = keys.number("lr_base_size") or 256.0
        own = "sqrt" if re.search("ada|lamb", (keys.text("opt") or "").lower()) else "linear"
        scale = keys.text("lr_base_scale") or own
    ratio = None if size is None else size / reference
    peak = None if ratio is None else base * (math.sqrt(ratio) if scale == "sqrt" else ratio)
    became = f"is {peak:g} here" if peak is not None else "is not known without the number of devices"
    message = (
        f"no --lr: the peak is {base:g} times {'the square root of ' if scale == 'sqrt' else ''}the global batch "
        f"over {reference:g}, and {became}; weight decay is not scaled with it"
    )
    (keys.note if peak is not None else keys.warning)("lr-scaling", "lr", message, fix="write --lr")
    return peak


def _read_scheduler(keys: Keys, peak_lr: float | None, *, sibling: bool) -> dict[str, Any]:
    """Schedule and duration; a script that is not timm's shifts its curve past the warm-up and has no default here."""
    epochs = keys.number("epochs") if sibling else keys.number_or("epochs", 300.0, "epochs")
    warmup = keys.number("warmup_epochs") if sibling else keys.number_or("warmup_fraction", 5.0, "warmup_epochs")
    spelled = keys.text_or("schedule", "cosine", "sched").lower()
    name = chosen("sched", spelled, _READ_SCHED, None)
    prefix = keys.yes("warmup_prefix") is True
    if not epochs:
        return {"schedule": name}
    total = epochs + (warmup or 0.0 if prefix else 0.0)
    fields: dict[str, Any] = {"schedule": name, "epochs": total}
    if name is None:
        return fields
    if spelled != "none":
        fields["warmup_fraction"] = _warmup(keys, warmup or 0.0, total)
    if not sibling:
        _note_counting(keys, spelled, prefix=prefix)
    if name in ("cosine", "polynomial", "wsd"):
        low = keys.number_or("final_lr_fraction", 0.0, "min_lr")
        fields["final_lr_fraction"] = low / peak_lr if peak_lr and low is not None else None
    if name == "polynomial":
        power = _read_power(keys)
        fields |= {"schedule": "linear"} if power == 1.0 else {"schedule_power": power}
    if spelled in ("wsd", "rsqrt"):
        warm = fields["warmup_fraction"]
        length = keys.number_or("decay_fraction", 0.2, "decay_epochs") or 0.2
        fall = length * (1 - warm) if length < 1 else length / total
        if spelled == "rsqrt":
            return fields if fall < _NEARLY_NONE and warm else {"schedule": None, "epochs": total}
        kind = keys.text("lr_decay_fn") or "1-sqrt"
        fields["schedule"] = chosen("lr_decay_fn", kind, {said: name for name, said in _WSD.items()}, None)
        fields["decay_fraction"] = min(fall, 1 - warm)
    return fields


def _warmup(keys: Keys, warmup: float, total: float) -> float:
    """Part of the run; one that takes all of it leaves nothing of the schedule."""
    if warmup < total:
        return warmup / total
    message = f"the warm-up of {warmup:g} epochs is not over when the run of {total:g} is: the peak lr is never reached"
    keys.error("warmup-never-ends", "warmup_epochs", message, fix="set --warmup-epochs to a small part of --epochs")
    return 0.99


def _note_counting(keys: Keys, spelled: str, *, prefix: bool) -> None:
    """Where timm's schedule is not what its names suggest."""
    if keys.yes("sched_on_updates") is not True:
        message = "without --sched-on-updates the lr moves once an epoch, and the whole first epoch runs at --warmup-lr"
        keys.note("steps-of-an-epoch", "sched_on_updates", message, fix="pass --sched-on-updates")
    if spelled in ("cosine", "poly", "tanh") and not prefix and keys.number("warmup_epochs") != 0:
        message = (
            "without --warmup-prefix the warm-up replaces the start of the curve: after it the lr jumps below --lr"
        )
        fix = "pass --warmup-prefix and take the warm-up off --epochs"
        keys.note("warmup-inside", "warmup_prefix", message, fix)


def _read_power(keys: Keys) -> float:
    """--decay-rate is the power of `poly`, and its default a bad one."""
    power = keys.number("decay_rate", "dr")
    if power is None and keys.filled("schedule_power", 0.1, "decay_rate", "dr") is not None:
        message = (
            "--sched poly takes its power from --decay-rate, 0.1 by default: the lr stays near its peak and falls at "
            "the very end"
        )
        keys.warning("power-default", "decay_rate", message, fix="write --decay-rate 1.0 for a straight line")
    return 0.1 if power is None else power
