"""OpenCLIP: torch's AdamW without decay on gains, biases and logit_scale (open_clip 000ca0a, open_clip_train).

`--wd` is 0.2 by default and the warm-up 10,000 steps (params.py); the learning rate is 5e-4, beta2 and epsilon hang on
the model: 0.98 and 1e-6 for a ViT, else 0.999 and 1e-8. Its cosine goes to 0.
"""

from typing import Any

from adamw_scale.frameworks.reading import Keys
from adamw_scale.frameworks.table import Table, key
from adamw_scale.theory.parametrizations import NORM_AND_BIAS


def _by_model(vit: float, other: float) -> Any:
    """A default that the model's name decides; none where that is not known."""

    def default(keys: Keys) -> float | None:
        model = keys.text("model")
        return None if model is None else vit if "vit" in model.lower() else other

    return default


class OpenCLIP(Table):
    """Arguments of open_clip_train.main."""

    name = "open-clip"
    title = "OpenCLIP"
    language = "shell"
    convention = "pytorch"
    undecayed = frozenset({NORM_AND_BIAS})
    undecayed_by_default = "tensors of fewer than two dimensions, and names with bn, ln, bias or logit_scale"
    grouping = "none"
    how_to_group = "change gain_or_bias_params in open_clip_train/main.py"
    schedules = ("cosine", "constant")
    only_to_zero = frozenset({"cosine"})
    reads = "a command line of open_clip_train.main, once training.main"
    signs = frozenset(
        {"wd", "beta1", "beta2", "warmup", "train_num_samples", "dataset_type", "accum_freq", "csv_img_key"}
    )
    scripts = r"\bopen_clip_train(\.|/)main\b|-m\s+training\.main\b"
    formats = frozenset({"shell arguments"})
    proven = "open_clip_torch 3.3"

    keys = {
        "optimizer": key("opt", default="adamw"),
        "peak_lr": key("lr", default=5e-4),
        "beta1": key("beta1"),
        "beta2": key("beta2", default=_by_model(0.98, 0.999)),
        "eps": key("eps", default=_by_model(1e-6, 1e-8)),
        "weight_decay": key("wd", default=0.2),
        "schedule": key("lr_scheduler", default="cosine"),
        "warmup_steps": key("warmup", default=10_000.0),
        "epochs": key("epochs", default=32.0),
        "per_device_batch_size": key("batch_size"),
        "accumulation": key("accum_freq", default=1.0),
        "devices": key("nproc_per_node"),
    }
    optimizers = {"adamw": "pytorch"}
    words = {"cosine": ("cosine",), "constant": ("const",)}
    launch = 'torchrun --nproc_per_node 1 -m open_clip_train.main "${ADAMW_ARGS[@]}"\n'

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """Nothing moves the learning rate where the scheduler is skipped."""
        return {"schedule": "constant"} if keys.yes("skip_scheduler") else super().schedule(keys, peak_lr, steps)

    def betas(self, keys: Keys) -> tuple[float, float] | None:
        """beta1 is 0.9 for every model, beta2 is not."""
        first, second = keys.number("beta1"), self.number(keys, "beta2", filling="betas")
        return None if second is None else (0.9 if first is None else first, second)
