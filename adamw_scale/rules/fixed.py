"""The value everybody copies, as a baseline."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Self

from adamw_scale.rules.rule import CalibratableRule, geometric_mean
from adamw_scale.spec.measurement import Optimum
from adamw_scale.spec.run import Timescale, TrainingRun
from adamw_scale.theory.timescale import tau_iter


@dataclass(frozen=True)
class Fixed(CalibratableRule):
    """λ = 0.1 in pretraining, 0.01 in finetuning, whatever the run.

    Use it when: a baseline is wanted. Do not use it when: an answer is; the timescale this gives is
    an accident of the learning rate.

    Known: nearly every public language-model recipe uses 0.1, untuned; finetuning configs that decay
    at all mostly use 0.01 (PyTorch's default).

    Source: public recipes and configs; no paper recommends it.
    """

    name = "fixed"
    title = "the value everybody copies"
    formula = "λ = 0.1, finetuning λ = 0.01"
    source = "practice of public recipes, untuned"
    certainty = "practice, not an optimum"
    spread = 10.0
    spread_outside = 10.0

    # With λ kept, the optimum moves by what tau in epochs does, and an octave per factor 2 in steps per epoch.
    drift = MappingProxyType(
        {"data set": (0.0, 2.0), "epochs": (-1.2, 0.2), "batch": (-2.0, 0.0), "width": (-0.3, 1.25), "lr": (-2.7, 2.0)}
    )

    pretraining_weight_decay: float = 0.1
    finetuning_weight_decay: float = 0.01

    def target_timescale(self, run: TrainingRun) -> Timescale:
        """The timescale that the copied value happens to give."""
        return run.timescale(iters=tau_iter(run.lr, self._weight_decay(run)))

    def derivation(self, run: TrainingRun) -> str:
        """The value itself."""
        return f"λ = {self._weight_decay(run):g}, copied"

    def outside_domain(self, run: TrainingRun) -> list[str]:
        """It has no domain: it was never fitted."""
        return ["it was never fitted to anything"]

    def _weight_decay(self, run: TrainingRun) -> float:
        return self.finetuning_weight_decay if run.task != "pretraining" else self.pretraining_weight_decay

    def fit(self, optima: Sequence[Optimum]) -> Self:
        """The value itself kept, as the geometric mean of the optima's weight decays."""
        value = geometric_mean([o.weight_decay for o in optima])
        return replace(self, pretraining_weight_decay=value, finetuning_weight_decay=value)
