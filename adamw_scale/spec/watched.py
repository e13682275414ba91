"""What the hook saw in one process of a watched command.

Steps count from 1. A curve is [step, value] at each change of the value.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from adamw_scale.noun import Noun

Curve = Annotated[tuple[tuple[float, float], ...], Field(max_length=20_000)]
Name = Annotated[str, Field(max_length=300)]


class Seen(Noun):
    """A part of a record; what a newer hook adds is passed over."""

    model_config = ConfigDict(extra="ignore")


class RoleSeen(Seen):
    """The weights of one role in a parameter group; `named` are those that a module holds, of which some are told."""

    tensors: int
    weights: int
    named: int = 0
    names: tuple[Name, ...] = ()


class Measured(Seen):
    """Share of the weights that one step took: by the optimizer, and by somebody else since its last one."""

    step: int
    of: Literal["matrix", "vector"]
    by_optimizer: float
    outside: float | None = Field(None, description="none where the step before was not measured")
    resolution: float = Field(description="standard deviation that rounding alone gives")
    lr: float
    weight_decay: float

    @property
    def total(self) -> float:
        """By the optimizer and by somebody else together."""
        return self.by_optimizer + (self.outside or 0.0)


class GroupSeen(Seen):
    """A parameter group over the steps that were seen."""

    roles: dict[Name, RoleSeen]
    first: dict[Name, Any] = Field(description="its scalar settings before the first step")
    lrs: Curve
    decays: Curve = Field(description="weight decay as it was set")
    measured: tuple[Measured, ...] = ()

    @property
    def told(self) -> tuple[Measured, ...]:
        """The measurements at the last weight decay that was set; those that saw what others take, where any did."""
        now = [each for each in self.measured if each.weight_decay == self.decays[-1][1]]
        return tuple([each for each in now if each.outside is not None] or now)

    @property
    def tensors(self) -> int:
        """How many there are."""
        return sum(role.tensors for role in self.roles.values())

    @property
    def weights(self) -> int:
        """How many numbers they hold, of sharded ones all."""
        return sum(role.weights for role in self.roles.values())


class Ahead(Seen):
    """The rest of the schedule, or why it is `unknown`."""

    scheduler: Name | None = None
    unknown: str | None = None
    own_total: float | None = Field(None, description="steps that the scheduler is made for, in its own")
    own_total_from: str | None = None
    per_step: int | None = Field(None, description="steps of the scheduler in one of the optimizer")
    lrs: tuple[Curve, ...] = Field((), description="of each group, from the step after the last that was seen")


class OptimizerSeen(Seen):
    """An optimizer that stepped."""

    name: Name
    module: Name
    defaults: dict[Name, Any] = Field({}, description="what it was made with, where no group says otherwise")
    flags: dict[Name, bool] = Field({}, description="settings that change what weight decay means")
    steps: int
    ahead: Ahead = Ahead()
    groups: tuple[GroupSeen, ...]


class TrainerSeen(Seen):
    """What a training framework was told, beside what its optimizer does."""

    name: Name | None = None
    weight_decay: float | None = None
    lr: float | None = None
    total: int | None = None
    total_from: str | None = None


class LeftOut(Seen):
    """Weights that have a gradient and no optimizer."""

    tensors: int = 0
    names: tuple[Name, ...] = ()


class DecaySet(Seen):
    """The weight decay that a probe set in a training without a flag for it."""

    own: float | None = Field(None, description="the training's own, of the group that got the one that was wanted")
    optimizer: int | None = Field(None, description="which has that group, and")
    group: int | None = Field(None, description="which of its groups it is")
    unsettable: str | None = Field(None, description="why it could not be set")


class ProcessSeen(Seen):
    """One process in which an optimizer stepped."""

    pid: int
    rank: int | None = None
    stopped: bool = Field(False, description="whether it was interrupted after the steps that were asked for")
    torch: str = ""
    trouble: tuple[str, ...] = Field((), description="what could not be seen, and why")
    trainer: TrainerSeen = TrainerSeen()
    left_out: LeftOut = LeftOut()
    set: DecaySet | None = None
    optimizers: tuple[OptimizerSeen, ...]
