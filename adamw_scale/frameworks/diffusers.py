"""diffusers' training scripts: one group of torch's AdamW, so everything decays (examples, commit 000280f).

`--adam_weight_decay` is 1e-2 by default in train_text_to_image.py; other scripts have defaults of their own, so it is
filled in for that one only. Its schedules go to 0; `constant` has no warm-up. `--scale_lr`
multiplies the learning rate by the batch over all devices.
"""

from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.reading import Keys, keys_of
from adamw_scale.frameworks.table import Table, Trap, key

_KNOWN = "train_text_to_image.py"


class Diffusers(Table):
    """Arguments of train_text_to_image.py."""

    name = "diffusers"
    title = "diffusers' scripts"
    language = "shell"
    convention = "pytorch"
    undecayed_by_default = "nothing: norms and biases decay too"
    grouping = "none"
    how_to_group = "pass parameter groups to optimizer_cls in the script"
    schedules = ("constant", "cosine", "linear")
    only_to_zero = frozenset({"cosine", "linear"})
    reads = "a command line of its train_*.py"
    signs = frozenset(
        {
            *("max_train_steps", "adam_weight_decay", "checkpointing_steps", "train_batch_size", "lr_warmup_steps"),
            *("adam_epsilon", "adam_beta1", "num_processes", "snr_gamma", "use_8bit_adam", "validation_prompt"),
        }
    )
    scripts = r"\btrain_(text_to_image|dreambooth|controlnet|unconditional|instruct_pix2pix)\w*\.py\b"
    formats = frozenset({"shell arguments"})
    proven = "the schedules in diffusers 0.42; its scripts are no library"

    keys = {
        "peak_lr": key("learning_rate"),
        "beta1": key("adam_beta1", default=0.9),
        "beta2": key("adam_beta2", default=0.999),
        "eps": key("adam_epsilon", default=1e-8),
        "weight_decay": key("adam_weight_decay", default=lambda keys: 1e-2 if keys.yes("known_script") else None),
        "schedule": key("lr_scheduler", default="constant"),
        "warmup_steps": key("lr_warmup_steps", default=500.0),
        "total_steps": key("max_train_steps"),
        "epochs": key("num_train_epochs"),
        "per_device_batch_size": key("train_batch_size"),
        "accumulation": key("gradient_accumulation_steps", default=1.0),
        "devices": key("num_processes"),
    }
    words = {"constant": ("constant_with_warmup", "constant"), "cosine": ("cosine",), "linear": ("linear",)}
    not_adamw = {"use_prodigy": "Prodigy", "optimizer": "another optimizer"}
    traps = (
        Trap("warning", "lr-scaling", "scale_lr",
             "--scale_lr multiplies the learning rate by devices, batch and accumulation; what is judged here is not",
             "write the learning rate that is meant, and drop --scale_lr"),
    )  # fmt: skip
    launch = 'accelerate launch --num_processes 1 train_text_to_image.py "${ADAMW_ARGS[@]}"\n'

    def find(self, document: Document) -> Keys:
        """With a mark of the script whose defaults are known."""
        known = _KNOWN in document.text
        return keys_of(document._replace(content={**document.content, "known_script": known}))

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """`constant` looks at no warm-up."""
        fields = super().schedule(keys, peak_lr, steps)
        if self.word(keys, "schedule") == "constant":
            keys.settle("warmup_steps")
            fields.pop("warmup_steps", None)
        return fields
