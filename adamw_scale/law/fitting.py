"""Fit the law to the evidence, and say how it does on sources that were left out.

    python -m adamw_scale.law.fitting            # prints both, and writes fitted.py

A source is a laboratory, or a training of this project's own. Its optima share a level and slopes of their own,
Gaussian around the law, so that many optima of one source do not outvote few of another:

    log2 tau_i = features_i · (theta + delta_source) + noise_i

theta has a wide Gaussian prior at what was believed before (`PRIOR`), delta and the scatter of optima the standard
deviations below; runs of a source that are nearly the same scatter together. Published laws enter as points on them,
each law one source.

Source: hierarchical linear model with Gaussian priors (Gelman et al. 2013, Bayesian Data Analysis, chapter 15;
Rasmussen & Williams 2006, equations 2.25 and 2.26, for the linear kernel).
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adamw_scale.errors import MissingInputError
from adamw_scale.evidence import MeasuredOptimum, SweptLoss, TunedOptimum, measured_optima, swept_losses, tuned_optima
from adamw_scale.law.features import BETWEEN_SOURCES, NAMES, features_of
from adamw_scale.law.posterior import EIGHTY
from adamw_scale.rules import BASELINE, COMPETITORS, RULES, Rule
from adamw_scale.spec.run import TrainingRun

Array = NDArray[np.float64]

# In many passes one training keeps its λ: slopes of -1 along epochs and lr, 1 along batch, which only much can change.
#                 level samples data  epochs, of samples  lr  batch, of source schedule muon
PRIOR = np.array([-2.4, 0.0, -0.53, -1.0, 0.0, -1.0, 1.0, 0.0, 0.5, 0.0])
WIDTH = np.array([1.0, 1.0, 0.15, 0.05, 0.3, 0.05, 0.1, 0.3, 0.35, 0.5])
LEVEL = 0.15  # octaves: by how much sources differ at their own data; this and the slopes by likelihood
NEW_LEVEL = 0.35  # the same of a source that the law has not seen: so wide that ranges hold 80 % of left-out optima
FARNESS = np.array([0.0, 1.0, 0.05, 0.1, 0.0, 0.4, 0.15, 0.0, 0.0, 0.0])  # octaves per octave: more so, far from usual
#                   data epochs batch params lr
SLOPES = np.array([0.1, 0.15, 0.2, 0.1, 0.1])
SCATTER = 0.2  # octaves by which one optimum misses any law; two slices of one text differ by 0.2
REACH = 2.0  # octaves over which runs of one source miss the law together
# Published laws count as points on them: at tokens per parameter, or, for what is no more than practice, at epochs.
LAW_POINTS: dict[str, tuple[tuple[int, ...], float]] = {
    "power-lines": ((20, 40, 80, 160, 320, 640, 1280), 0.15),
    "steplaw-refit": ((20, 53, 116, 298, 466), 0.15),
    "run-fraction": ((50, 100, 300, 1000), 0.7),
}
POINTS = 4  # of a sweep, through which a parabola is laid


class Evidence(NamedTuple):
    """One optimum: whose, of which run, log2 tau as a fraction of the run, and how well that is known."""

    source: str
    run: TrainingRun
    log2_tau: float
    deviation: float


def evidence() -> list[Evidence]:
    """All of it: tuned optima, measured ones, points of published laws."""
    optima: list[TunedOptimum | MeasuredOptimum] = [*tuned_optima(), *measured_optima()]
    found = [Evidence(each.source, each.run, math.log2(each.timescale.run), each.log2_deviation) for each in optima]
    for name, (points, deviation) in LAW_POINTS.items():
        for point in points:
            run = _image_run(point) if name == "run-fraction" else _language_run(point)
            tau = RULES[name]().target_timescale(run).run
            found.append(Evidence(name, run, math.log2(tau), deviation))
    return found


def _language_run(tokens_per_param: float) -> TrainingRun:
    return TrainingRun(dataset_size=5e8 * tokens_per_param, batch_size=2**18, num_params=5e8)


def _image_run(epochs: float) -> TrainingRun:
    """Of ImageNet, as most of the recipes behind the practice are."""
    of_imagenet = {"unit": "samples", "dataset_size": 1.28e6, "batch_size": 2048, "num_params": 5e7, "peak_lr": 1e-3}
    return TrainingRun.model_validate({**of_imagenet, "epochs": epochs, "schedule": "cosine"})


class Fit(NamedTuple):
    """Mean and covariance of theta, shapes (10,) and (10, 10), and the log likelihood of the evidence."""

    mean: Array
    covariance: Array
    log_likelihood: float


def fit(seen: Sequence[Evidence]) -> Fit:
    """theta after the evidence."""
    x, y, own = _arrays(seen)
    total = own + (x * WIDTH**2) @ x.T
    gain = (WIDTH**2 * x).T @ np.linalg.inv(total)
    residual = y - x @ PRIOR
    covariance = np.diag(WIDTH**2) - gain @ x * WIDTH**2
    likelihood = -0.5 * (
        residual @ np.linalg.solve(total, residual) + np.linalg.slogdet(total)[1] + len(y) * math.log(2 * math.pi)
    )
    return Fit(PRIOR + gain @ residual, (covariance + covariance.T) / 2, float(likelihood))


def _arrays(seen: Sequence[Evidence]) -> tuple[Array, Array, Array]:
    """Features (n, 10), log2 tau (n,), and the covariance of what the law alone does not say (n, n)."""
    features = [features_of(each.run) for each in seen]
    x, blur, where, moves = (np.array(column) for column in zip(*features, strict=True))
    alike = np.array([[one.source == other.source for other in seen] for one in seen])
    share = alike / alike.sum(1, keepdims=True)
    x[:, BETWEEN_SOURCES] = share @ x[:, BETWEEN_SOURCES]
    moved = moves - share @ moves
    apart = ((where[:, None] - where[None]) ** 2).sum(2)
    shared = LEVEL**2 + share @ (x**2 @ FARNESS**2) + (moved * SLOPES**2) @ moved.T
    shared = shared + (blur * PRIOR**2) @ blur.T + SCATTER**2 * np.exp(-apart / 2 / REACH**2)
    return x, np.array([each.log2_tau for each in seen]), alike * shared + np.diag([e.deviation**2 for e in seen])


class LeftOut(NamedTuple):
    """A source that the law was not fitted to: how many optima lie in their 80 % interval, and how far it is off."""

    source: str
    inside: int
    optima: int
    bias: float
    mean_error: float


def left_out(seen: Sequence[Evidence]) -> list[LeftOut]:
    """Every source, predicted from all others as `Posterior` does it: not widened by an optimum's own error."""
    found = []
    for source in dict.fromkeys(each.source for each in seen):
        rest, own = ([e for e in seen if (e.source == source) is same] for same in (False, True))
        mean, covariance, _ = fit(rest)
        features = [features_of(each.run) for each in own]
        x, blur, *_ = (np.array(column) for column in zip(*features, strict=True))
        errors = np.array([each.log2_tau for each in own]) - x @ mean
        variance = np.einsum("ij,jk,ik->i", x, covariance, x) + (blur * mean) ** 2 @ np.ones(len(NAMES))
        variance += NEW_LEVEL**2 + SCATTER**2 + x**2 @ FARNESS**2
        inside = np.abs(errors) <= EIGHTY * np.sqrt(variance)
        found.append(LeftOut(source, int(inside.sum()), len(own), float(errors.mean()), float(np.abs(errors).mean())))
    return found


