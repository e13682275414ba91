"""What is said about a run: the recommended weight decay with its source and range, and the smaller answers.

Recommendation  weight decay, how sure, why                     -> frameworks, auditing, the command line
    ParamGroup, Alternative, Caution    of what; against what; how far to trust it
    Companions, Near                    source, evidence, effect; with Current, Transfer, InConvention where they apply
DecayPerStep    the same where no learning rate is known, with a LawAdvice for each law of the learning rate
Conversion      one library's weight decay in another's unit
Memory          what the final weights of a run remember
"""

import math
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from adamw_scale.errors import MissingInputError, SpecError
from adamw_scale.noun import Noun
from adamw_scale.spec.run import Timescale, TrainingRun
from adamw_scale.theory import parametrizations

UNUSABLE = ("decay-per-step", "weight-decay", "too-wide")  # cautions that say the number must not be used as it is


class Caution(Noun):
    """A reason why advice holds less surely, with what to do about it."""

    code: str
    message: str
    fix: str
    about: Literal["input", "answer"] = Field("answer", description="input: a value is perhaps not what was meant")


class ParamGroup(Noun):
    """Peak learning rate, weight decay (PyTorch convention) and the rest of one parameter group."""

    group: str
    peak_lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    eps: float = Field(gt=0, description="AdamW's epsilon")
    init_variance: float = Field(1.0, gt=0, description="variance at initialisation, over that at the base width")
    forward: float = Field(1.0, gt=0, description="multiplier on what the group's weights compute")


class Alternative(Noun):
    """What another rule says about the same run; `factor` is its λ over the reference's, where there is one.

    `weight_decay` is of the hidden matrices, and missing where no learning rate is known. `peak_lr`, to be passed as
    --lr, is missing where the rule keeps the run's.
    """

    rule: str
    weight_decay: float | None = None
    peak_lr: float | None = None
    factor: float | None = None
    timescale: Timescale
    in_domain: bool
    source: str


class Current(Noun):
    """What a weight decay in use (PyTorch convention, hidden matrices) amounts to; no timescale where it is zero."""

    weight_decay: float
    timescale: Timescale | None = None
    retention: float
    cost: float | None = Field(
        None, description="share of the loss that it costs above the recommended one; none where not known"
    )


class Transfer(Noun):
    """What carrying a tuned run to this one changed; ratios are this run over the tuned one."""

    weight_decay: float = Field(description="the reference's, PyTorch convention, hidden matrices")
    peak_lr: float = Field(description="the reference's, as --lr means it")
    factor: float = Field(description="recommended over reference weight decay")
    moved: dict[str, float] = Field(description="ratio of every quantity that is known in both runs and moved")
    betas: tuple[float, float] | None = Field(None, description="betas scaled with batch and duration (2512.22382)")
    eps: float | None = Field(None, description="AdamW's epsilon, scaled likewise")
    sde_betas: tuple[float, float] | None = Field(
        None, description="betas by the square-root rule, where only the batch counts (2205.10287)"
    )
    sde_eps: float | None = Field(None, description="AdamW's epsilon by the same rule")
    half_life_beta2: float | None = Field(None, description="beta2 with the same half-life in tokens (2507.07101)")


class InConvention(Noun):
    """The recommended hidden weight decay and its range in the library's own unit that the run names."""

    convention: str
    weight_decay: float
    weight_decay_range: tuple[float, float]


class Near(Noun):
    """A source of tuned or measured optima: how many octaves its nearest one is away, its timescale over its run."""

    source: str
    octaves: float
    timescale_run: float = Field(gt=0)


