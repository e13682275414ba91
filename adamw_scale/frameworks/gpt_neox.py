"""GPT-NeoX: apex's FusedAdam without decay on norms and biases (gpt-neox ea7aefd, megatron/learning_rates.py).

Its keys may have dashes. `weight_decay` was 0.01 by default and is 0.1 now (neox_arguments/neox_args.py), so without it
none is said. A cosine ends at `min_lr`; a straight line goes to 0 and is cut off there. The warm-up is a part of the
iterations that the learning rate falls over.
"""

from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.reading import Keys, keys_of
from adamw_scale.frameworks.table import Table, Trap, key
from adamw_scale.theory.parametrizations import NORM_AND_BIAS


def _end(keys: Keys) -> float | None:
    """Where the fall ends, if not where the run does."""
    falls, steps = keys.number("lr_decay_iters"), keys.number("train_iters")
    return falls if falls and steps and not 0.99 < falls / steps < 1.01 else None


def _rises_again(keys: Keys) -> bool:
    end, steps = _end(keys), keys.number("train_iters")
    return bool(end and steps and end < steps and keys.text("lr_decay_style") == "cosine")


class GPTNeoX(Table):
    """The keys of a YAML that are about the optimizer; merge them into one that has the model."""

    name = "gpt-neox"
    title = "GPT-NeoX"
    language = "yaml"
    convention = "apex"
    undecayed = frozenset({NORM_AND_BIAS})
    undecayed_by_default = "norms and biases; embeddings do decay"
    grouping = "none"
    how_to_group = "change get_params_for_weight_decay_optimization in megatron/model/utils.py"
    schedules = ("cosine", "constant", "linear")
    only_to_zero = frozenset({"linear"})
    reads = "its YAML"
    signs = frozenset(
        {
            *(
                "pipe_parallel_size",
                "model_parallel_size",
                "pipe-parallel-size",
                "model-parallel-size",
                "lr_decay_style",
            ),
            *("train_iters", "train-iters", "lr-decay-style", "optimizer.params", "min_lr", "warmup", "seq_length"),
            *(
                "seq-length",
                "train_batch_size",
                "train_micro_batch_size_per_gpu",
                "pos_emb",
                "pos-emb",
                "no_weight_tying",
            ),
        }
    )
    formats = frozenset({"YAML"})
    proven = "source only: a repository, not a library (commit ea7aefd)"

    keys = {
        "optimizer": key("optimizer.type", default="Adam"),
        "peak_lr": key("optimizer.params.lr"),
        "betas": key("optimizer.params.betas", default=(0.9, 0.999)),
        "eps": key("optimizer.params.eps", default=1e-8),
        "weight_decay": key("weight_decay"),
        "schedule": key("lr_decay_style", default="linear"),
        "warmup_fraction": key("warmup", default=0.01),
        "final_lr": key("min_lr", default=0.0),
        "total_steps": key("train_iters"),
        "epochs": key("train_epochs"),
        "batch_size": key("train_batch_size"),
        "per_device_batch_size": key("train_micro_batch_size_per_gpu"),
        "accumulation": key("gradient_accumulation_steps", default=1.0),
        "sequence_length": key("seq_length"),
    }
    optimizers = {"Adam": "apex", "cpu_adam": "deepspeed"}
    words = {"cosine": ("cosine",), "constant": ("constant",), "linear": ("linear",)}
    traps = (
        Trap("warning", "other-end", "lr_decay_iters",
             "the learning rate falls over {value} iterations, which is not the run",
             "set lr_decay_iters to train_iters, or drop it", lambda keys: _end(keys) and not _rises_again(keys)),
        Trap("error", "rises-again", "lr_decay_iters",
             "the cosine is at its end after {value} iterations and rises again for the rest of the run; it is judged "
             "as if the run ended there",
             "set lr_decay_iters to train_iters, or drop it", _rises_again),
    )  # fmt: skip

    def find(self, document: Document) -> Keys:
        """Keys with underscores, as it makes them itself."""
        content = {name.replace("-", "_"): each for name, each in document.content.items() if isinstance(name, str)}
        return keys_of(document._replace(content=content))

    def task(self, keys: Keys, document: Document) -> str | None:
        """Finetuning where it starts from weights without their optimizer."""
        return "finetuning" if keys.yes("finetune") else None

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """A straight line that is cut off is a table."""
        fields = super().schedule(keys, peak_lr, steps)
        if not _rises_again(keys) and fields.get("schedule") != "constant":
            fields["schedule_end"] = _end(keys)
        floor, start = fields.get("final_lr_fraction"), fields.get("warmup_fraction", 0.0)
        if fields.get("schedule") != "linear" or not floor:
            return fields
        if floor >= 1:
            return {"schedule": "constant", "warmup_fraction": start}
        points = [(0.0, 0.0)] * bool(start) + [(start, 1.0), (start + (1 - start) * (1 - floor), floor), (1.0, floor)]
        return {"schedule": "table", "schedule_table": tuple(points), "schedule_end": fields["schedule_end"]}
