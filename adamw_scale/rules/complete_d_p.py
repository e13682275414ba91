"""Complete(d)P in batch and duration: lr and λ move together, tau_run stays (arXiv:2512.22382)."""

from dataclasses import dataclass

from adamw_scale.errors import MissingInputError
from adamw_scale.rules.rule import other_unit
from adamw_scale.rules.run_fraction import RunFraction
from adamw_scale.spec.run import Timescale, TrainingRun
from adamw_scale.theory.batch_scaling import completed_p


@dataclass(frozen=True)
class CompleteDP(RunFraction):
    """lr and λ both times sqrt(m_B / m_D), so lr*λ ~ m_B / m_D and tau_run stays; it needs a tuned reference run.

    m_B is the ratio of batch sizes, m_D that of units seen in the whole run. With it go eps times
    sqrt(m_D / m_B) and 1 - beta times m_B / m_D.

    Use it when: a tuned proxy exists and lr is to be carried along with λ.
    Do not use it when: tokens per parameter change much (Power Lines finds a shorter timescale there).

    Known: proxy of 50M parameters and 1.6B tokens carried to 7.2B; batch from 1/8 to 4 times.
    Disputed: at a fixed learning rate Power Lines has λ ~ m_D^-0.473 and Wang & Aitchison 1/m_D.

    Source: Complete(d)P 2025, arXiv:2512.22382, table 1.
    """

    name = "complete-d-p"
    title = "lr and λ carried along batch and duration"
    formula = "tau_run = that of --reference; lr, λ ~ sqrt(m_B / m_D)"
    source = "Complete(d)P 2025, arXiv:2512.22382, table 1"
    certainty = "published, carries a tuned run to another"
    built_from = ("2512.22382",)
    fitted_on = "language models of 50M–7.2B, RedPajama, cosine, batch 1/8 to 4 times"
    fitted_schedule_mean = None

    tau_run: float = 0.0

    def target_timescale(self, run: TrainingRun) -> Timescale:
        """The reference's fraction of the run; MissingInputError without a reference."""
        if not self.tau_run:
            raise MissingInputError(
                f"rule {self.name!r} carries a tuned run to another, and has no constant of its own: pass --reference"
            )
        return super().target_timescale(run)

    def outside_domain(self, run: TrainingRun) -> list[str]:
        """Samples, or many passes over the data."""
        return other_unit(run, "tokens")

    def transferred_lr(self, reference: TrainingRun, run: TrainingRun) -> float:
        """The reference's times sqrt(m_B / m_D)."""
        factors = completed_p(run.batch_size / reference.batch_size, run.total_units / reference.total_units)
        return reference.lr * factors.lr
