"""Weight decay that has a schedule of its own, and what it adds up to with the learning rate's.

At a point p of the run a weight is decayed at rate peak_lr * λ * s(p) * w(p), with s the lr multiplier and
w that of λ: 1 throughout, or one of `SHAPES`. λ is the value where w is 1. What carries over between
schedules is the decay mass, the mean of s*w over the run (assumed; see `timescale.decay_mass`).

Sources: following the lr (AdamC), arXiv:2506.02285; falling to zero as a cosine, nanochat; linear and
cosine rises, Megatron-LM's --start- and --end-weight-decay.
"""

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from adamw_scale.errors import UnknownNameError
from adamw_scale.theory.curves import cosine, line
from adamw_scale.theory.schedules import Schedule

SHAPES = {
    "constant": "λ throughout",
    "follows-lr": "λ times lr / peak lr, as AdamC and timm's corrected_weight_decay (arXiv:2506.02285)",
    "linear": "straight from λ to its final fraction, as Megatron-LM's --start- and --end-weight-decay",
    "cosine": "half a cosine wave from λ to its final fraction, as nanochat's, which ends at 0",
}
TAKE_A_FINAL_FRACTION = ("linear", "cosine")
MOST_PANELS = 512  # that the run is cut into where the integral has no closed form
GAUSS_POINT = math.sqrt(0.6)


@dataclass(frozen=True)
class Decay:
    """Multiplier of peak_lr * λ over the run: the learning rate's schedule times λ's own."""

    lr: Schedule
    shape: str = "constant"
    final_fraction: float = 0.0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise UnknownNameError("weight decay schedule", self.shape, SHAPES)

    @cached_property
    def _own(self) -> Callable[[float], float]:
        curves = {
            "constant": line(1.0, 1.0),
            "linear": line(1.0, self.final_fraction),
            "cosine": cosine(1.0, self.final_fraction),
        }
        return self.lr.multiplier if self.shape == "follows-lr" else curves[self.shape].value

    def own(self, progress: float) -> float:
        """w at a point of the run, `progress` in [0, 1]."""
        return self._own(progress)

    def multiplier(self, progress: float) -> float:
        """s * w at a point of the run."""
        return self.lr.multiplier(progress) * self._own(progress)

    def cumulative(self, progress: float) -> float:
        """Integral of s * w from the start to `progress`: in closed form, or by quadrature for linear and cosine λ."""
        if self.shape == "constant":
            return self.lr.cumulative(progress)
        if self.shape == "follows-lr":
            return self.lr.cumulative_square(progress)
        index = max(0, bisect_right(self._starts, progress) - 1)
        start, end, before = self._panels[index]
        return before + self._area(start, min(end, progress))

    def mean(self) -> float:
        """Mean of s * w over the run.

        Example:
            >>> round(Decay(Schedule("linear"), "follows-lr").mean() / Schedule("linear").mean(), 6)
            0.666667
        """
        return self.cumulative(1.0)

    @cached_property
    def _panels(self) -> list[tuple[float, float, float]]:
        """Start, end and integral before each panel; panels are dense where a piece starts, which may be steep."""
        panels, total = [], 0.0
        for piece in self.lr.pieces:
            count = max(2, MOST_PANELS // len(self.lr.pieces))
            edges = [piece.start + piece.width * (number / count) ** 2 for number in range(count + 1)]
            for start, end in pairwise(edges):
                panels.append((start, end, total))
                total += self._area(start, end)
        return panels

    @cached_property
    def _starts(self) -> list[float]:
        return [start for start, _, _ in self._panels]

    def _area(self, start: float, end: float) -> float:
        """Gauss-Legendre's rule of three points, which never touches the ends, where a schedule may jump."""
        middle, half = 0.5 * (start + end), 0.5 * (end - start)
        inner = sum(self.multiplier(middle + side * half * GAUSS_POINT) for side in (-1, 1))
        return half * (5 * inner + 8 * self.multiplier(middle)) / 9
