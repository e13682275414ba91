"""nanoGPT: torch AdamW; tensors of two or more dimensions decay, embeddings too (configure_optimizers in model.py).

get_lr in train.py knows one shape, a cosine from learning_rate to min_lr after a warm-up of
(it + 1) / (warmup_iters + 1); with min_lr at learning_rate it is constant. The loop ends after iteration max_iters,
counted from 0, so a run takes max_iters + 1 steps. No key sets epsilon, which stays at 1e-8.
"""

import math

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Mend, same_decay
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.reading import Keys, keys_of
from adamw_scale.frameworks.spelling import betas_of, exact, final_lr, lr_of, value, whole
from adamw_scale.theory.parametrizations import NORM_AND_BIAS

EPS = 1e-8  # torch's, which train.py leaves
MICRO_BATCH = 8  # sequences per forward pass that are written
# Names that other trainers have and train.py does not, with what it calls them.
STRANGERS = {
    "lr": "learning_rate",
    "max_lr": "learning_rate",
    "wd": "weight_decay",
    "betas": "beta1 and beta2",
    "warmup_steps": "warmup_iters",
    "max_steps": "max_iters",
    "num_iterations": "max_iters",
}


class NanoGPT(Framework):
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

    @classmethod
    def shown(cls, document: Document) -> frozenset[str]:
        """Its signs among plain names, as its files have them: cfg.optimizer.min_lr is of something else."""
        return cls.signs & document.content.keys()

    def write(self, config: Config) -> str:
        """A file for `python train.py FILE`."""
        (beta1, beta2), eps, steps = betas_of(config), config.eps or EPS, whole(config.total_steps)
        rows = [
            f"learning_rate = {lr_of(config)}",
            f"min_lr = {value(final_lr(config))}",
            f"weight_decay = {value(config.weight_decay)}",
            f"beta1 = {beta1}",
            f"beta2 = {beta2}",
            *([f"# epsilon stays at {EPS:g}, not {exact(eps)}: no key sets it"] if eps != EPS else []),
            "decay_lr = True",
            f"warmup_iters = {whole(config.warmup_steps)}",
            f"lr_decay_iters = {steps}",
            f"max_iters = {steps - 1}  # the loop takes one step more than this",
            *([] if config.batch_size is None else _batch(whole(config.batch_size))),
            *([f"block_size = {whole(config.sequence_length)}"] if config.sequence_length else []),
        ]
        return "".join(f"{row}\n" for row in rows)

    def read(self, document: Document) -> Config:
        """The assignments or arguments, with train.py's own defaults where they say nothing."""
        keys = keys_of(document)
        peak_lr = keys.number_or("peak_lr", 6e-4, "learning_rate")
        floor = keys.number_or("final_lr_fraction", 6e-5, "min_lr")
        last = keys.number_or("total_steps", 600_000.0, "max_iters") or 0.0
        falling = keys.yes("decay_lr") is not False
        fraction = floor / peak_lr if peak_lr and floor is not None else None
        flat = not falling or fraction == 1.0
        _note_strangers(keys)
        end = _other_end(keys, last) if not flat else None
        if falling:
            if end is not None:
                _note_other_end(keys, end, last)
        elif "warmup_iters" in keys:
            message = "decay_lr = False turns get_lr off and with it the warm-up: every step runs at learning_rate"
            fix = "to warm up and stay, set decay_lr = True and min_lr to learning_rate"
            keys.error("warmup-ignored", "warmup_iters", message, fix)
        micro, passes = keys.number("batch_size"), keys.number("gradient_accumulation_steps")
        batch = None if micro is None and passes is None else _both(keys, micro, passes)
        return Config(
            convention=self.convention,
            peak_lr=peak_lr,
            groups=same_decay(keys.number_or("weight_decay", 0.1, "weight_decay") or 0.0, self.undecayed),
            betas=keys.betas((0.9, 0.95), "beta1", "beta2"),
            eps=keys.filled("eps", EPS, "eps"),
            schedule="constant" if flat else "cosine",
            warmup_steps=keys.number_or("warmup_steps", 2000.0, "warmup_iters") if falling else None,
            final_lr_fraction=None if flat else fraction,
            schedule_end=end,
            total_steps=last + 1,
            unit="tokens",
            batch_size=batch,
            per_device_batch_size=micro,
            sequence_length=keys.number("block_size"),
            **keys.noted(),
        )


def _batch(batch: int) -> list[str]:
    """A global batch as passes of as many sequences as divide it; train.py divides the passes among devices."""
    micro = math.gcd(batch, MICRO_BATCH)
    return [
        f"batch_size = {micro}",
        f"gradient_accumulation_steps = {batch // micro}  # over all devices, times batch_size {batch} sequences",
    ]


def _both(keys: Keys, micro: float | None, passes: float | None) -> float | None:
    """Sequences a step of which one part is written; the other is train.py's own."""
    if micro is None or passes is None:
        if keys.filled("batch_size", 12.0) is None:
            return None
        return (micro or 12.0) * (passes or 40.0)
    return micro * passes


def _note_strangers(keys: Keys) -> None:
    """Names that a config file may hold and nothing reads."""
    for stranger, own in STRANGERS.items():
        if stranger in keys:
            message = f"train.py has no {stranger}: from a config file it is ignored, as an argument refused"
            keys.warning("unknown-key", stranger, message, fix=f"write {own}", mend=Mend(key=stranger, name=own))


def _other_end(keys: Keys, last: float) -> float | None:
    """Where the cosine ends, if not where the run does: at lr_decay_iters, whose default is 600000."""
    end = keys.number("lr_decay_iters")
    fall = keys.filled("schedule_end", 600_000.0, "lr_decay_iters") if end is None else end
    return fall if fall and abs(fall - last) > 1 else None


def _note_other_end(keys: Keys, fall: float, last: float) -> None:
    """The learning rate ends its fall before or after the run."""
    set_ = "lr_decay_iters" in keys
    said = f"lr_decay_iters = {fall:g}" if set_ else "lr_decay_iters is not set, so it is 600000"
    what = (
        "the learning rate stays at min_lr for the rest"
        if fall < last
        else "the learning rate has not come down by then"
    )
    message = f"{said}, but the run ends at max_iters = {last:g}: {what}"
    keys.warning("other-end", "lr_decay_iters", message, fix=f"set lr_decay_iters = {last:g}")
