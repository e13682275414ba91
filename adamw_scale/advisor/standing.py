"""standing_among(): the share of given recipes with a shorter timescale than a run's."""

from collections.abc import Sequence
from dataclasses import dataclass

from adamw_scale.advisor.memory import own_or_recommended
from adamw_scale.evidence import Neighbour
from adamw_scale.spec.run import Timescale, TrainingRun


@dataclass(frozen=True)
class Standing:
    """Where a run stands among recipes: its weight decay, and the share of them with a shorter timescale.

    `rule` is None where the weight decay is the run's own; `timescale` is None where that is zero.
    """

    weight_decay: float
    rule: str | None
    timescale: Timescale | None
    compared: int
    share_shorter: float | None


def standing_among(recipes: Sequence[Neighbour], run: TrainingRun) -> Standing:
    """The run at its own weight decay, else at the recommended one."""
    weight_decay, rule = own_or_recommended(run)
    tau = run.hidden_timescale_of(weight_decay) if weight_decay else None
    theirs = [near.recipe.tau_run for near in recipes if near.recipe.tau_run is not None]
    share = sum(other < tau.run for other in theirs) / len(theirs) if tau and theirs else None
    return Standing(weight_decay, rule, tau, len(theirs), share)
