"""The value everybody copies, as a baseline."""

from dataclasses import dataclass

from adamw_scale.rules.rule import Rule
from adamw_scale.spec.run import Timescale, TrainingRun


@dataclass(frozen=True)
class Fixed(Rule):
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

    pretraining_weight_decay: float = 0.1
    finetuning_weight_decay: float = 0.01

    def target_timescale(self, run: TrainingRun) -> Timescale:
        """The timescale that the copied value happens to give."""
        return run.base_timescale_of(self.usual(run))

    def derivation(self, run: TrainingRun) -> str:
        """The value itself."""
        return f"λ = {self.usual(run):g}, copied"

    def outside_domain(self, run: TrainingRun) -> list[str]:
        """It has no domain: it was never fitted."""
        return ["it was never fitted to anything"]

    def usual(self, run: TrainingRun) -> float:
        """The value that is copied for such a run."""
        return self.finetuning_weight_decay if run.task != "pretraining" else self.pretraining_weight_decay