class Companions(Noun):
    """What goes with a recommended weight decay: where it comes from and what it does."""

    source: str
    certainty: str
    in_domain: bool
    derivation: str
    evidence: tuple[Near, ...] = Field((), description="the nearest sources that the law was fitted to, nearest first")
    cost_of_factor_2: float | None = Field(
        None, description="share of the loss that half or twice the best weight decay costs; none where not known"
    )
    schedule_mean: float = Field(description="mean over the run of lr / peak_lr")
    decay_mean: float = Field(description="mean over the run of lr*λ over its peak; schedule_mean if λ is constant")
    retention: float = Field(description="share of the initial weights in the final ones, decayed groups")
    equilibrium_rms: float | None = Field(None, description="root mean square of hidden weights after many timescales")
    relative_update: float | None = Field(
        None, description="size of a step over the size of the weights, hidden, at equilibrium"
    )
    weight_bound: float | None = Field(None, description="no hidden weight settles above 1/λ in size")
    beta2: float | None = Field(None, description="beta2 that keeps Adam's memory at ten million tokens; tokens only")
    at_twice_the_lr: float | None = Field(None, description="what weight_decay would be at twice the learning rate")
    usual: Current = Field(description="what the usual weight decay of such runs amounts to, where none is in use")
    in_convention: InConvention | None = Field(None, description="where the run's convention is not PyTorch's")
    current: Current | None = None
    reference: Transfer | None = None


class Advice(Noun):
    """What advice of either kind can say of itself."""

    if TYPE_CHECKING:  # a field here would be the first of each document
        cautions: tuple[Caution, ...]

    @property
    def doubt(self) -> Caution | None:
        """The caution that says the number must not be used as it is."""
        return next((caution for caution in self.cautions if caution.code in UNUSABLE), None)


class Recommendation(Advice):
    """A weight decay for a run, in PyTorch's convention.

    Where a parametrization gives each group its own, weight_decay, its range, peak_lr and the alternatives are those of
    the hidden matrices, nearly all weights. base_* are what the multipliers of the groups apply to: base_peak_lr is
    what --lr means.
    """

    schema_: Literal["adamw-scale/recommendation/2"] = Field("adamw-scale/recommendation/2", alias="schema")
    weight_decay: float = Field(ge=0, description="0 only where that is what a finetuning has, and keeps")
    weight_decay_range: tuple[float, float]
    peak_lr: float = Field(gt=0)
    group: Literal["hidden"] = Field("hidden", description="what weight_decay, its range and peak_lr are of")
    base_weight_decay: float = Field(ge=0)
    base_peak_lr: float = Field(gt=0)
    rule: str
    timescale: Timescale | None = Field(None, description="of the hidden matrices; none without decay")
    alternatives: tuple[Alternative, ...]
    param_groups: tuple[ParamGroup, ...]
    companions: Companions
    cautions: tuple[Caution, ...]
    run: TrainingRun

    @model_validator(mode="after")
    def _refuse_what_disagrees(self) -> Self:
        """A recommendation that was edited by hand must still be one."""
        if tuple(group.group for group in self.param_groups) != tuple(parametrizations.GROUPS):
            raise SpecError(f"param_groups must be {', '.join(parametrizations.GROUPS)}, in this order")
        low, high = self.weight_decay_range
        if low < 0 or not self.holds(self.weight_decay):
            raise SpecError(f"weight_decay = {self.weight_decay:g} is outside its own range, {low:g} to {high:g}")
        if self.timescale is None or not self.weight_decay:
            told = self.timescale is None and not self.weight_decay
        else:
            told = math.isclose(self.weight_decay * self.peak_lr * self.timescale.iters, 1, rel_tol=1e-3)
        if not told:
            raise SpecError(f"weight_decay = {self.weight_decay:g} does not give the timescale it comes with")
        if self.base_peak_lr != self.run.peak_lr:
            raise SpecError(f"base_peak_lr = {self.base_peak_lr:g} is not that of the run, {self.run.peak_lr:g}")
        multipliers = self.run.multipliers
        for group in self.param_groups:
            times = multipliers[group.group]
            lr, decay = self.base_peak_lr * times.peak_lr, self.base_weight_decay * times.weight_decay
            spared = group.weight_decay == 0 and self.run.optimizer == "muon"
            if not math.isclose(group.peak_lr, lr, rel_tol=1e-6) or not (
                spared or math.isclose(group.weight_decay, decay, rel_tol=1e-6)
            ):
                raise SpecError(
                    f"the {group.group} group is not what {self.run.parametrization} makes of the base values"
                )
        hidden = self.param_groups[0]
        if (self.weight_decay, self.peak_lr) != (hidden.weight_decay, hidden.peak_lr):
            raise SpecError(f"weight_decay = {self.weight_decay:g} or peak_lr is not that of the hidden group")
        return self

    @property
    def one_for_all(self) -> bool:
        """Whether one learning rate and one weight decay serve every decayed group."""
        return len({(group.peak_lr, group.weight_decay) for group in self.param_groups if group.weight_decay}) <= 1

    def holds(self, weight_decay: float) -> bool:
        """Whether a weight decay of the hidden matrices is within the range, but for rounding."""
        low, high = self.weight_decay_range
        return low * (1 - 1e-9) <= weight_decay <= high * (1 + 1e-9)

    @property
    def tau(self) -> Timescale:
        """The timescale, where one is needed; MissingInputError where nothing decays."""
        if self.timescale is None:
            raise MissingInputError("nothing decays in this run, so it has no timescale")
        return self.timescale

    @property
    def timescale_range(self) -> tuple[float, float]:
        """The range as timescales over the run, infinite where no decay is within it."""
        shortest, longest = (
            self.run.hidden_timescale_of(end).run if end else math.inf for end in reversed(self.weight_decay_range)
        )
        return shortest, longest


