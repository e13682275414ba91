"""Weight decay that has a schedule of its own, and what it adds up to with the learning rate's.

At a point p of the run a weight is decayed at rate peak_lr * λ * s(p) * w(p), with s the lr multiplier and
w that of λ: 1 throughout, or one of `SHAPES`. λ is the value where w is 1. What carries over between
schedules is the decay mass, the mean of s*w over the run (assumed; see `timescale.decay_mass`).

Sources: following the lr (AdamC), arXiv:2506.02285; falling to zero as a cosine, nanochat; linear and
cosine rises, Megatron-LM's --start- and --end-weight-decay.
"""

from typing import NamedTuple

from adamw_scale.curves import Curve, cosine, line
from adamw_scale.errors import UnknownNameError
from adamw_scale.schedules import Schedule

SHAPES = {
    "constant": "λ throughout",
    "follows-lr": "λ times lr / peak lr, as AdamC and timm's corrected_weight_decay (arXiv:2506.02285)",
    "linear": "straight from λ to its final fraction",
    "cosine": "half a cosine wave from λ to its final fraction",
}
PANELS = 128  # of Simpson's rule per piece of the learning rate's schedule


class Decay(NamedTuple):
    """Multiplier of peak_lr * λ over the run: the learning rate's schedule times λ's own."""

    lr: Schedule
    shape: str = "constant"
    final_fraction: float = 0.0

    def multiplier(self, progress: float) -> float:
        """s * w at a point of the run, `progress` in [0, 1]."""
        return self.lr.multiplier(progress) * self.own(progress)

    def own(self, progress: float) -> float:
        """w at a point of the run."""
        if self.shape == "constant":
            return 1.0
        if self.shape == "follows-lr":
            return self.lr.multiplier(progress)
        return _curve(self.shape, self.final_fraction).value(progress)

    def cumulative(self, progress: float) -> float:
        """Integral of s * w from the start of the run to `progress`: in closed form, or by Simpson's rule for own shapes."""
        if self.shape == "constant":
            return self.lr.cumulative(progress)
        if self.shape == "follows-lr":
            return self.lr.cumulative_square(progress)
        return sum(self._area(start, min(end, progress)) for start, end in self._spans() if start < progress)

    def mean(self) -> float:
        """Mean of s * w over the run.

        Example:
            >>> round(Decay(Schedule("linear"), "follows-lr").mean() / Schedule("linear").mean(), 6)
            0.666667
        """
        return self.cumulative(1.0)

    def _spans(self) -> list[tuple[float, float]]:
        """Stretches of the run on which the multiplier is smooth."""
        return [(piece.start, piece.start + piece.width) for piece in self.lr.pieces]

    def _area(self, start: float, end: float) -> float:
        """Simpson's rule in the square root of the distance from `start`, where some shapes have a vertical tangent."""

        def f(v: float) -> float:
            return 2 * v * self.multiplier(start + (end - start) * v * v)

        inner = sum((4 if i % 2 else 2) * f(i / (2 * PANELS)) for i in range(1, 2 * PANELS))
        return (end - start) * (f(0.0) + inner + f(1.0 - 1e-12)) / (6 * PANELS)


def _curve(shape: str, final: float) -> Curve:
    curves = {"linear": line, "cosine": cosine}
    if shape not in curves:
        raise UnknownNameError("weight_decay_schedule", shape, SHAPES)
    return curves[shape](1.0, final)