class Standing(NamedTuple):
    """How a rule does on the optima inside its domain: how many those are, and by how many octaves it misses them."""

    optima: int
    octaves: float


def standings(seen: Sequence[Evidence]) -> dict[str, Standing]:
    """Every rule that speaks on any optimum, with its published constants; the law without each optimum's source."""
    found = {}
    for name in COMPETITORS[1:]:  # all but the law
        rule = RULES[name]()
        spoken = [
            each for each in seen if each.source not in LAW_POINTS and (name == BASELINE or _speaks(rule, each.run))
        ]
        errors = [abs(each.log2_tau - _said_by(rule, each.run)) for each in spoken]
        if errors:
            found[name] = Standing(len(errors), float(np.mean(errors)))
    apart = [each for each in left_out(seen) if each.source not in LAW_POINTS]
    optima = sum(each.optima for each in apart)
    return {"law": Standing(optima, sum(each.mean_error * each.optima for each in apart) / optima), **found}


def _speaks(rule: Rule, run: TrainingRun) -> bool:
    """Whether a run has what a rule needs, and lies in its domain."""
    try:
        return not rule.outside_domain(run)
    except MissingInputError:
        return False


def _said_by(rule: Rule, run: TrainingRun) -> float:
    """log2 of the timescale a rule gives, at the same decay mass where its schedule is another."""
    mass = run.decay_schedule.mean() / (rule.fitted_schedule_mean or run.decay_schedule.mean())
    return math.log2(rule.target_timescale(run).run * mass)


class Cell(NamedTuple):
    """What a sweep over the weight decay of one run shows: log2 tau at its best, and how the loss rises from there.

    `curvature` is the share of the loss that an octave costs, `lowest` the loss at the best.
    """

    run: TrainingRun
    log2_tau: float
    curvature: float
    lowest: float


