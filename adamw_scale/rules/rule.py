"""What every rule is: a frozen value whose fields are its constants."""

from typing import ClassVar, NamedTuple, Protocol

from adamw_scale.errors import MissingInputError
from adamw_scale.spec.run import Timescale, TrainingRun

AT_THE_EDGE = 5e-3  # bounds are published to two digits, and steps and batches are rounded


class Bounds(NamedTuple):
    """Closed interval of a quantity inside which a rule was fitted."""

    low: float
    high: float

    def describe_outside(self, value: float, what: str) -> list[str]:
        """Empty inside the bounds, else one clause naming the value and the bounds."""
        if self.low * (1 - AT_THE_EDGE) <= value <= self.high * (1 + AT_THE_EDGE):
            return []
        return [f"{what} {value:.3g} is outside {self.low:g}–{self.high:g}"]


class Rule(Protocol):
    """Maps a run to a target timescale, and says where it may be trusted; derive from it for the defaults.

    Class attributes describe the law, instance fields hold its constants. `built_from` are the arXiv ids of the
    trainings behind the constants. `fitted_schedule_mean` is the mean lr multiplier of their schedule (None: the rule
    accounts for the schedule itself); the advisor matches decay mass when a run's schedule has another mean.
    `num_params_kind` is how the law counts parameters, `num_params_fitted` the sizes behind a law that claims not to
    depend on size (None: it does not count parameters).
    """

    name: ClassVar[str]
    title: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    certainty: ClassVar[str]
    built_from: ClassVar[tuple[str, ...]] = ()
    fitted_on: ClassVar[str] = "nothing was fitted"
    fitted_schedule_mean: ClassVar[float | None] = None
    fitted_parametrization: ClassVar[str | None] = None
    num_params_kind: ClassVar[str | None] = None
    num_params_fitted: ClassVar[Bounds | None] = None

    def target_timescale(self, run: TrainingRun) -> Timescale:
        """The timescale this rule asks for; MissingInputError if the run lacks an input."""
        ...

    def derivation(self, run: TrainingRun) -> str:
        """The formula with this run's numbers in it."""
        ...

    def outside_domain(self, run: TrainingRun) -> list[str]:
        """One clause per way in which the run leaves what the rule was fitted on; empty inside."""
        ...

    def carried(self, reference: TrainingRun, timescale: Timescale, run: TrainingRun) -> Timescale:
        """A reference's tuned timescale carried to a run: whatever its level, it moves as the rule's own does.

        Raises:
            MissingInputError: one of the two lacks an input.
        """
        return run.timescale(run=timescale.run * self.target_timescale(run).run / self.target_timescale(reference).run)

    def carried_lr(self, reference: TrainingRun, run: TrainingRun) -> float:
        """Peak learning rate of a run that the rule carries a tuned reference to: mostly the reference's."""
        return reference.lr


def tokens_per_param(rule: str, run: TrainingRun) -> float:
    """Tokens seen in the whole run per parameter, repeats counted.

    Raises:
        MissingInputError: the run does not say how many parameters its model has.
    """
    if run.tokens_per_param is None:
        raise MissingInputError(
            f"rule {rule!r} needs the number of parameters, which this run does not give: pass --params (num_params)"
        )
    return run.tokens_per_param


def other_unit(run: TrainingRun, fitted: str) -> list[str]:
    """A clause for a run whose data are not of the unit that a rule was fitted on; empty for that unit."""
    unlike = {"tokens": "samples are not tokens", "samples": "language models are not image models"}
    return [] if run.unit == fitted else [unlike[fitted]]
