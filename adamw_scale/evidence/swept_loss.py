"""Losses of a public sweep in which learning rate, weight decay, batch and data all vary: what a miss costs.

`swept_losses.csv` has one row per run. All are Llama-like models in standard parametrization on DCLM, one pass, 1 %
linear warm-up, linear to zero, betas 0.9 and 0.95; Stanford CS312, from the public student repositories in `source`.
"""

from dataclasses import dataclass

from adamw_scale.evidence.table import read_table
from adamw_scale.spec.run import TrainingRun

WARMUP = 0.01


@dataclass(frozen=True)
class SweptLoss:
    """One run with its weight decay, and its final validation loss in nats per token."""

    source: str
    run: TrainingRun
    loss: float


def swept_losses() -> tuple[SweptLoss, ...]:
    """All of them, in the order of the table."""
    return read_table("swept_losses.csv", _swept_loss)


def _swept_loss(row: dict[str, str]) -> SweptLoss:
    run = {name: row[name] for name in ("num_params", "batch_size", "peak_lr", "weight_decay")}
    return SweptLoss(
        source=row["source"],
        run=TrainingRun.model_validate({**run, "dataset_size": row["tokens"], "warmup_fraction": WARMUP}),
        loss=float(row["loss"]),
    )
