"""torchvision's references: SGD unless --opt says adamw, which then decays everything (classification, 017e9b9).

`--norm-weight-decay`, where it is given, is the decay of normalization layers; other biases keep `--wd`, 1e-4 by
default. The learning rate moves once an epoch, and its warm-up is flat at a fraction unless its method is linear.
"""

from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import same_decay
from adamw_scale.frameworks.reading import Keys
from adamw_scale.frameworks.table import Table, Trap, key
from adamw_scale.theory.parametrizations import NORM_AND_BIAS


class TorchVision(Table):
    """Arguments of references/classification/train.py; read, and not written, as it has no betas and no epsilon."""

    name = "torchvision"
    title = "torchvision's references"
    language = "shell"
    convention = "pytorch"
    undecayed_by_default = "nothing: norms and biases decay too"
    grouping = "none"
    how_to_group = "pass --norm-weight-decay 0"
    schedules = ("cosine",)
    reads = "a command line of references/classification/train.py"
    signs = frozenset(
        {
            *(
                "norm_weight_decay",
                "lr_warmup_epochs",
                "lr_warmup_method",
                "lr_warmup_decay",
                "lr_step_size",
                "lr_gamma",
            ),
            *("auto_augment", "mixup_alpha", "cutmix_alpha", "model_ema_steps", "train_crop_size", "val_resize_size"),
            *("bias_weight_decay", "label_smoothing"),
        }
    )
    scripts = r"\breferences/classification/train\.py\b"
    formats = frozenset({"shell arguments"})
    emits = False
    proven = "source only: a script of a repository (commit 017e9b9)"

    keys = {
        "optimizer": key("opt", default="sgd"),
        "peak_lr": key("lr", default=0.1),
        "betas": key("betas", default=(0.9, 0.999)),
        "eps": key("eps", default=1e-8),
        "weight_decay": key("wd", "weight_decay", default=1e-4),
        "schedule": key("lr_scheduler", default="steplr"),
        "epochs": key("epochs", default=90.0),
        "per_device_batch_size": key("batch_size", "b"),
        "devices": key("nproc_per_node"),
    }
    optimizers = {"adamw": "pytorch"}
    words = {"cosine": ("cosineannealinglr",)}
    traps = (
        Trap("note", "flat-warmup", "lr_warmup_epochs",
             "the warm-up of {value} epochs is flat, at lr_warmup_decay of the peak; it is judged as linear",
             "pass --lr-warmup-method linear",
             lambda keys: keys.number("lr_warmup_epochs") and keys.text("lr_warmup_method") != "linear"),
    )  # fmt: skip

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """A warm-up in epochs."""
        fields, epochs = super().schedule(keys, peak_lr, steps), keys.number("epochs")
        warmup = keys.number("lr_warmup_epochs") or 0.0
        if fields.get("schedule") and epochs:
            fields["warmup_fraction"] = min(0.99, warmup / epochs)
        return fields

    def grouped(
        self, keys: Keys, document: Document, peak_lr: float | None, weight_decay: float | None, eps: float | None
    ) -> dict[str, Any]:
        """Norms and biases may have a decay each, of which there is one here."""
        groups = same_decay(weight_decay)
        if any(name in keys for name in ("norm_weight_decay", "bias_weight_decay")):
            groups = tuple(g.model_copy(update={"known": False}) if g.group == NORM_AND_BIAS else g for g in groups)
        return {"groups": groups, "weight_decay_known": weight_decay is not None}
