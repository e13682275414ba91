"""Many epochs: the timescale is a fixed fraction of the run."""

from dataclasses import dataclass
from typing import ClassVar

from adamw_scale.rules.rule import Bounds, Rule, other_unit
from adamw_scale.spec.run import Timescale, TrainingRun
from adamw_scale.units import format_count


@dataclass(frozen=True)
class RunFraction(Rule):
    """tau_run = 0.05.

    Use it when: training on images, speech or the like for ten epochs and more.
    Do not use it when: a tuned run with another number of epochs exists; keep its timescale in
    epochs instead. With epochs growing fourfold this rule was 2 to 3 octaves off in small trainings.

    Known: public recipes of 32 to 1800 epochs lie at 0.01–0.11 of the run, mostly 0.025–0.09, while
    their timescales in epochs span a factor 100; two of them were tuned (0.03 and 0.06).
    Assumed: that practice is near the optimum. The default is judgement, not a fit.

    Source: recipes of DeiT, ConvNeXt, big_vision, MAE and others; tuned: arXiv:2305.17212 (code),
    arXiv:2405.13698 figure 3; AlgoPerf best points 0.025–0.12.
    """

    name = "run-fraction"
    title = "constant fraction of the run"
    formula = "tau_run = 0.05"
    source = "recipes and tuned runs of 32–1800 epochs, among them arXiv:2305.17212 and arXiv:2405.13698"
    certainty = "judgement over published recipes"
    built_from: ClassVar[tuple[str, ...]] = ("2305.17212", "2405.13698")
    fitted_on = "image and speech models, 32–1800 epochs (used from 10 on), cosine to zero"
    fitted_schedule_mean: ClassVar[float | None] = 0.5

    tau_run: float = 0.05
    epochs_fitted = Bounds(10, 1800)

    def target_timescale(self, run: TrainingRun) -> Timescale:
        """The constant fraction of the run."""
        return run.timescale(run=self.tau_run)

    def derivation(self, run: TrainingRun) -> str:
        """The constant, as a fraction and in steps."""
        return f"tau = {self.tau_run:.3g} of the run's {format_count(run.total_steps)} steps"

    def outside_domain(self, run: TrainingRun) -> list[str]:
        """Fewer epochs than the recipes, or a language model."""
        return [
            *self.epochs_fitted.describe_outside(run.epochs, "number of epochs"),
            *other_unit(run, "samples"),
        ]
