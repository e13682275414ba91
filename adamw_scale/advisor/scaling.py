"""Across scales: how measured optima move, with the published law as the prior that they may overrule.

    log2 tau(run) = log2 tau_rule(run) + shift + sum over quantities of slope * log4(run's / first optimum's)

`tau_rule` is the rule fitted to the optima, so a slope of 0 is the published law. Shift and slopes are Gaussian:
before anything is measured a slope lies in the middle of the rule's `drift`, what is published or was seen against the
law, with half its span as standard deviation; the shift is wide open. Optima tell them apart as well as their intervals
allow, plus what one scale's optimum scatters around any law. A quantity in which no two optima differ keeps its prior.

Source: Bayesian linear regression, one measurement at a time (Bishop 2006, Pattern Recognition and Machine Learning,
equations 3.50 and 3.51). Assumed: priors and SCATTER, from the small trainings behind `drift` and those of
tests/benchmarks/heldout.py.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adamw_scale.rules import CalibratableRule
from adamw_scale.spec.measurement import Optimum
from adamw_scale.spec.run import TrainingRun

SCATTER = 0.3  # octaves by which the optimum of one data set misses a law; two slices of one text differ by 0.2
WIDE = 3.0  # octaves: standard deviation of the shift before anything is measured
TOLD_APART = 0.4  # factors of 4 between optima from which a slope can be measured
EIGHTY = 1.2816  # standard deviations to either side that hold 80 %


@dataclass(frozen=True)
class Prediction:
    """log2 of the timescale as a fraction of the run: mean and standard deviation."""

    log2_tau: float
    deviation: float

    @property
    def interval(self) -> tuple[float, float]:
        """What holds it at 80 %."""
        return self.log2_tau - EIGHTY * self.deviation, self.log2_tau + EIGHTY * self.deviation


@dataclass(frozen=True)
class ScalingFit:
    """Shift and slopes after the optima: their means and covariance, in the order shift, then the rule's `drift`.

    `measured` are the quantities in which optima differ.
    """

    rule: CalibratableRule
    origin: TrainingRun
    measured: tuple[str, ...]
    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, rule: CalibratableRule, optima: Sequence[Optimum]) -> "ScalingFit":
        """The posterior of a rule, fitted to these located optima (at least one)."""
        fitted, origin = rule.fit(optima), optima[0].run
        moves = [fours_between(optimum.run, origin) for optimum in optima]
        measured = tuple(
            quantity
            for quantity in rule.drift
            if max(move[quantity] for move in moves) - min(move[quantity] for move in moves) >= TOLD_APART
        )
        ends = list(rule.drift.values())
        mean = [0.0, *((low + high) / 2 for low, high in ends)]
        prior = [WIDE**2, *(((high - low) / 2) ** 2 for low, high in ends)]
        covariance = [[prior[i] if i == j else 0.0 for j in range(len(prior))] for i in range(len(prior))]
        for optimum, move in zip(optima, moves, strict=True):
            low, high = optimum.log2_interval
            noise = ((high - low) / (2 * EIGHTY)) ** 2 + SCATTER**2
            features = [1.0, *(move[quantity] for quantity in rule.drift)]
            seen = math.log2(optimum.timescale_run) - math.log2(fitted.target_timescale(optimum.run).run)
            mean, covariance = _learn(mean, covariance, features, seen, noise)
        return cls(fitted, origin, measured, tuple(mean), tuple(map(tuple, covariance)))

    @property
    def slopes(self) -> Mapping[str, tuple[float, float]]:
        """Octaves against the law per factor of 4 in each measured quantity: mean and standard deviation."""
        return {
            quantity: (self.mean[i], math.sqrt(self.covariance[i][i]))
            for i, quantity in enumerate(self.rule.drift, start=1)
            if quantity in self.measured
        }

    def predict(self, run: TrainingRun) -> Prediction:
        """The optimum of another run."""
        move = fours_between(run, self.origin)
        features = [1.0, *(move[quantity] for quantity in self.rule.drift)]
        center = math.log2(self.rule.target_timescale(run).run) + _dot(features, self.mean)
        variance = _dot(features, [_dot(row, features) for row in self.covariance]) + SCATTER**2
        return Prediction(center, math.sqrt(variance))


def left_out(rule: CalibratableRule, optima: Sequence[Optimum]) -> list[tuple[Optimum, Prediction]]:
    """Each optimum beside what all the others predict for it; empty for fewer than 2."""
    if len(optima) < 2:
        return []
    others = ([other for other in optima if other is not optimum] for optimum in optima)
    return [
        (optimum, ScalingFit.of(rule, rest).predict(optimum.run)) for optimum, rest in zip(optima, others, strict=True)
    ]


def fours_between(run: TrainingRun, other: TrainingRun) -> dict[str, float]:
    """How many factors of 4 a run is away from another one, in every quantity that moves an optimum."""
    return {quantity: math.log(ratio, 4) for quantity, ratio in ratios(run, other).items()}


def ratios(run: TrainingRun, other: TrainingRun) -> dict[str, float]:
    """This run over another one, in every quantity that moves an optimum.

    The learning rate is that of the hidden matrices times width, since lr ~ 1/width leaves a run where
    it is. Where a width is not given, the square root of the parameter ratio stands for its ratio. A
    learning rate that is not known has not moved.
    """
    widths = 1.0
    if run.width and (other.width or run.base_width):
        widths = run.width / (other.width or run.base_width or run.width)
    elif run.num_params and other.num_params:
        widths = math.sqrt(run.num_params / other.num_params)
    lrs = 1.0
    if run.peak_lr is not None and other.peak_lr is not None:
        lrs = (run.peak_lr / run.width_ratio) / (other.peak_lr / other.width_ratio) * widths
    return {
        "data set": run.dataset_size / other.dataset_size,
        "epochs": run.epochs / other.epochs,
        "batch": run.batch_size / other.batch_size,
        "width": widths,
        "lr": lrs,
    }


def _learn(
    mean: list[float], covariance: list[list[float]], features: list[float], seen: float, noise: float
) -> tuple[list[float], list[list[float]]]:
    """Mean and covariance after one more measurement, seen = features · unknowns + noise of that variance."""
    across = [_dot(row, features) for row in covariance]
    gain = [each / (_dot(features, across) + noise) for each in across]
    error = seen - _dot(features, mean)
    return (
        [m + g * error for m, g in zip(mean, gain, strict=True)],
        [[c - g * a for c, a in zip(row, across, strict=True)] for row, g in zip(covariance, gain, strict=True)],
    )


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))
