"""The value everybody copies, as a baseline."""

from dataclasses import dataclass
from typing import ClassVar

from adamw_scale.rules.rule import Bounds
from adamw_scale.spec import Timescale, TrainingRun
from adamw_scale.timescale import tau_iter


@dataclass(frozen=True)
class Fixed:
    """λ = 0.1 in pretraining, 0.01 in finetuning, whatever the run.

    Use it when: a baseline is wanted. Do not use it when: an answer is; the timescale this gives is
    an accident of the learning rate.

    Known: nearly every public language-model recipe uses 0.1, untuned; finetuning configs that decay
    at all mostly use 0.01 (PyTorch's default).

    Source: public recipes and configs; no paper recommends it.
    """

    name: ClassVar[str] = "fixed"
    title: ClassVar[str] = "the value everybody copies"
    formula: ClassVar[str] = "λ = 0.1, finetuning λ = 0.01"
    source: ClassVar[str] = "practice of public recipes, untuned"
    certainty: ClassVar[str] = "practice, not an optimum"
    fitted_on: ClassVar[str] = "nothing was fitted"
    fitted_schedule_mean: ClassVar[float | None] = None
    fitted_parametrization: ClassVar[str | None] = None
    num_params_kind: ClassVar[str | None] = None
    num_params_fitted: ClassVar[Bounds | None] = None
    spread: ClassVar[float] = 10.0
    spread_outside: ClassVar[float] = 10.0

    pretraining_weight_decay: float = 0.1
    finetuning_weight_decay: float = 0.01

    def target_timescale(self, run: TrainingRun) -> Timescale:
        """The timescale that the copied value happens to give."""
        return run.timescale(iters=tau_iter(run.peak_lr, self._weight_decay(run)))

    def derivation(self, run: TrainingRun) -> str:
        """The value itself."""
        return f"λ = {self._weight_decay(run):g}, copied"

    def outside_domain(self, run: TrainingRun) -> list[str]:
        """It has no domain: it was never fitted."""
        return ["it was never fitted to anything"]

    def _weight_decay(self, run: TrainingRun) -> float:
        return self.finetuning_weight_decay if run.task == "finetuning" else self.pretraining_weight_decay
