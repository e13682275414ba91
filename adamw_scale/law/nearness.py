"""How near a run is to what the law was fitted to."""

import math

from adamw_scale.law import fitted
from adamw_scale.law.features import NAMES, SAMPLES, features_of
from adamw_scale.spec.advice import Near
from adamw_scale.spec.run import TrainingRun

COUNTED = [i for i, name in enumerate(NAMES) if name not in ("sample epochs", "source batch")]  # which only repeat


def nearest(run: TrainingRun, most: int = 3) -> list[Near]:
    """The nearest sources of the same kind of data, in octaves of the law's features; published laws have points too.

    Example:
        >>> run = TrainingRun(dataset_size="614M", batch_size=2**16, peak_lr=3e-3, num_params="34.6M")
        >>> [near.source for near in nearest(run, 1)]
        ['Stanford CS312 students']
    """
    here = features_of(run).values
    found: dict[str, Near] = {}
    for source, log2_tau, values in fitted.EVIDENCE:
        far = math.dist([values[i] for i in COUNTED], [here[i] for i in COUNTED])
        if values[SAMPLES] == here[SAMPLES] and (source not in found or far < found[source].octaves):
            found[source] = Near(source=source, octaves=far, timescale_run=2.0**log2_tau)
    return sorted(found.values(), key=lambda near: near.octaves)[:most]
