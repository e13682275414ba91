"""What the final weights remember: the EMA window under a schedule, in constant time.

Going back from the end of the run, the share of the final weights that is older than a point p is
R(p) = exp(-(L(1) - L(p))), where L(p) is the decay summed up to p: the integral of peak lr * λ * steps *
multiplier. R(0) is what is left of the initial weights. Schedules know that integral in closed form, so
nothing here depends on the number of steps. A step that shrinks weights by 1 - a counts as a + a²/2, which
is -log(1 - a) to second order; where a passes 5 % use `ema_coefficients`, which is exact.

Source: EMA form of Wang & Aitchison 2024, arXiv:2405.13698; under schedules Bergsma et al. 2025,
arXiv:2502.15938.
"""

import math
from typing import NamedTuple

from adamw_scale.theory.weight_decay_schedules import Decay

MOST_STEPS, CLOSE = 100, 1e-13  # of the search for a quantile, in fractions of the run


class EmaWindow(NamedTuple):
    """The window of a run."""

    decay: Decay  # multiplier of peak lr * λ over the run
    tau_run: float  # timescale at peak as a fraction of the run; > 0
    total_steps: float

    def decay_since(self, progress: float) -> float:
        """Decay from a point of the run to its end, to second order in lr * λ."""
        first = (self.decay.mean() - self.decay.cumulative(progress)) / self.tau_run
        return first + self._second_order(progress)

    def _second_order(self, progress: float) -> float:
        """Sum of a²/2; known where λ is constant, and taken at the mean multiplier elsewhere, where it is as small."""
        peak = 1.0 / (self.tau_run * self.total_steps)
        if self.decay.shape == "constant":
            square = self.decay.lr.mean_square() - self.decay.lr.cumulative_square(progress)
        else:
            square = self.decay.mean() * (self.decay.mean() - self.decay.cumulative(progress))
        return square * peak / (2.0 * self.tau_run)

    def retention(self) -> float:
        """Share of the initial weights in the final ones.

        Example:
            >>> from adamw_scale.theory.schedules import Schedule
            >>> round(EmaWindow(Decay(Schedule("linear")), tau_run=1 / 3, total_steps=1000).retention(), 5)
            0.2228
        """
        return math.exp(-self.decay_since(0.0))

    def density(self, progress: float) -> float:
        """Weight of the updates at a point of the run in the final weights, per run: integrates to 1 - retention."""
        return self.decay.multiplier(progress) / self.tau_run * math.exp(-self.decay_since(progress))

    def age_quantile(self, share: float) -> float:
        """Age, as a fraction of the run, below which lies `share` of what the updates contributed; 0 <= share <= 1.

        Solves 1 - R(p) = share * (1 - R(0)) for p and returns 1 - p.
        """
        return self._age_at_decay(-math.log1p(-share * -math.expm1(-self.decay_since(0.0))))

    def effective_window(self) -> float:
        """Age, as a fraction of the run, over which the decay adds up to 1; the whole run where it never does.

        At a constant learning rate this is the timescale. Where the learning rate falls to zero it is longer: for
        linear decay sqrt(2 * tau_run), as long as that is below 1.
        """
        return self._age_at_decay(min(1.0, self.decay_since(0.0)))

    def _age_at_decay(self, wanted: float) -> float:
        """Newton's method on the decay since a point, kept inside a bracket that halves where a step would leave it."""
        low, high, point = 0.0, 1.0, 0.5
        for _ in range(MOST_STEPS):
            excess = self.decay_since(point) - wanted
            low, high = (point, high) if excess > 0 else (low, point)
            slope = self.decay.multiplier(point) / self.tau_run
            newton = point + excess / slope if slope else low
            following = newton if low < newton < high else 0.5 * (low + high)
            if abs(following - point) < CLOSE:
                break
            point = following
        return 1.0 - point
