"""Complete(d)P in batch and duration: lr and λ move together, tau_run stays (arXiv:2512.22382)."""

from dataclasses import dataclass

from adamw_scale.errors import MissingInputError
from adamw_scale.rules.rule import Rule, other_unit
from adamw_scale.spec.run import Timescale, TrainingRun
from adamw_scale.theory.batch_scaling import completed_p


@dataclass(frozen=True)
class CompleteDP(Rule):
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

    def target_timescale(self, run: TrainingRun) -> Timescale:
        """Always MissingInputError: the rule has no constant of its own."""
        raise MissingInputError(
            f"rule {self.name!r} carries a tuned run to another, and has no constant of its own: pass --reference"
        )

    def derivation(self, run: TrainingRun) -> str:
        """What stays."""
        return "the reference's fraction of the run"

    def outside_domain(self, run: TrainingRun) -> list[str]:
        """Samples."""
        return other_unit(run, "tokens")

    def carried(self, reference: TrainingRun, timescale: Timescale, run: TrainingRun) -> Timescale:
        """The same fraction of the run."""
        return run.timescale(run=timescale.run)

    def carried_lr(self, reference: TrainingRun, run: TrainingRun) -> float:
        """The reference's times sqrt(m_B / m_D)."""
        factors = completed_p(run.batch_size / reference.batch_size, run.total_units / reference.total_units)
        return reference.lr * factors.lr
