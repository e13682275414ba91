"""Hugging Face Trainer: torch AdamW; decays all but LayerNorms, biases and norm-like names (trainer.py).

Embeddings and the output are decayed, as in the recommendation's groups. `warmup_ratio` is gone
since transformers 5.3, so warm-up is written in steps, which 4.x reads too. "linear" has no floor:
a linear schedule that ends above zero is written as a polynomial of power 1.
"""

from typing import Any, ClassVar

from adamw_scale.frameworks.framework import (
    Framework,
    Snippet,
    decay_steps,
    exact,
    global_batch,
    header,
    spelled,
    total_steps,
    value,
    warmup_steps,
)
from adamw_scale.frameworks.pytorch import param_groups_source
from adamw_scale.schedules import POWER
from adamw_scale.spec import Recommendation, TrainingRun

_WSD = {"wsd": "linear", "wsd-cosine": "cosine", "wsd-1-sqrt": "1-sqrt"}
_TO_ZERO = {
    "constant": "constant_with_warmup",
    "linear": "linear",
    "cosine": "cosine",
    "polynomial": "polynomial",
    **dict.fromkeys(_WSD, "warmup_stable_decay"),
}
_WITH_FLOOR = {
    "linear": "polynomial",
    "cosine": "cosine_with_min_lr",
    "polynomial": "polynomial",
    **dict.fromkeys(_WSD, "warmup_stable_decay"),
}


class HuggingFace:
    """TrainingArguments, and a ready-made optimizer where one λ does not serve all groups."""

    name: ClassVar[str] = "huggingface"
    title: ClassVar[str] = "Hugging Face Trainer (transformers 4.x and 5.x)"
    convention: ClassVar[str] = "pytorch"
    undecayed_by_default: ClassVar[str] = "LayerNorm modules, biases, names like norm; embeddings do decay"

    def emit(self, recommendation: Recommendation) -> Snippet:
        """Python that builds TrainingArguments as `training_args`."""
        run = recommendation.run
        batch, cautions = global_batch(run)
        scheduler, kwargs = _scheduler(run, self)
        rows = {
            "output_dir": '"out"',
            "max_steps": str(total_steps(run)),
            **({} if batch is None else _batch_rows()),
            "learning_rate": value(run.lr),
            "weight_decay": value(recommendation.weight_decay),
            "adam_beta1": exact(run.betas[0]),
            "adam_beta2": exact(run.betas[1]),
            "adam_epsilon": exact(run.eps),
            "optim": '"adamw_torch"',
            "lr_scheduler_type": f'"{scheduler}"',
            **({"lr_scheduler_kwargs": repr(kwargs).replace("'", '"')} if kwargs else {}),
            "warmup_steps": str(warmup_steps(run)),
        }
        by_width = not recommendation.one_for_all
        arguments = "".join(f"    {key}={text},\n" for key, text in rows.items())
        text = (
            header(recommendation, self)
            + ("import os\n\n" if batch is not None else "")
            + ("import torch\nfrom torch import nn\n" if by_width else "")
            + "from transformers import TrainingArguments\n\n"
            + (
                _batch_source(batch)
                if batch is not None
                else f"# Keep the global batch at {run.batch_size:g} {run.unit}.\n"
            )
            + f"training_args = TrainingArguments(\n{arguments})\n"
            + (_optimizer_source(recommendation, self) if by_width else "")
        )
        return Snippet(framework=self.name, language="python", text=text, cautions=cautions)


def _scheduler(run: TrainingRun, framework: Framework) -> tuple[str, dict[str, Any]]:
    """lr_scheduler_type and its kwargs; a floor above zero needs other names than decay to zero."""
    floor = run.lr_schedule.floor
    name = spelled(run.schedule, _WITH_FLOOR if floor else _TO_ZERO, framework)
    kwargs: dict[str, dict[str, Any]] = {
        "warmup_stable_decay": {
            "num_decay_steps": decay_steps(run),
            "decay_type": _WSD.get(run.schedule),
            "min_lr_ratio": floor,
        },
        "cosine_with_min_lr": {"min_lr_rate": floor},
        "polynomial": {"power": _power(run), "lr_end": float(value(run.lr * floor))},
    }
    return name, kwargs.get(name, {})


def _power(run: TrainingRun) -> float:
    """Exponent of the fall; a linear schedule with a floor is a polynomial of power 1."""
    if run.schedule == "linear":
        return 1.0
    return POWER if run.schedule_power is None else run.schedule_power


def _batch_rows() -> dict[str, str]:
    return {
        "per_device_train_batch_size": "PER_DEVICE_BATCH_SIZE",
        "gradient_accumulation_steps": "GLOBAL_BATCH_SIZE // (PER_DEVICE_BATCH_SIZE * WORLD_SIZE)",
    }


def _batch_source(batch: int) -> str:
    return f"""GLOBAL_BATCH_SIZE = {batch}
PER_DEVICE_BATCH_SIZE = 1  # as much as fits in memory; times the world size it must divide the global batch
WORLD_SIZE = int(os.environ.get("WORLD_SIZE", "1"))

"""


def _optimizer_source(recommendation: Recommendation, framework: Framework) -> str:
    """TrainingArguments hold one lr and one λ; groups go in as an optimizer, the Trainer adds the schedule."""
    run = recommendation.run
    return f"""

{param_groups_source(recommendation, framework)}

def build_optimizer(model: nn.Module, output_layer: nn.Module) -> torch.optim.AdamW:
    \"\"\"Pass it on: Trainer(model, training_args, optimizers=(build_optimizer(model, model.lm_head), None), ...).\"\"\"
    return torch.optim.AdamW(
        param_groups(model, output_layer),
        lr={value(run.lr)},
        betas=({exact(run.betas[0])}, {exact(run.betas[1])}),
        eps={exact(run.eps)},
    )
"""
