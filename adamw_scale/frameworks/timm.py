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
from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.framework import Snippet
from adamw_scale.frameworks.reading import Keys, chosen
from adamw_scale.frameworks.spelling import exact, final_lr, value, whole
from adamw_scale.frameworks.table import Table, Trap, key
from adamw_scale.spec.advice import Caution
from adamw_scale.theory.parametrizations import NORM_AND_BIAS

WSD = {"wsd": "linear", "wsd-cosine": "cosine", "wsd-1-sqrt": "1-sqrt"}
# Arguments that timm's train.py lacks and scripts have whose defaults are adamw and 0.05: MAE, ConvNeXt, DeiT.
SIBLINGS = ("blr", "accum_iter", "update_freq", "weight_decay_end", "mask_ratio", "unscale_lr")
NEARLY_NONE = 0.01  # of an inverse square root that ends in a fall this short
PARTS = "# parts of an epoch are for create_scheduler_v2\n"
LAUNCH = """\
# --batch-size is of one device: with more of them, divide it by their number
torchrun --nproc-per-node=1 train.py --data-dir /path/to/data "${ADAMW_ARGS[@]}"
"""


def _sibling(keys: Keys) -> bool:
    return any(name in keys for name in SIBLINGS)


def _silent(keys: Keys, *names: str) -> bool:
    """Whether timm's own script surely gets none of these switches."""
    return not keys.lost and not _sibling(keys) and not any(keys.yes(name) for name in names)


def _hidden_warmup(keys: Keys) -> bool:
    curved = (keys.text("sched") or "cosine").lower() in ("cosine", "poly", "tanh")
    return curved and _silent(keys, "warmup_prefix") and keys.number("warmup_epochs") != 0


