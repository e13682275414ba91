"""big_vision: optax's Adam with a decay that only the schedule scales (big_vision/optax.py, commit of 2024).

`wd` is added after the learning rate and before the schedule, so each step removes schedule · wd, whatever `lr` is. It
acts on names that end in /kernel unless `wd_mults` says otherwise, so norms, biases and embedding tables are spared.
Without a decay_type the schedule is a stair, which without `mults` is constant.
"""

from typing import Any

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import same_decay
from adamw_scale.frameworks.reading import Keys, keys_of
from adamw_scale.frameworks.table import Table, key
from adamw_scale.theory.parametrizations import EMBEDDING, HIDDEN, NORM_AND_BIAS

EVERYTHING = [[".*", 1.0]]
ELSEWHERE = ("cooldown_steps", "cooldown_epochs", "cooldown_percent", "cooldown_examples", "warmup_epochs", "mults")


class BigVision(Table):
    """A function get_config() of a config file; read, and not written."""

    name = "big-vision"
    title = "big_vision"
    language = "python"
    convention = "big-vision"
    undecayed = frozenset({NORM_AND_BIAS, EMBEDDING})
    undecayed_by_default = "everything but kernels: norms, biases, embedding tables"
    grouping = "decay"
    how_to_group = "give config.wd_mults patterns"
    schedules = ("cosine", "linear", "constant")
    reads = "a config file with get_config()"
    signs = frozenset(
        {"optax_name", "wd_mults", "pp_modules", "log_training_steps", "ckpt_steps", "grad_clip_norm", "decay_type"}
    )
    packages = frozenset({"big_vision"})
    scripts = r"\bbig_vision\.train"
    formats = frozenset({"Python"})
    emits = False
    proven = "source only: a repository, not a library"

    keys = {
        "optimizer": key("optax_name"),
        "peak_lr": key("lr"),
        "weight_decay": key("wd", default=0.0),
        "beta1": key("optax.b1", default=0.9),
        "beta2": key("optax.b2", default=0.999),
        "eps": key("optax.eps", default=1e-8),
        "schedule": key("schedule.decay_type", default="stair"),
        "warmup_steps": key("schedule.warmup_steps"),
        "warmup_fraction": key("schedule.warmup_percent"),
        "final_lr_fraction": key("schedule.end", "schedule.linear_end"),
        "total_steps": key("total_steps"),
        "epochs": key("total_epochs"),
        "batch_size": key("input.batch_size", "batch_size"),
    }
    optimizers = {"scale_by_adam": "big-vision"}
    words = {"cosine": ("cosine",), "linear": ("linear",), "constant": ("stair",)}

    def find(self, document: Document) -> Keys:
        """What is given to attributes of the config, however that is called."""
        holder = next(
            (path.removesuffix("optax_name") for path in document.content if path.endswith(".optax_name")), ""
        )
        content = {path.removeprefix(holder): each for path, each in document.content.items()}
        overridable = frozenset(path.removeprefix(holder) for path in document.overridable)
        keys = keys_of(document._replace(content=content, overridable=overridable))
        if keys.source("schedule.scale_with_batchsize"):
            raise SpecError(
                "schedule.scale_with_batchsize multiplies lr and wd by the batch over 256: write them out without it"
            )
        return keys

    def grouped(
        self, keys: Keys, document: Document, peak_lr: float | None, weight_decay: float | None, eps: float | None
    ) -> dict[str, Any]:
        """Kernels, everything, or what the patterns of wd_mults name."""
        multiples = keys.source("wd_mults")
        groups = same_decay(weight_decay, frozenset() if multiples == EVERYTHING else self.undecayed)
        if multiples not in (None, EVERYTHING):
            groups = tuple(g if g.group == HIDDEN else g.model_copy(update={"known": False}) for g in groups)
        return {"groups": groups, "weight_decay_known": weight_decay is not None}

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """A shape that goes on to its end; schedules by pattern and cooldowns are not followed."""
        if isinstance(keys.source("schedule"), dict) and not any(f"schedule.{name}" in keys for name in ELSEWHERE):
            return super().schedule(keys, peak_lr, steps)
        keys.unknown.append("schedule")
        return {"schedule": None}
