"""Normalized weight decay of the AdamW paper (arXiv:1711.05101)."""

import math
from dataclasses import dataclass

from adamw_scale.rules.rule import Bounds, Rule, other_unit
from adamw_scale.spec.run import Timescale, TrainingRun
from adamw_scale.units import format_count


@dataclass(frozen=True)
class LoshchilovHutter(Rule):
    """lr*λ = normalized_weight_decay / sqrt(steps), so tau_iter = sqrt(steps) / normalized_weight_decay.

    steps are those of the run, or with warm restarts (AdamWR) those of its last cycle, as the paper takes
    the epochs of the current restart: every earlier cycle wants a λ of its own.

    Use it when: a second opinion on `run-fraction` is wanted.
    Do not use it when: a law is needed; the authors offer the square root as one possibility, from
    few experiments.

    Known: normalized decay 0.025 and 0.05 were best on CIFAR-10 (up to 1800 epochs) and ImageNet32.
    The paper's decay does not multiply the base lr (convention 'independent').

    Source: Loshchilov & Hutter 2019, arXiv:1711.05101, appendix B.1.
    """

    name = "loshchilov-hutter"
    title = "normalized weight decay"
    formula = "lr * λ = 0.025 / sqrt(steps), of the last restart"
    source = "Loshchilov & Hutter 2019, arXiv:1711.05101"
    certainty = "published suggestion, few experiments"
    built_from = ("1711.05101",)
    fitted_on = "CIFAR-10 and ImageNet32, 100–1800 epochs, cosine to zero"
    fitted_schedule_mean = 0.5

    normalized_weight_decay: float = 0.025
    epochs_fitted = Bounds(100, 1800)

    def target_timescale(self, run: TrainingRun) -> Timescale:
        """The square root of the number of steps, over the normalized decay."""
        return run.timescale(iters=math.sqrt(_steps(run)) / self.normalized_weight_decay)

    def derivation(self, run: TrainingRun) -> str:
        """The formula with this run's steps."""
        steps, tau = format_count(_steps(run)), format_count(self.target_timescale(run).iters)
        return f"tau = sqrt({steps} steps) / {self.normalized_weight_decay:g} = {tau} steps"

    def outside_domain(self, run: TrainingRun) -> list[str]:
        """Fewer epochs than the paper's, or a language model."""
        return [
            *self.epochs_fitted.describe_outside(run.epochs, "number of epochs"),
            *other_unit(run, "samples"),
        ]


def _steps(run: TrainingRun) -> float:
    """Steps of the run's last cycle: of all of it, where the schedule does not restart."""
    return run.total_steps * run.lr_schedule.last_cycle_fraction
