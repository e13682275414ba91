"""Why a sweep located no optimum, and what to do about it: the command line and the report say the same."""

import math
from typing import NamedTuple

from adamw_scale.spec.measurement import Optimum
from adamw_scale.units import format_share, format_significant

STEADIER = "lower --lr, or warm up for longer (--warmup), so that it can be trained"


class Remedy(NamedTuple):
    """Why nothing was located, and what to do, each a clause or more without a full stop."""

    why: str
    fix: str


def outcome(optimum: Optimum) -> str:
    """The status of an optimum in a word, where every probe diverged that: no loss is flat that is not there."""
    return "diverged" if optimum.loss is None else optimum.status


def remedy(optimum: Optimum) -> Remedy:
    """What is said of an optimum that is flat or at an edge.

    The optimal timescale is near a constant number of epochs (Wang & Aitchison 2024, arXiv:2405.13698), so it is a
    smaller share of a longer run: where even the longest timescale is too short, probes should be longer; where even
    the shortest is too long, shorter.
    """
    run = optimum.run
    if optimum.loss is None:
        return Remedy(
            f"every probe diverged, at any weight decay, at lr {run.peak_lr:g}",
            "lower --lr, or warm up for longer (--warmup)",
        )
    if optimum.status == "flat":
        return Remedy(
            "flat: the losses do not tell timescales apart within an octave of the lowest; there λ hardly matters",
            "to locate one, train the probes longer on fewer data (--epochs, --dataset-size), or add --seeds",
        )
    best = math.log2(optimum.timescale_run)
    low, high = optimum.log2_probed or (best, best)
    decay = format_significant(optimum.weight_decay)
    end = f"{format_share(optimum.timescale_run, 'the run')}, λ = {decay}"
    if best - low < high - best:
        if any(x < low for x in optimum.log2_diverged):
            return Remedy(
                f"edge: best near the shortest timescale that did not diverge ({end})", f"{STEADIER} with more decay"
            )
        return Remedy(
            f"edge: the shortest timescale probed was best ({end}); the optimum lies at more decay than may be probed",
            "to locate one, train the probes for fewer steps (--epochs, --dataset-size)",
        )
    if any(x > high for x in optimum.log2_diverged):
        return Remedy(
            f"edge: best near the longest timescale that did not diverge ({end})", f"{STEADIER} with less decay"
        )
    return Remedy(
        f"edge: the longest timescale probed was best ({end}); here decay only costs, use none or less than that",
        "to locate one, train the probes longer on fewer data (--epochs, --dataset-size)",
    )
