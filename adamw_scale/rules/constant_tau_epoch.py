"""Wang & Aitchison's rule: the timescale in epochs stays put (arXiv:2405.13698)."""

from dataclasses import dataclass

from adamw_scale.rules.rule import Bounds, Rule, other_unit
from adamw_scale.spec.run import Timescale, TrainingRun
from adamw_scale.units import format_count


@dataclass(frozen=True)
class ConstantTauEpoch(Rule):
    """tau_epoch = constant over model and data size, at a fixed number of epochs.

    Use it when: an optimum in epochs is known for this kind of training (from a calibration).
    Do not use it when: nothing but the default constant is known. It was read off one figure, for a
    124M language model trained for 4 epochs.

    Known: best λ of NanoGPT 124M on 25, 50 and 100 % of OpenWebText, 4 epochs: 0.25, 0.125, 0.0625,
    which is 1.45 epochs each (grid of factor 2, lr fixed).
    Disputed: Power Lines finds, in single passes, tau falling with tokens per parameter.

    Source: Wang & Aitchison 2024, arXiv:2405.13698, figure 2.
    """

    name = "constant-tau-epoch"
    title = "constant timescale in epochs"
    formula = "tau_epoch = 1.45"
    source = "Wang & Aitchison 2024, arXiv:2405.13698"
    certainty = "published claim; constant read off one figure"
    built_from = ("2405.13698",)
    fitted_on = "a 124M language model, 4 epochs, cosine to 10 %"
    fitted_schedule_mean = 0.55

    tau_epoch: float = 1.45
    epochs_fitted = Bounds(3, 6)

    def target_timescale(self, run: TrainingRun) -> Timescale:
        """The constant number of epochs."""
        return run.timescale(epochs=self.tau_epoch)

    def derivation(self, run: TrainingRun) -> str:
        """The constant, in epochs and in steps."""
        return f"tau = {self.tau_epoch:.3g} epochs of {format_count(run.steps_per_epoch)} steps"

    def outside_domain(self, run: TrainingRun) -> list[str]:
        """Another number of epochs than the constant was measured at, or another kind of data."""
        return [
            *self.epochs_fitted.describe_outside(run.epochs, "number of epochs"),
            *other_unit(run, "tokens"),
        ]
