"""A ladder of runs, mostly of models that grow: the recommendation of each, and what they have in common.

Ladder    a Rung for each run, and every caution once, with the rungs that it concerns
"""

from typing import Literal

from pydantic import Field

from adamw_scale.noun import Noun
from adamw_scale.spec.advice import Caution, LawAdvice, ParamGroup, Recommendation
from adamw_scale.theory.parametrizations import HIDDEN


class Rung(Noun):
    """One run of a ladder; a law stands beside what it filled in where the run did not say it."""

    name: str = Field(description="what tells it from the others, as a file name: 300M, width-512")
    recommendation: Recommendation
    lr_law: LawAdvice | None = Field(None, description="whose learning rate is taken")
    batch_law: LawAdvice | None = Field(None, description="whose batch is taken")
    file: str | None = Field(None, description="the config that was written for it")

    def group(self, name: str) -> ParamGroup:
        """Learning rate, weight decay and the rest of the parameter group of a name."""
        return next(group for group in self.recommendation.param_groups if group.group == name)

    @property
    def hidden(self) -> ParamGroup:
        """The group of the hidden matrices, nearly all weights."""
        return self.group(HIDDEN)


class SharedCaution(Caution):
    """A caution of several rungs; where its words depend on the run they are those of the last rung, and name it."""

    rungs: tuple[str, ...]


class Ladder(Noun):
    """Runs that differ in size or in anything else, each with its whole recommendation."""

    schema_: Literal["adamw-scale/ladder/1"] = Field("adamw-scale/ladder/1", alias="schema")
    rungs: tuple[Rung, ...] = Field(min_length=1)
    cautions: tuple[SharedCaution, ...]

    @property
    def alike_groups(self) -> tuple[tuple[str, ...], ...]:
        """Names of the groups that decay, those together that have equal values in every rung; hidden comes first."""
        alike: dict[tuple[tuple[float, float], ...], list[str]] = {}
        for groups in zip(*(rung.recommendation.param_groups for rung in self.rungs), strict=True):
            if any(group.weight_decay for group in groups):
                alike.setdefault(tuple((g.peak_lr, g.weight_decay) for g in groups), []).append(groups[0].group)
        return tuple(map(tuple, alike.values()))
