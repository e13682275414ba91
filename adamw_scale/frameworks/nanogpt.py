"""nanoGPT: torch AdamW; tensors of two or more dimensions decay, embeddings too (configure_optimizers in model.py).

get_lr in train.py knows one shape, a cosine from learning_rate to min_lr after a warm-up of
(it + 1) / (warmup_iters + 1); with min_lr at learning_rate it is constant. The loop ends after iteration max_iters,
counted from 0, so a run takes max_iters + 1 steps. No key sets epsilon, which stays at 1e-8.
"""

import math
from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Mend
from adamw_scale.frameworks.reading import Keys
from adamw_scale.frameworks.spelling import exact, whole
from adamw_scale.frameworks.table import Table, Trap, key, note_other_end
from adamw_scale.theory.parametrizations import NORM_AND_BIAS

EPS = 1e-8  # torch's, which train.py leaves
MICRO_BATCH = 8  # sequences per forward pass that are written
# Names that other trainers have and train.py does not, with what it calls them.
STRANGERS = {
    **dict.fromkeys(("lr", "max_lr"), "learning_rate"),
    **dict.fromkeys(("max_steps", "num_iterations"), "max_iters"),
    "wd": "weight_decay",
    "betas": "beta1 and beta2",
    "warmup_steps": "warmup_iters",
}


class NanoGPT(Table):
    """A config file of Python assignments, or --key=value arguments of train.py."""

    name = "nanogpt"
    title = "nanoGPT"
    language = "python"
    convention = "nanogpt"
    undecayed = frozenset({NORM_AND_BIAS})
    undecayed_by_default = "biases and tensors of one dimension; embeddings do decay"
    grouping = "none"
    how_to_group = (
        "build the groups in configure_optimizers of model.py, and scale each group's lr where train.py sets it"
    )
    schedules = ("constant", "cosine")
    reads = "a config file of Python assignments, or --key=value arguments"
    signs = frozenset({"decay_lr", "warmup_iters", "lr_decay_iters", "max_iters", "min_lr", "block_size"})
    formats = frozenset({"Python", "shell arguments"})
    proven = "source only: train.py is a script of a repository, not a library"
    unit = "tokens"

    keys = {
        "peak_lr": key("learning_rate", default=6e-4),
        "final_lr": key("min_lr", default=6e-5),
        "weight_decay": key("weight_decay", default=0.1),
        "beta1": key("beta1", default=0.9),
        "beta2": key("beta2", default=0.95),
        "decay_lr": key("decay_lr"),
        "warmup_steps": key("warmup_iters", default=2000.0),
        "schedule_end": key("lr_decay_iters", default=600_000.0),
        "total_steps": key("max_iters", default=600_000.0),
        "per_device_batch_size": key("batch_size"),
        "passes": key("gradient_accumulation_steps"),
        "sequence_length": key("block_size"),
    }
    traps = (
        *(
            Trap(
                "warning",
                "unknown-key",
                stranger,
                f"train.py has no {stranger}: from a config file it is ignored, as an argument refused",
                f"write {own}",
                mend=Mend(key=stranger, name=own) if own.isidentifier() else None,
            )
            for stranger, own in STRANGERS.items()
        ),
        Trap("error", "warmup-ignored", "warmup_iters",
             "decay_lr = False turns get_lr off and with it the warm-up: every step runs at learning_rate",
             "to warm up and stay, set decay_lr = True and min_lr to learning_rate",
             lambda keys: keys.yes("decay_lr") is False and "warmup_iters" in keys),
    )  # fmt: skip

    @classmethod
    def shown(cls, document: Document) -> frozenset[str]:
        """Its signs among plain names, as its files have them: cfg.optimizer.min_lr is of something else.

        Megatron's parser shares some of them.
        """
        names = document.content.keys()
        return frozenset() if "lr_decay_style" in names else cls.signs & names

    def task(self, keys: Keys, document: Document) -> str | None:
        """Finetuning from GPT-2's weights."""
        return "finetuning" if (keys.text("init_from") or "").startswith("gpt2") else None

    def fields(self, keys: Keys, document: Document) -> dict[str, Any]:
        """One step more than it says; a batch of passes over all devices, of which train.py has 40 of 12 sequences."""
        found = super().fields(keys, document)
        micro, passes, last = found["per_device_batch_size"], self.number(keys, "passes"), found["total_steps"]
        if (micro is None) == (passes is None) or keys.filled("batch_size", 12.0) is not None:
            found["batch_size"] = (micro or 12.0) * (passes or 40.0) if micro or passes else None
        return {**found, "eps": keys.filled("eps", EPS, "eps"), "total_steps": (last or 0.0) + 1}

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """A cosine that may end before or after the run, or stay at its peak."""
        floor = self.number(keys, "final_lr", filling="final_lr_fraction")
        if keys.yes("decay_lr") is False:
            return {"schedule": "constant"}
        if "decay_lr" not in keys:
            keys.filled("schedule", "cosine", "decay_lr")
        warmup, last = self.number(keys, "warmup_steps"), steps or 0.0
        if floor is not None and floor == peak_lr:
            return {"schedule": "constant", "warmup_steps": warmup}
        end = self.number(keys, "schedule_end")
        if end and abs(end - last) > 1:
            fix = f"set lr_decay_iters = {last:g}; it is 600000 if it is not set"
            note_other_end(keys, "other-end", "lr_decay_iters", end, last, fix, "it stays at min_lr for the rest")
        return {
            "schedule": "cosine",
            "warmup_steps": warmup,
            "final_lr_fraction": keys.fraction("final_lr_fraction", floor, peak_lr),
            "schedule_end": end if end and abs(end - last) > 1 else None,
        }

    def write(self, config: Config) -> str:
        """A file for `python train.py FILE`."""
        eps, rows = config.eps or EPS, "".join(f"{name} = {text}\n" for name, text in self.rows(config).items())
        note = f"# epsilon stays at {EPS:g}, not {exact(eps)}: no key sets it\n" if eps != EPS else ""
        return rows.replace("decay_lr =", f"{note}decay_lr =", 1)

    def spelled(self, field: str, config: Config) -> str | None:
        """A global batch as passes of as many sequences as divide it; train.py divides the passes among devices."""
        steps, batch = whole(config.total_steps), whole(config.batch_size)
        micro = math.gcd(batch, MICRO_BATCH)
        passes = f"{batch // (micro or 1)}  # over all devices, times batch_size {batch} sequences"
        own: dict[str, str | None] = {
            "decay_lr": "True",
            "schedule_end": str(steps),
            "total_steps": f"{steps - 1}  # the loop takes one step more than this",
            "per_device_batch_size": str(micro) if batch else None,
            "passes": passes if batch else None,
        }
        return own[field] if field in own else super().spelled(field, config)
