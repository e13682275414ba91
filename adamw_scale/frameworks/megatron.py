"""Megatron-LM: decoupled, times the scheduled lr; biases and 1-D tensors excluded, embeddings decayed.

`--start-weight-decay` and `--end-weight-decay` would override `--weight-decay` every step
(core/optimizer_param_scheduler.py), so the snippet sets the constant style and leaves them out.
"""

from typing import ClassVar

from adamw_scale.frameworks.framework import (
    Snippet,
    comment,
    decay,
    decay_steps,
    exact,
    global_batch,
    groups,
    header,
    spelled,
    total_steps,
    value,
    warmup_steps,
)
from adamw_scale.parametrizations import HIDDEN
from adamw_scale.spec import Caution, Recommendation
from adamw_scale.units import format_significant

_WSD = {"wsd": "linear", "wsd-cosine": "cosine", "wsd-1-sqrt": "minus_sqrt"}
_STYLE = {"constant": "constant", "linear": "linear", "cosine": "cosine", **dict.fromkeys(_WSD, "WSD")}


class Megatron:
    """Command-line arguments of pretrain_gpt.py and its siblings, as a bash array."""

    name: ClassVar[str] = "megatron"
    title: ClassVar[str] = "Megatron-LM"
    convention: ClassVar[str] = "pytorch"
    undecayed_by_default: ClassVar[str] = "biases and tensors of one dimension; embeddings do decay"

    def emit(self, recommendation: Recommendation) -> Snippet:
        """Arguments for the command line; append "${ADAMW_ARGS[@]}" to the launch."""
        run = recommendation.run
        batch, cautions = global_batch(run)
        hidden = groups(recommendation)[HIDDEN]
        steps = total_steps(run)
        rows = [
            "--optimizer adam",
            f"--lr {value(run.lr)}",
            f"--min-lr {value(run.lr * run.lr_schedule.final)}",
            f"--weight-decay {decay(hidden, self)}",
            "--weight-decay-incr-style constant",
            f"--adam-beta1 {exact(run.betas[0])}",
            f"--adam-beta2 {exact(run.betas[1])}",
            f"--adam-eps {exact(run.eps)}",
            f"--lr-decay-style {spelled(run.schedule, _STYLE, self)}",
            *(
                [f"--lr-wsd-decay-style {_WSD[run.schedule]} --lr-wsd-decay-iters {decay_steps(run)}"]
                if run.schedule in _WSD
                else []
            ),
            f"--lr-decay-iters {steps}",
            f"--lr-warmup-iters {warmup_steps(run)}",
            f"--train-iters {steps}",
            *([f"--global-batch-size {batch}"] if batch is not None else []),
            *([f"--seq-length {run.sequence_length:.0f}"] if run.sequence_length else []),
        ]
        if not recommendation.one_for_all:
            cautions += (
                Caution(
                    code="one-weight-decay",
                    message=f"Megatron-LM's muP divides the hidden lr by the width ratio but has one weight decay; "
                    f"{format_significant(hidden.weight_decay)} is that of the hidden matrices, so embeddings and output "
                    f"decay {run.width_ratio:.3g} times faster than recommended",
                    fix="set muP with Megatron's own flags, and give embeddings a weight-decay multiplier if yours has one",
                ),
            )
        notes = comment(f"Caution ({caution.code}): {caution.message}." for caution in cautions)
        text = header(recommendation, self) + notes + "ADAMW_ARGS=(\n" + "".join(f"    {row}\n" for row in rows) + ")\n"
        return Snippet(framework=self.name, language="shell", text=text, cautions=cautions)
