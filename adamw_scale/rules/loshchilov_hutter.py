"""Normalized weight decay of the AdamW paper (arXiv:1711.05101)."""

import math
from dataclasses import dataclass
from typing import ClassVar

from adamw_scale.rules.rule import Bounds
from adamw_scale.spec import Timescale, TrainingRun
from adamw_scale.units import format_count


@dataclass(frozen=True)
class LoshchilovHutter:
    """lr*λ = normalized_weight_decay / sqrt(total_steps), so tau_iter = sqrt(total_steps) / normalized_weight_decay.

    Use it when: a second opinion on `run-fraction` is wanted.
    Do not use it when: a law is needed; the authors offer the square root as one possibility, from
    few experiments.

    Known: normalized decay 0.025 and 0.05 were best on CIFAR-10 (up to 1800 epochs) and ImageNet32.
    The paper's decay does not multiply the base lr (convention 'independent').

    Source: Loshchilov & Hutter 2019, arXiv:1711.05101, appendix B.1.
    """

    name: ClassVar[str] = "loshchilov-hutter"
    title: ClassVar[str] = "normalized weight decay"
    formula: ClassVar[str] = "lr * λ = 0.025 / sqrt(total_steps)"
    source: ClassVar[str] = "Loshchilov & Hutter 2019, arXiv:1711.05101"
    certainty: ClassVar[str] = "published suggestion, few experiments"
    fitted_on: ClassVar[str] = "CIFAR-10 and ImageNet32, 100–1800 epochs, cosine to zero"
    fitted_schedule_mean: ClassVar[float | None] = 0.5
    fitted_parametrization: ClassVar[str | None] = None
    num_params_kind: ClassVar[str | None] = None
    num_params_fitted: ClassVar[Bounds | None] = None
    spread: ClassVar[float] = 2.0
    spread_outside: ClassVar[float] = 4.0

    normalized_weight_decay: float = 0.025
    epochs_fitted: ClassVar[Bounds] = Bounds(100, 1800)

    def target_timescale(self, run: TrainingRun) -> Timescale:
        """The square root of the number of steps, over the normalized decay."""
        return run.timescale(iters=math.sqrt(run.total_steps) / self.normalized_weight_decay)

    def derivation(self, run: TrainingRun) -> str:
        """The formula with this run's steps."""
        return f"tau = sqrt({format_count(run.total_steps)} steps) / {self.normalized_weight_decay:g} = {format_count(self.target_timescale(run).iters)} steps"

    def outside_domain(self, run: TrainingRun) -> list[str]:
        """Fewer epochs than the paper's, or a language model."""
        return [
            *self.epochs_fitted.describe_outside(run.epochs, "number of epochs"),
            *(["language models are not image models"] if run.unit == "tokens" else []),
        ]
