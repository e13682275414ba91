"""The AdamW baseline of ADANA: a quarter of the run at 20 tokens per parameter (arXiv:2602.05298)."""

from dataclasses import dataclass

from adamw_scale.rules.rule import Bounds, other_unit, tokens_per_param
from adamw_scale.rules.run_fraction import RunFraction
from adamw_scale.spec.run import Timescale, TrainingRun
from adamw_scale.units import format_count


@dataclass(frozen=True)
class Adana(RunFraction):
    """λ = omega / (lr * total_steps), so tau_run = 1 / omega; omega = 4.

    Use it when: a third opinion at about 20 tokens per parameter is wanted.
    Do not use it when: the tokens per parameter are far from 20; the rule knows nothing about them.

    Known: the value, from the authors' launch scripts; independent optimizers get omega / steps there.
    Unverified: how omega = 4 was chosen for AdamW. Its decay mass, 0.55 / 0.25 = 2.2, is that of
    Power Lines at 20 tokens per parameter, 0.5 / 0.2236.

    Source: ADANA 2026, arXiv:2602.05298, AdamW baseline scripts.
    """

    name = "adana"
    title = "omega over the run"
    formula = "lr * λ = 4 / total_steps"
    source = "ADANA 2026, arXiv:2602.05298, AdamW baseline"
    certainty = "default in the authors' scripts; how it was tuned is unverified"
    built_from = ("2602.05298",)
    fitted_on = "language models at 20 tokens per parameter, 2 % warm-up, cosine to 10 %"
    fitted_schedule_mean = 0.549
    num_params_kind = "total"

    omega: float = 4.0
    tokens_per_param_fitted = Bounds(18, 22)

    def target_timescale(self, run: TrainingRun) -> Timescale:
        """One over omega of the run."""
        return run.timescale(run=1.0 / self.omega)

    def derivation(self, run: TrainingRun) -> str:
        """The constant, as a fraction and in steps."""
        return f"tau = 1 / {self.omega:.3g} of the run's {format_count(run.total_steps)} steps"

    def outside_domain(self, run: TrainingRun) -> list[str]:
        """Tokens per parameter far from 20, or samples."""
        return [
            *self.tokens_per_param_fitted.describe_outside(tokens_per_param(self.name, run), "tokens per parameter"),
            *other_unit(run, "tokens"),
        ]
