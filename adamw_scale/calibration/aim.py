"""Which scale is trained next: the one whose further seed tells most about the target for its cost."""

import math
from collections.abc import Iterable, Mapping, Sequence

from adamw_scale.advisor import recommend
from adamw_scale.advisor.answers import believed_of, from_optima
from adamw_scale.calibration.fitting import optimum_of
from adamw_scale.probe.sweep import Sweep
from adamw_scale.spec.measurement import Calibration, Optimum, ProbeConfig, ProbeResult, Target, flops_of
from adamw_scale.spec.run import TrainingRun

LEAST_GAIN = 0.02  # of the target's variance that a seed has to take away; judgement
LEAST_SEEDS = 2  # of every scale: fewer do not tell noise from basin


def next_probes(
    sweeps: Sequence[Sweep], results: Mapping[str, ProbeResult], target: TrainingRun | None
) -> list[ProbeConfig]:
    """The next probes to train, of those that sweeps lack; without a target, all of them.

    Every scale is swept on `LEAST_SEEDS` seeds, a grid on all. After that one scale at a time gets a further seed: that
    which takes most of the target's variance away per unit of compute, as long as any takes `LEAST_GAIN` of it. How far
    optima scatter around any law does not shrink with seeds, so they soon stop paying where the target is far.
    """
    stages = [(sweep, missing) for sweep in sweeps if (missing := sweep.missing(results))]
    every = [config for _, missing in stages for config in missing]
    if target is None or not stages:
        return every
    needed = [c for sweep, missing in stages for c in missing if sweep.grid or c.seed in sweep.seeds[:LEAST_SEEDS]]
    if needed:
        return needed
    optima = {id(s): optimum_of(s.run, list(s.seen(results).values()), s.value) for s in sweeps}
    if not any(optimum.status == "located" for optimum in optima.values()):
        return every
    before = _variance(optima.values(), target)
    gains = [
        before
        - _variance(
            {**optima, id(sweep): _with_a_seed_more(optima[id(sweep)], sweep.seeds.index(missing[0].seed))}.values(),
            target,
        )
        for sweep, missing in stages
    ]
    paying = [
        (gain / _cost(missing), missing)
        for gain, (_, missing) in zip(gains, stages, strict=True)
        if gain >= LEAST_GAIN * before
    ]
    return max(paying, key=lambda each: each[0])[1] if paying else []


def target_of(run: TrainingRun, calibration: Calibration) -> Target:
    """What a calibration says of the run it was made for."""
    advice = recommend(run, calibration=calibration)
    return Target(
        run=run,
        weight_decay=advice.weight_decay,
        weight_decay_range=advice.weight_decay_range,
        timescale=advice.timescale,
        rule=advice.rule,
    )


def _variance(optima: Iterable[Optimum], target: TrainingRun) -> float:
    """Of log2 tau of the target, as these optima leave it."""
    return believed_of(from_optima(optima, target), target).predict(target).deviation ** 2


def _with_a_seed_more(optimum: Optimum, seeds: int) -> Optimum:
    """What an optimum of so many seeds may be expected to become: noise averages, and what was not located may be."""
    x, shrunk = math.log2(optimum.timescale_run), math.sqrt(seeds / (seeds + 1))
    low, high = (x + shrunk * (end - x) for end in optimum.log2_interval)
    return optimum.model_copy(update={"log2_interval": (low, high), "status": "located"})


def _cost(configs: Sequence[ProbeConfig]) -> float:
    """Operations, or units read where the number of parameters is not known."""
    return sum(flops_of(config.run) or config.run.total_units for config in configs)
