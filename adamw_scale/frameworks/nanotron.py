"""nanotron: one group of torch's AdamW, so everything decays but what is named (nanotron 0.4, config/config.py).

No key of the optimizer has a default. The fall starts after the warm-up, or at `lr_decay_starting_step`, takes
`lr_decay_steps` and ends at `min_decay_lr`, which is the peak if it is not given (helpers.py). Adam's keys are under
`optimizer_factory` in the repository's main (00708b8), which also has `weight_decay_exclude_named_params`.
"""

from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, same_decay
from adamw_scale.frameworks.reading import Keys
from adamw_scale.frameworks.spelling import whole
from adamw_scale.frameworks.table import Table, key
from adamw_scale.theory.parametrizations import HIDDEN

LR = "optimizer.learning_rate_scheduler"
_FALLS = {"linear": ("linear", "wsd"), "cosine": ("cosine", "wsd-cosine"), "1-sqrt": ("wsd-1-sqrt", "wsd-1-sqrt")}


class Nanotron(Table):
    """The optimizer and tokens of a YAML; merge them into one that has model and data."""

    name = "nanotron"
    title = "nanotron"
    language = "yaml"
    convention = "pytorch"
    undecayed_by_default = "nothing: norms, biases and embeddings decay too"
    grouping = "none"
    how_to_group = "name what must not decay in optimizer.weight_decay_exclude_named_params"
    schedules = ("linear", "cosine", "constant", "wsd", "wsd-cosine", "wsd-1-sqrt")
    reads = "its YAML"
    signs = frozenset(
        {
            *(
                "tokens.micro_batch_size",
                "tokens.batch_accumulation_per_replica",
                "tokens.train_steps",
                f"{LR}.min_decay_lr",
            ),
            *(f"{LR}.learning_rate", "optimizer.optimizer_factory", f"{LR}.lr_decay_starting_step", "parallelism.dp"),
        }
    )
    formats = frozenset({"YAML"})
    proven = "source only: nanotron 0.4 and the repository's main (00708b8)"

    keys = {
        "peak_lr": key(f"{LR}.learning_rate"),
        "weight_decay": key("optimizer.weight_decay"),
        "beta1": key("optimizer.optimizer_factory.adam_beta1", "optimizer.adam_beta1"),
        "beta2": key("optimizer.optimizer_factory.adam_beta2", "optimizer.adam_beta2"),
        "eps": key("optimizer.optimizer_factory.adam_eps", "optimizer.adam_eps"),
        "schedule": key(f"{LR}.lr_decay_style", default="linear"),
        "warmup_steps": key(f"{LR}.lr_warmup_steps", default=0.0),
        "decay_steps": key(f"{LR}.lr_decay_steps"),
        "final_lr": key(f"{LR}.min_decay_lr"),
        "total_steps": key("tokens.train_steps"),
        "per_device_batch_size": key("tokens.micro_batch_size"),
        "accumulation": key("tokens.batch_accumulation_per_replica"),
        "devices": key("parallelism.dp"),
        "sequence_length": key("tokens.sequence_length"),
    }
    words = {name: (style,) for style, names in _FALLS.items() for name in names} | {"constant": ("linear",)}
    besides = {"optimizer.optimizer_factory.name": "adamW", f"{LR}.lr_warmup_style": "linear"}
    not_adamw = {"optimizer.optimizer_factory.sgd": "SGD"}

    def grouped(
        self, keys: Keys, document: Document, peak_lr: float | None, weight_decay: float | None, eps: float | None
    ) -> dict[str, Any]:
        """What patterns spare is not known but of the matrices."""
        groups = same_decay(weight_decay)
        if keys.source("optimizer.weight_decay_exclude_named_params"):
            groups = tuple(g if g.group == HIDDEN else g.model_copy(update={"known": False}) for g in groups)
        return {"groups": groups, "weight_decay_known": weight_decay is not None}

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """A fall over what follows the warm-up, or from a step on."""
        style, end = self.word(keys, "schedule") or "linear", self.number(keys, "final_lr")
        warmup, start = self.number(keys, "warmup_steps"), keys.number(f"{LR}.lr_decay_starting_step")
        fields: dict[str, Any] = {"warmup_steps": warmup}
        if style not in _FALLS:
            return {"schedule": None}
        if end is None or end == peak_lr:
            return {"schedule": "constant", **fields}
        after = None if steps is None else steps - (warmup or 0.0)
        fall = self.number(keys, "decay_steps") or after
        late = start is not None and start > (warmup or 0.0)
        if steps and fall and abs((start if late and start else warmup or 0.0) + fall - steps) > 1:
            message = f"the fall of {fall:g} steps does not end with the run of {steps:g}; it is judged as if it did"
            fix = "let lr_decay_starting_step and lr_decay_steps add up to train_steps"
            keys.warning("other-end", f"{LR}.lr_decay_steps", message, fix)
        name = _FALLS[style][late]
        if name.startswith("wsd"):
            fields["decay_steps"] = steps - start if late and steps and start is not None else fall
        return {"schedule": name, "final_lr_fraction": end / peak_lr if peak_lr else None, **fields}

    def rows(self, config: Config) -> dict[str, str]:
        """With the step at which a late fall starts."""
        rows = super().rows(config)
        if config.decay_steps is not None:
            rows[f"{LR}.lr_decay_starting_step"] = str(whole(config.total_steps) - whole(config.decay_steps))
        return rows
