"""nanotron: one group of torch's AdamW, so everything decays but what is named (nanotron 0.4, config/config.py).

No key of the optimizer has a default. The fall starts after the warm-up, or at `lr_decay_starting_step`, takes
`lr_decay_steps` and ends at `min_decay_lr`, which is the peak if it is not given (helpers.py). Adam's keys are under
`optimizer_factory` in the repository's main (00708b8), which also has `weight_decay_exclude_named_params`.
"""

from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, same_decay
from adamw_scale.frameworks.reading import Keys, chosen, keys_of
from adamw_scale.frameworks.spelling import whole
from adamw_scale.frameworks.table import Table, Trap, key
from adamw_scale.theory.parametrizations import HIDDEN

LR = "optimizer.learning_rate_scheduler"
FACTORY = "optimizer.optimizer_factory.name"
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
    proven = "nanotron 0.4; of its main (00708b8) the source: optimizer_factory and 1-sqrt"

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
    besides = {FACTORY: "adamW", f"{LR}.lr_warmup_style": "linear"}
    traps = (
        Trap("warning", "mup", "model.init_method.use_mup",
             "use_mup trains each matrix at learning_rate times its fan-out over its fan-in, and so decays it; what is "
             "judged is learning_rate",
             "nothing to do if it is meant; the timescale of a matrix is its fan-in over its fan-out of what is said",
             lambda keys: keys.yes("model.init_method.use_mup")),
    )  # fmt: skip

    def find(self, document: Document) -> Keys:
        """Of AdamW only."""
        keys = keys_of(document)
        chosen(FACTORY, keys.text(FACTORY), {"adamW": "pytorch"}, None)
        return keys

    def grouped(
        self, keys: Keys, document: Document, peak_lr: float | None, weight_decay: float | None, eps: float | None
    ) -> dict[str, Any]:
        """What patterns spare is not known but of the matrices."""
        groups = same_decay(weight_decay)
        if keys.source("optimizer.weight_decay_exclude_named_params"):
            groups = tuple(g if g.group == HIDDEN else g.model_copy(update={"known": False}) for g in groups)
        return {"groups": groups, "weight_decay_known": weight_decay is not None}

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """A fall from the warm-up's end, or from a step on, which may end apart from the run."""
        style, end = self.word(keys, "schedule") or "linear", self.number(keys, "final_lr")
        warmup, start = self.number(keys, "warmup_steps"), keys.number(f"{LR}.lr_decay_starting_step")
        if keys.text(f"{LR}.lr_warmup_style") == "constant":  # at the peak from the first step on
            warmup, start = None, warmup if start is None else start
        if style not in _FALLS:
            return {"schedule": None}
        if end is None or end == peak_lr:
            return {"schedule": "constant", "warmup_steps": warmup}
        falls_after = max(warmup or 0.0, start or 0.0)
        name = _FALLS[style][falls_after > (warmup or 0.0)]
        fall = self.number(keys, "decay_steps")
        if fall is None and steps is not None:
            fall = steps - (keys.number(f"{LR}.lr_warmup_steps") or 0.0)  # wherever it starts (config.py)
            if name.startswith("wsd"):
                fall = keys.filled("decay_steps", fall, *self.keys["decay_steps"].names)
        fields: dict[str, Any] = {
            "schedule": name,
            "warmup_steps": warmup,
            "final_lr_fraction": end / peak_lr if peak_lr else None,
            "decay_steps": fall if name.startswith("wsd") else None,
        }
        if not steps or not fall or abs(falls_after + fall - steps) <= 1:
            return fields
        apart = "stays there for the rest" if falls_after + fall < steps else "has not come down by then"
        message = f"the learning rate falls until step {falls_after + fall:g} and the run has {steps:g}: it {apart}"
        fix = "let lr_decay_starting_step, or lr_warmup_steps, and lr_decay_steps add up to train_steps"
        keys.warning("other-end", f"{LR}.lr_decay_steps", message, fix)
        return {**fields, "schedule_end": falls_after + fall, "after_end": fields["final_lr_fraction"]}

    def rows(self, config: Config) -> dict[str, str]:
        """With the step at which a late fall starts."""
        rows = super().rows(config)
        if config.decay_steps is not None:
            rows[f"{LR}.lr_decay_starting_step"] = str(whole(config.total_steps) - whole(config.decay_steps))
        return rows
