"""What a weight decay that is off costs: the curvature of the basin over log λ, where a sweep shows it.

    loss above the lowest, as a share of it  =  c · log2(λ / best λ)²
    log2 c  =  COST · [1, log2(batch / 2^16), log2(tokens per parameter / 20)]

fitted to the runs of `evidence/swept_losses.csv`, each by a parabola through the four nearest its lowest, where its
vertex lies inside what was swept. Known of one model of 35M parameters, for one pass at 4 to 71 tokens per parameter
and batches of 8 to 262 thousand tokens; that size does not matter is assumed, elsewhere nothing is said.

Source: this project's fit; the sweep is Stanford CS312's (public student repositories).
"""

import math

from adamw_scale.law import fitted
from adamw_scale.spec.run import TrainingRun

BATCHES, TOKENS_PER_PARAM, EPOCHS = (8192.0, 262144.0), (4.0, 75.0), 1.0
FARTHEST = 3.0  # octaves from the best that were swept


def cost_of(run: TrainingRun, octaves: float) -> float | None:
    """The share of the loss that a weight decay costs which is so many octaves from the best; None where not known.

    Example:
        >>> run = TrainingRun(dataset_size="2.6B", batch_size="131k", peak_lr=1e-3, num_params="130M")
        >>> round(cost_of(run, 1.0), 4)
        0.0034
    """
    tokens = run.tokens_per_param
    if run.unit != "tokens" or tokens is None or run.task != "pretraining":
        return None
    if abs(octaves) > FARTHEST or run.epochs > EPOCHS or run.optimizer != "adamw":
        return None
    if not (TOKENS_PER_PARAM[0] <= tokens <= TOKENS_PER_PARAM[1] and BATCHES[0] <= run.batch_size <= BATCHES[1]):
        return None
    level, by_batch, by_tokens = fitted.COST
    curvature = level + by_batch * math.log2(run.batch_size / 2**16) + by_tokens * math.log2(tokens / 20)
    return float(2.0**curvature * octaves**2)
