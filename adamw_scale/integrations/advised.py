"""What a recommendation advises for one parameter group, step by step."""

import math
from typing import NamedTuple

from adamw_scale.spec.advice import ParamGroup
from adamw_scale.spec.run import TrainingRun
from adamw_scale.theory import conventions

OFF_SCHEDULE = 0.02  # of the peak learning rate: further than this from what is advised around a step


class Advised(NamedTuple):
    """A group as it is advised, in its run. Steps are counted from 0."""

    run: TrainingRun
    group: ParamGroup

    def lr(self, step: float) -> float:
        """Learning rate at a point of the run, in steps; it may lie between two."""
        return self.group.peak_lr * self.run.lr_schedule.multiplier(self._progress(step))

    def decay(self, step: int, lr: float) -> float:
        """lr * λ in a step: at its start, middle or end, wherever the schedule is nearest to the real learning rate.

        Libraries read their schedule at different points of a step; all of them follow the advice.
        """
        near = min((step + at for at in (0.0, 0.5, 1.0)), key=lambda point: abs(self.lr(point) - lr))
        return self.group.peak_lr * self.group.weight_decay * self.run.decay_schedule.multiplier(self._progress(near))

    def is_on_schedule(self, step: int, lr: float) -> bool:
        """Whether a learning rate is one that the schedule has within a step of here."""
        around = [self.lr(step + at) for at in (-1.0, 0.0, 0.5, 1.0, 2.0)]
        room = OFF_SCHEDULE * self.group.peak_lr
        return min(around) - room <= lr <= max(around) + room

    def value(self, convention: str) -> float:
        """The advised weight_decay in the unit of a convention."""
        return conventions.from_pytorch(convention, self.group.weight_decay, self._setting)

    def retention(self, value: float, convention: str) -> float:
        """Share of the initial weights that a weight_decay leaves at the end of the run."""
        decay = conventions.to_pytorch(convention, value, self._setting) * self.group.peak_lr
        return math.exp(-decay * self.run.total_steps * self.run.decay_schedule.mean())

    @property
    def _setting(self) -> conventions.Setting:
        return self.run.setting._replace(peak_lr=self.group.peak_lr)

    def _progress(self, step: float) -> float:
        return min(1.0, max(0.0, step / self.run.total_steps))
