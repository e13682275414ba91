"""What is believed of log2 tau before and after a user's own measurements.

    log2 tau(run) = features(run) · theta + own(run) + scatter(run)

theta are the law's coefficients, whose mean and covariance the evidence gives (`fitted`). own is how the user's kind of
training differs from the law: a level, and slopes along data, epochs, batch, parameters and learning rate, counted from
the first run that was located; Gaussian around 0, with the standard deviations by which sources of evidence differ.
scatter is by how much one run misses any law, and runs that are nearly the same miss it together. All of it is
Gaussian, so a run's optimum and the measured ones have a joint distribution. A measurement conditions it on one of
them, an edge cuts it there.

Near what was measured the measurement decides, far away the evidence does; nothing else says when.

Source: Gaussian conditioning, one measurement at a time (Rasmussen & Williams 2006, Gaussian Processes for Machine
Learning, equation 2.19, with the linear kernel); the mean and variance of a cut Gaussian (Minka 2001, Expectation
Propagation for approximate Bayesian inference, assumed density filtering).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from adamw_scale.law import fitted
from adamw_scale.law.features import Features, features_of, of_one_source
from adamw_scale.spec.run import TrainingRun

KIN = 12.0  # octaves over which a kind of training keeps its own level: a toy says little of a large model; judgement
EIGHTY = 1.2815515655446004  # standard deviations to either side that hold 80 %


@dataclass(frozen=True)
class Observation:
    """What is known of one run's optimum, log2 tau as a fraction of the run.

    `deviation` is the standard deviation of `log2_tau`. With a `bound` the optimum is only known to lie on that side.
    """

    run: TrainingRun
    log2_tau: float
    deviation: float
    bound: Literal["above", "below"] | None = None


@dataclass(frozen=True)
class Prediction:
    """log2 tau as a fraction of the run: mean and standard deviation."""

    log2_tau: float
    deviation: float

    @property
    def interval(self) -> tuple[float, float]:
        """What holds it at 80 %."""
        return self.log2_tau - EIGHTY * self.deviation, self.log2_tau + EIGHTY * self.deviation


class Posterior:
    """The law, and what the user knows.

    Args:
        observations: Measured or tuned optima of the user's own, in any order; none is the law alone.
        strangeness: Octaves by which the user's kind of training may differ from all that the law was fitted to, as a
            standard deviation.

    Example:
        >>> run = TrainingRun(dataset_size="26B", batch_size="0.5M", peak_lr=3e-4, num_params="1.3B")
        >>> alone = Posterior().predict(run)
        >>> tuned = Posterior([Observation(run, -3.0, 0.3)]).predict(run)
        >>> abs(tuned.log2_tau + 3.0) < abs(alone.log2_tau + 3.0), tuned.deviation < alone.deviation
        (True, True)
    """

    def __init__(self, observations: Sequence[Observation] = (), *, strangeness: float = 0.0) -> None:
        known = [(each, features_of(each.run)) for each in observations]
        known.sort(key=lambda pair: (pair[0].bound is not None, pair[1].where))
        self._observations, self._seen = [each for each, _ in known], [features for _, features in known]
        self._strangeness = strangeness

    def predict(self, run: TrainingRun) -> Prediction:
        """The optimum of a run."""
        (mean,), ((variance,),) = self._of([features_of(run)])
        return Prediction(mean, math.sqrt(variance))

    def move(self, run: TrainingRun, other: TrainingRun) -> Prediction:
        """By how much the optimum of another run differs from that of a run."""
        (here, there), ((a, b), (_, d)) = self._of([features_of(run), features_of(other)])
        return Prediction(there - here, math.sqrt(max(0.0, a - 2 * b + d)))

    def _of(self, asked: list[Features]) -> tuple[list[float], list[list[float]]]:
        """Means of the asked optima and their covariance, after everything that was observed."""
        located = [f for f, each in zip(self._seen, self._observations, strict=True) if each.bound is None]
        first = located[0] if located else asked[0]
        every = [of_one_source(each, first, alikeness(each, first, KIN)) for each in (*self._seen, *asked)]
        mean = [_dot(each.values, fitted.MEAN) for each in every]
        covariance = [[self._covariance(one, other, first) for other in every] for one in every]
        for i, seen in enumerate(self._observations):
            total = covariance[i][i] + seen.deviation**2
            if seen.bound is None:
                shift, shrink = (seen.log2_tau - mean[i]) / total, 1.0 / total
            else:
                shift, shrink = _cut(mean[i], total, seen.log2_tau, above=seen.bound == "above")
            across = covariance[i]
            mean = [m + a * shift for m, a in zip(mean, across, strict=True)]
            covariance = [
                [c - a * b * shrink for c, b in zip(line, across, strict=True)]
                for line, a in zip(covariance, across, strict=True)
            ]
        n = len(self._seen)
        return mean[n:], [line[n:] for line in covariance[n:]]

    def _covariance(self, one: Features, other: Features, first: Features) -> float:
        """Of two runs' optima, before anything is observed; `first` is the run that slopes are counted from."""
        return (
            _dot(one.values, [_dot(line, other.values) for line in fitted.COVARIANCE])
            + (self._strangeness**2 + level_variance(first)) * alikeness(one, other, KIN)
            + math.fsum(
                slope**2 * (a - o) * (b - o)
                for slope, a, b, o in zip(fitted.SLOPES, one.moves, other.moves, first.moves, strict=True)
            )
            + math.fsum(c**2 * a * b for c, a, b in zip(fitted.MEAN, one.blur, other.blur, strict=True))
            + fitted.SCATTER**2 * alikeness(one, other, fitted.REACH)
        )


def level_variance(first: Features) -> float:
    """Of a source's own level: more where its runs are far from usual."""
    return fitted.LEVEL**2 + math.fsum((f * x) ** 2 for f, x in zip(fitted.FARNESS, first.values, strict=True))


def alikeness(one: Features, other: Features, reach: float) -> float:
    """How much of a deviation two runs share: 1 for the same run, 0.6 where `reach` octaves lie between."""
    squared = math.fsum((a - b) ** 2 for a, b in zip(one.where, other.where, strict=True))
    return math.exp(-squared / (2 * reach**2))


def _cut(mean: float, variance: float, bound: float, *, above: bool) -> tuple[float, float]:
    """How a bound moves what is believed: shift of the mean and shrinking of the variance, each over the variance.

    For x ~ N(mean, variance) given x >= bound, with z = (mean - bound) / deviation and r = pdf(z) / cdf(z):
    E[x] = mean + deviation * r, Var[x] = variance * (1 - r * (r + z)).
    """
    deviation, sign = math.sqrt(variance), 1.0 if above else -1.0
    z = sign * (mean - bound) / deviation
    if z < -30:  # the limits, where both are next to nothing
        return sign * -z / deviation, 1.0 / variance
    ratio = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) / (math.erfc(-z / math.sqrt(2)) / 2)
    return sign * ratio / deviation, ratio * (ratio + z) / variance


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))