class Timm(Table):
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
    schedules = ("constant", "linear", "polynomial", "cosine", "inverse-sqrt", *WSD)
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
    unit = "samples"
    dashed = True

    keys = {
        "optimizer": key("opt", default="adamw"),
        "betas": key("opt_betas", default=lambda keys: (0.9, 0.95) if "mask_ratio" in keys else (0.9, 0.999)),
        "eps": key("opt_eps", default=1e-8),
        "peak_lr": key("lr"),
        "weight_decay": key("weight_decay", default=lambda keys: 0.05 if _sibling(keys) else 2e-5),
        "schedule": key("sched", default="cosine"),
        "on_updates": key("sched_on_updates"),
        "epochs": key("epochs", default=lambda keys: None if _sibling(keys) else 300.0),
        "prefix": key("warmup_prefix"),
        "warmup_fraction": key("warmup_epochs", default=lambda keys: None if _sibling(keys) else 5.0),
        "warmup_lr": key("warmup_lr"),
        "final_lr": key("min_lr", default=0.0),
        "schedule_power": key("decay_rate", "dr", default=0.1),
        "decay_fn": key("lr_decay_fn"),
        "decay_fraction": key("decay_epochs", default=0.2),
        "per_device_batch_size": key("batch_size", "b"),
        "accumulation": key("grad_accum_steps", "accum_iter", "update_freq", default=1.0),
    }
    optimizers = {
        **dict.fromkeys(("adamw", "adamwlegacy", "nadamw", "lion", "laprop", "adoptw"), "timm"),
        **dict.fromkeys(("adamc", "nadamc", "lionc", "lapropc"), "timm-corrected"),
        "fusedadamw": "apex",
        "bnbadamw": "bitsandbytes",
        "bnbadamw8bit": "bitsandbytes",
        "adam": "torch-adam",
    }
    words = {
        "constant": ("constant", "none"),
        "linear": ("poly",),
        "polynomial": ("poly",),
        "cosine": ("cosine",),
        "inverse-sqrt": ("rsqrt",),
        **dict.fromkeys(WSD, ("wsd",)),
    }
    traps = (
        Trap("warning", "optimizer-default", "opt",
             "no --opt: train.py of timm then uses SGD with L2 decay; it is read as adamw, the default of scripts such "
             "as ConvNeXt's",
             "write --opt adamw", lambda keys: "opt" not in keys and not _sibling(keys)),
        Trap("note", "layer-decay", "layer_decay",
             "layer_decay = {value} lowers lr, and so lr*λ, from layer to layer; the values here are those of the head",
             "nothing to do if it is meant", lambda keys: keys.number("layer_decay") not in (None, 1.0)),
        Trap("note", "steps-of-an-epoch", "sched_on_updates",
             "without --sched-on-updates the lr moves once an epoch, and the whole first epoch runs at --warmup-lr",
             "pass --sched-on-updates", lambda keys: _silent(keys, "sched_on_updates")),
        Trap("note", "warmup-inside", "warmup_prefix",
             "without --warmup-prefix the warm-up replaces the start of the curve: after it the lr jumps below --lr",
             "pass --warmup-prefix and take the warm-up off --epochs", _hidden_warmup),
        Trap("warning", "power-default", "decay_rate",
             "--sched poly takes its power from --decay-rate, 0.1 by default: the lr stays near its peak and falls at "
             "the very end",
             "write --decay-rate 1.0 for a straight line",
             lambda keys: keys.text("sched") == "poly" and not keys.lost and keys.raw("decay_rate", "dr") is None),
    )  # fmt: skip

    def fields(self, keys: Keys, document: Document) -> dict[str, Any]:
        """With the decay that corrected optimizers have, or that moves to another, as DeiT's may."""
        found, end = super().fields(keys, document), keys.number("weight_decay_end")
        start = found["groups"][0].weight_decay
        if end is not None and start not in (0, end):
            found |= {"weight_decay_schedule": "cosine", "final_weight_decay_fraction": end / start}
        if found["convention"] == "timm" and "corrected_weight_decay=true" in str(keys.raw("opt_kwargs")).lower():
            found["convention"] = "timm-corrected"
        return found

    def word(self, keys: Keys, field: str) -> str | None:
        """Words in any case."""
        found = super().word(keys, field)
        return None if found is None else found.lower()

    def number(self, keys: Keys, field: str, filling: str | None = None) -> float | None:
        """A learning rate may hang on the batch, devices are torchrun's, and a prefix makes the run longer."""
        found = super().number(keys, field, filling)
        if field == "peak_lr":
            return self._scaled_lr(keys) if found is None else found
        if field == "devices":
            return _devices(keys)
        if field == "epochs" and found and keys.yes("warmup_prefix"):
            found += super().number(keys, "warmup_fraction") or 0.0
        return found or None if field == "epochs" else found

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """Durations are epochs; a fall below 1 is a part of what follows the warm-up."""
        fields, total = super().schedule(keys, peak_lr, steps), self.number(keys, "epochs")
        name, warmup = fields.get("schedule"), fields.pop("warmup_fraction", None)
        if not name or not total or warmup is None:
            if name and (warmup is None or warmup):  # a script's own default, or epochs of nobody knows how many
                keys.settle("warmup_fraction")
                keys.unknown.append("warmup_fraction")
            return {"schedule": name}
        if warmup >= total:
            message = f"the warm-up of {warmup:g} epochs is not over when the run of {total:g} is: lr has no peak"
            fix = "set --warmup-epochs to a small part of --epochs"
            keys.error("warmup-never-ends", "warmup_epochs", message, fix)
        warm = min(0.99, warmup / total)
        if keys.text("sched") != "none":
            fields["warmup_fraction"] = warm
        if fields.get("schedule_power") == 1:
            fields |= {"schedule": "linear", "schedule_power": None}
        if name == "inverse-sqrt" or name in WSD:
            length = self.number(keys, "decay_fraction") or 0.2
            fall = length * (1 - warm) if length < 1 else length / total
            if name == "inverse-sqrt":
                return fields if fall < NEARLY_NONE and warm else {"schedule": None}
            kind = keys.text("lr_decay_fn") or "1-sqrt"
            fields["schedule"] = chosen("lr_decay_fn", kind, {said: name for name, said in WSD.items()}, None)
            fields["decay_fraction"] = min(fall, 1 - warm)
        return fields

    def _scaled_lr(self, keys: Keys) -> float | None:
        """The peak without --lr, which is scaled with the global batch."""
        parts = [self.number(keys, field) for field in ("per_device_batch_size", "accumulation", "devices")]
        base, reference, scale = keys.number("blr"), 256.0, "linear"
        if base is None:
            base, reference = keys.number_or("peak_lr", 0.1, "lr_base"), keys.number("lr_base_size") or 256.0
            own = "sqrt" if re.search("ada|lamb", (keys.text("opt") or "").lower()) else "linear"
            scale = keys.text("lr_base_scale") or own
        if base is None:
            return None
        ratio = math.prod(part or 0.0 for part in parts) / reference
        root = "the square root of " if scale == "sqrt" else ""
        said = f"no --lr: the peak is {base:g} times {root}the global batch over {reference:g}"
        if not ratio:
            message = f"{said}, and is not known without the number of devices; weight decay is not scaled with it"
            keys.warning("lr-scaling", "lr", message, fix="write --lr")
            return None
        peak = base * (math.sqrt(ratio) if root else ratio)
        message = f"{said}, and is {peak:g} here; weight decay is not scaled with it"
        keys.note("lr-scaling", "lr", message, fix="write --lr")
        return peak

    def write(self, config: Config) -> str:
        """Arguments for train.py, and a launch on one device."""
        numbers = [float(self.spelled(field, config) or 0) for field in ("epochs", "warmup_fraction")]
        parts = any(abs(number - round(number)) > 1e-6 for number in numbers)
        return (PARTS if parts else "") + super().write(config) + (LAUNCH if config.batch_size else "")

    def spelled(self, field: str, config: Config) -> str | None:
        """Durations in epochs, the batch of one device, and switches."""
        name, epochs = config.schedule or "constant", config.epochs or 1.0
        steps, warmup, fall = (whole(each) for each in (config.total_steps, config.warmup_steps, config.decay_steps))
        fall = 1 if name == "inverse-sqrt" else fall  # the shortest that it takes
        warm_epochs, after = epochs * warmup / steps, steps - warmup
        own: dict[str, str | None] = {
            "optimizer": "adamc" if config.weight_decay_schedule == "follows-lr" else "adamw",
            "on_updates": "",
            "epochs": value(epochs - warm_epochs),
            "prefix": "",
            "warmup_fraction": value(warm_epochs),
            "warmup_lr": "0",
            "final_lr": value(0.0 if name in ("constant", "inverse-sqrt") else final_lr(config)),
            "schedule_power": exact(config.power) if self.words[name] == ("poly",) else None,
            "decay_fn": WSD.get(name),
            "decay_fraction": value(fall / after if fall < after else fall * (epochs / steps)) if fall else None,
            "per_device_batch_size": str(whole(config.batch_size)) if config.batch_size else None,
            "accumulation": None,
        }
        return own[field] if field in own else super().spelled(field, config)

    def finished(self, snippet: Snippet) -> Snippet:
        """With a caution where train.py cannot take what was written."""
        if PARTS not in snippet.text:
            return snippet
        said = Caution(
            code="whole-epochs",
            message="train.py takes whole epochs only, and refuses the parts of one that are written",
            fix="recommend again with a warm-up (and, for wsd, a fall) of whole epochs, or round the numbers yourself",
        )
        text = snippet.text.replace(PARTS, f"# Caution ({said.code}): {said.message}.\n")
        return snippet.model_copy(update={"text": text, "cautions": (*snippet.cautions, said)})


def _devices(keys: Keys) -> float | None:
    """What torchrun's arguments multiply to."""
    launched = [keys.raw(name) for name in ("nproc_per_node", "nnodes")]
    counts = [str(each[0] if isinstance(each, list) and each else each) for each in launched if each is not None]
    if not counts or not all(count.isdecimal() for count in counts):
        return None
    return float(math.prod(map(int, counts))) or None
