"""Learning-rate shapes: what fraction of the peak learning rate a run uses, and when.

Every schedule is a linear warm-up over `warmup_fraction` of the run, then a body. In the body the
multiplier goes from 1 to `final_lr_fraction` as final + (1 - final) * shape(u), where u in [0, 1]
runs over the decaying part: all of the body, or for WSD (warm-up, stable, decay) the last
`decay_fraction` *of the whole run*. A new shape is one entry in `SHAPES`.

Sources: linear decay to zero, arXiv:2502.15938; cosine, arXiv:1608.03983; WSD, arXiv:2404.06395.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from adamw_scale.errors import SpecError, UnknownNameError


class Shape(NamedTuple):
    """How the multiplier falls from 1 to its final value.

    `fall(u)` is 1 at u = 0 and 0 at u = 1, or 1 throughout where `falls` is False; `formula` is the
    same as a Python expression in u, which emitters write; `mean` is its integral over [0, 1];
    `has_stable_phase` says that the fall takes only `decay_fraction` of the run.
    """

    formula: str
    fall: Callable[[float], float]
    mean: float
    falls: bool = True
    has_stable_phase: bool = False


SHAPES: dict[str, Shape] = {
    "constant": Shape("1.0", lambda u: 1.0, mean=1.0, falls=False),
    "linear": Shape("1.0 - u", lambda u: 1.0 - u, mean=0.5),
    "cosine": Shape("0.5 * (1.0 + math.cos(math.pi * u))", lambda u: 0.5 * (1.0 + math.cos(math.pi * u)), mean=0.5),
    "wsd": Shape("1.0 - u", lambda u: 1.0 - u, mean=0.5, has_stable_phase=True),
}


@dataclass(frozen=True)
class Schedule:
    """A learning-rate schedule as a function of progress through the run.

    Args:
        name: A key of `SHAPES`.
        warmup_fraction: Part of the run spent in linear warm-up, in [0, 1).
        final_lr_fraction: Final over peak learning rate, in [0, 1]; 0 is decay to zero.
        decay_fraction: Part of the run spent decaying, WSD only.

    Raises:
        UnknownNameError: no such shape.
        SpecError: warm-up and decay take more than the run.
    """

    name: str
    warmup_fraction: float = 0.0
    final_lr_fraction: float = 0.0
    decay_fraction: float = 0.2

    def __post_init__(self) -> None:
        if self.name not in SHAPES:
            raise UnknownNameError("schedule", self.name, SHAPES)
        if self.stable_fraction < -1e-12:
            raise SpecError(
                f"warm-up ({self.warmup_fraction:.4g} of the run) and decay ({self.decay_fraction:.4g}) "
                "take more than the whole run: lower --warmup or --decay-fraction"
            )

    @property
    def shape(self) -> Shape:
        """The entry of `SHAPES` this schedule follows after warm-up."""
        return SHAPES[self.name]

    @property
    def falling_fraction(self) -> float:
        """Part of the run over which the multiplier falls."""
        return self.decay_fraction if self.shape.has_stable_phase else 1.0 - self.warmup_fraction

    @property
    def stable_fraction(self) -> float:
        """Part of the run at peak between warm-up and fall."""
        return 1.0 - self.warmup_fraction - self.falling_fraction

    @property
    def final(self) -> float:
        """The multiplier at the end of the run."""
        return self.final_lr_fraction if self.shape.falls else 1.0

    def multiplier(self, progress: float) -> float:
        """lr / peak_lr at a point of the run, `progress` in [0, 1]."""
        if progress < self.warmup_fraction:
            return progress / self.warmup_fraction
        start = 1.0 - self.falling_fraction
        u = max(0.0, progress - start) / self.falling_fraction if self.falling_fraction else 0.0
        return self.final_lr_fraction + (1.0 - self.final_lr_fraction) * self.shape.fall(min(u, 1.0))

    def mean(self) -> float:
        """Mean multiplier over the run, in closed form.

        mean = warmup/2 + stable + falling * (final + (1 - final) * shape.mean)

        Example:
            >>> round(Schedule("cosine", final_lr_fraction=0.1).mean(), 6)
            0.55
            >>> round(Schedule("linear", warmup_fraction=0.1).mean(), 6)
            0.5
        """
        body = self.final_lr_fraction + (1.0 - self.final_lr_fraction) * self.shape.mean
        return 0.5 * self.warmup_fraction + self.stable_fraction + self.falling_fraction * body