def cells(losses: Sequence[SweptLoss]) -> list[Cell]:
    """A parabola through the `POINTS` nearest each run's lowest, where its vertex lies inside what was swept."""
    swept: dict[TrainingRun, dict[float, float]] = {}
    for each in losses:
        if each.run.weight_decay:
            at = swept.setdefault(each.run.model_copy(update={"weight_decay": None}), {})
            octave = round(math.log2(each.run.timescale_of(each.run.weight_decay).run), 2)
            at[octave] = min(each.loss, at.get(octave, math.inf))
    found = []
    for run, losses_at in swept.items():
        x, y = (np.array(column) for column in zip(*sorted(losses_at.items()), strict=True))
        near = np.sort(np.argsort(np.abs(x - x[y.argmin()]))[:POINTS])
        bend, slope, level = np.polyfit(x[near], y[near], 2) if len(x) > 2 else (0.0, 0.0, 0.0)
        best = -slope / (2 * bend) if bend > 0 else math.inf
        if x[0] < best < x[-1]:
            lowest = level - slope**2 / (4 * bend)
            found.append(Cell(run, float(best), float(bend / lowest), float(lowest)))
    return found


def cost(found: Sequence[Cell]) -> Array:
    """log2 of the curvature against batch and tokens per parameter, see `law.cost`; shape (3,)."""
    x = [[1.0, math.log2(c.run.batch_size / 2**16), math.log2((c.run.tokens_per_param or 20) / 20)] for c in found]
    solution: Array = np.linalg.lstsq(np.array(x), np.log2([c.curvature for c in found]), rcond=None)[0]
    return solution


def source_code(fitted: Fit, seen: Sequence[Evidence], apart: Sequence[LeftOut], costs: Array) -> str:
    """The module that holds the constants."""
    optima = sum(each.optima for each in apart)
    inside = sum(each.inside for each in apart) / optima
    near = "".join(
        f"    ({json.dumps(each.source.split(' (')[0], ensure_ascii=False)}, {each.log2_tau:.4g}, "
        f"({', '.join(f'{value:.3g}' for value in features_of(each.run).values)})),\n"
        for each in seen
    )
    stands = "".join(f"    {json.dumps(name)}: ({n}, {off:.2f}),\n" for name, (n, off) in standings(seen).items())
    rows = "".join(f"    ({', '.join(f'{value:.4g}' for value in row)}),\n" for row in fitted.covariance)
    beside = "".join(
        f"    ({json.dumps(each.source, ensure_ascii=False)}, {each.inside}, {each.optima}, {each.bias:.3f}),\n"
        for each in apart
    )
    return (
        '"""The fitted law. Written by `python -m adamw_scale.law.fitting`; a test refits and compares.\n\n'
        "log2 of the timescale as a share of the run is the sum of these times the features of their names:\n\n"
        + "".join(
            f"    {name:14}{mean:+.3f} ± {math.sqrt(variance):.3f}\n"
            for name, mean, variance in zip(NAMES, fitted.mean, np.diag(fitted.covariance), strict=True)
        )
        + '"""\n\n'
        f"MEAN = ({', '.join(f'{value:.6g}' for value in fitted.mean)})\nCOVARIANCE = (\n{rows})\n"
        f"LEVEL, SCATTER, REACH = {NEW_LEVEL}, {SCATTER}, {REACH}\n"
        f"FARNESS = ({', '.join(f'{value:g}' for value in FARNESS)})\n"
        f"SLOPES = ({', '.join(f'{value:g}' for value in SLOPES)})\n"
        f"OPTIMA, SOURCES, INSIDE = {optima}, {len(apart)}, {inside:.2f}  # INSIDE: their source left out\n"
        f"STANDINGS = {{  # optima inside a rule's domain, and by how many octaves it misses them\n{stands}}}\n"
        f"LEFT_OUT = (  # source left out, its optima in the range that all others give, of how many, bias in octaves\n"
        f"{beside})\n"
        f"COST = ({', '.join(f'{value:.4g}' for value in costs)})\nEVIDENCE = (\n{near})\n"
    )


def main() -> None:
    """Fit, print, write."""
    seen = evidence()
    fitted = fit(seen)
    every = left_out(seen)
    apart = [each for each in every if each.source not in LAW_POINTS]
    code = source_code(fitted, seen, apart, cost(cells(swept_losses())))
    print(code, f"log likelihood {fitted.log_likelihood:.1f}", sep="\n")
    for each in every:
        print(
            f"  {each.source[:60]:60} {each.inside} of {each.optima}, bias {each.bias:+.2f}, {each.mean_error:.2f} off"
        )
    Path(__file__).with_name("fitted.py").write_text(code)


if __name__ == "__main__":
    main()
