"""What a weight decay costs on a probed run, against the best one: from the fitted basin, or from the probes beside it.

Nothing is said beyond what was probed.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from adamw_scale.calibration.fitting import Value, paired
from adamw_scale.report.figures import decay_at
from adamw_scale.spec.measurement import Optimum, ProbeResult
from adamw_scale.theory.basin import NEGLIGIBLE, STEP, Basin
from adamw_scale.units import format_percent, format_significant

SAME = 1e-6  # octaves


def free_decays(optimum: Optimum, metric: str) -> str:
    """From which λ to which the loss is within NEGLIGIBLE of the lowest, for people."""
    if optimum.log2_band is None or optimum.noise is None:
        return "too few probes to say which λ cost next to nothing"
    least, most = (format_significant(decay_at(optimum.run, end)) for end in reversed(optimum.log2_band))
    says = f"λ from {least} to {most} costs no more than {format_percent(NEGLIGIBLE)} of the {metric}"
    ends = zip(optimum.log2_band, optimum.log2_probed or optimum.log2_band, strict=True)
    cut = [decay for decay, (end, probed) in zip((most, least), ends, strict=True) if abs(end - probed) < STEP]
    return f"{says}; {' and '.join(reversed(cut))} is as far as was probed" if cut else says


def cost_of(
    decay: float, optimum: Optimum, results: Sequence[ProbeResult], value: Value, basin: Basin | None, metric: str
) -> str:
    """How far above the lowest loss a λ lies on a probed run, for people.

    Args:
        decay: λ, PyTorch convention, of the hidden matrices.
        optimum: Of the run.
        results: The run's probes.
        value: What is minimised of them.
        basin: Their fit; None where there are none.
        metric: Name of what is minimised.
    """
    x, name = math.log2(optimum.run.base_timescale_of(decay).run), f"λ {decay:g}"
    if basin is None or basin.curve is None:
        return f"too few probes to say what {name} costs"
    lowest, curve, at = float(basin.curve.mean.min()), basin.curve, basin.curve.x + optimum.shift
    if at[0] <= x <= at[-1]:
        return f"{name} costs {_above(float(np.interp(x, at, curve.mean)), lowest, metric)}, by the fit"
    levels = {probed + optimum.shift: level for probed, level in _levels(results, value).items()}
    below, above = (
        max((p for p in levels if p <= x + SAME), default=None),
        min((p for p in levels if p >= x - SAME), default=None),
    )
    if below is None or above is None:
        least, most = (format_significant(decay_at(optimum.run, end), 3) for end in (max(levels), min(levels)))
        return f"{name} is beyond what was probed, λ {least} to {most}: what it costs is not known"
    known = [levels[below], levels[above]]
    if not all(map(math.isfinite, known)):
        return f"{name} lies beside probes that diverged or were left out: what it costs is not known"
    cost = _above(float(np.interp(x, [below, above], known)), lowest, metric)
    if above - below < SAME:
        return f"{name} costs {cost}, as probed"
    least, most = (format_significant(decay_at(optimum.run, end), 3) for end in (above, below))
    return f"{name} costs {cost}, between the probes of λ {least} and {most}"


def _levels(results: Sequence[ProbeResult], value: Callable[[ProbeResult], float]) -> dict[float, float]:
    """Mean value at each timescale, seeds at one level; infinite where none is left."""
    points: dict[float, list[float]] = {}
    for result in results:
        if not math.isnan(value(result)):
            points.setdefault(round(result.config.log2_tau, 6), [])
    for result, level in paired(results, value):
        points[round(result.config.log2_tau, 6)].append(level)
    return {x: math.fsum(each) / len(each) if each else math.inf for x, each in points.items()}


def _above(value: float, lowest: float, metric: str) -> str:
    """A difference, and what share of the lowest it is."""
    share = f" ({format_percent((value - lowest) / abs(lowest))} of the {metric})" if lowest else ""
    return f"{format_significant(value - lowest)} more than the best{share}"