class LawAdvice(Noun):
    """What a published learning-rate law says about the run, and the hidden weight decay that goes with its rate."""

    law: str
    peak_lr: float | None = Field(None, description="what to pass as --lr: the base rate, under muP")
    weight_decay: float | None = None
    batch_size: float | None = None
    in_domain: bool
    source: str
    certainty: str
    remark: str


class DecayPerStep(Advice):
    """The answer where no learning rate is known: the product lr*λ, and what learning rate the laws suggest."""

    schema_: Literal["adamw-scale/decay-per-step/2"] = Field("adamw-scale/decay-per-step/2", alias="schema")
    lr_times_weight_decay: float = Field(gt=0)
    lr_times_weight_decay_range: tuple[float, float]
    rule: str
    source: str
    certainty: str
    in_domain: bool
    derivation: str
    timescale: Timescale
    alternatives: tuple[Alternative, ...]
    laws: tuple[LawAdvice, ...]
    beta2: float | None = None
    cautions: tuple[Caution, ...]
    run: TrainingRun


class Conversion(Noun):
    """One library's weight decay in another's unit; `formula` says what each step multiplies a weight by."""

    schema_: Literal["adamw-scale/conversion/1"] = Field("adamw-scale/conversion/1", alias="schema")
    weight_decay: float
    from_: str = Field(alias="from")
    to: str
    value: float = Field(description="what was converted")
    match: str = Field(description="kept: the decay at peak lr, or its sum over the run")
    other_match: float | None = Field(None, description="the result had the other been kept, where that differs")
    pytorch: float | None = Field(None, description="the same in PyTorch's convention; none between equal kinds")
    formulas: dict[str, str]
    cautions: tuple[Caution, ...] = ()


class Memory(Noun):
    """What the final weights of a run remember; see `theory.window`."""

    schema_: Literal["adamw-scale/timescale/1"] = Field("adamw-scale/timescale/1", alias="schema")
    weight_decay: float = Field(gt=0, description="PyTorch convention, hidden matrices, at their peak lr")
    rule: str | None = Field(None, description="the rule that recommended it; none where it is the run's own")
    peak_lr: float = Field(description="of the hidden matrices")
    timescale: Timescale
    retention: float = Field(description="share of the initial weights in the final ones")
    effective_window: Timescale = Field(description="time before the end over which the decay adds up to 1")
    age_quantiles: dict[str, float] = Field(description="share of the updates' part -> steps before the end it is from")
    progress: tuple[float, ...] = Field(description="points of the run, 0 to 1")
    density: tuple[float, ...] = Field(description="weight of the updates at each point, per run")
    lr_multiplier: tuple[float, ...] = Field(description="lr / peak lr at each point")
    cautions: tuple[Caution, ...] = ()
    run: TrainingRun
