"""How learning rate, weight decay, eps and init of each parameter group depend on width and depth.

m = width / base_width, d = depth / base_depth. A run's `peak_lr` and the recommended `weight_decay` are
the base values; each parametrization multiplies them per group. What decides the timescale of a group is
its lr*λ: muP divides the hidden lr by m, so λ must grow with m if the timescale is to stay.

Published answers to that differ, and every one is here under its name:

    λ * m        timescale kept      2405.13698, 2505.01618 (table 1), 2510.19093     mup, completep
    λ * sqrt(m)  grows as sqrt(m)    2510.15262                                       mup-sqrt-width
    λ            grows as m          2512.05620                                       mup-constant-decay
    λ            grows as m          nobody's claim, but what common code does        mup-as-shipped
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

HIDDEN, EMBEDDING, OUTPUT, NORM_AND_BIAS = "hidden", "embedding", "output", "norm-and-bias"
GROUPS: Mapping[str, str] = {
    HIDDEN: "matrices whose two dimensions grow with width: attention and MLP weights",
    EMBEDDING: "token and position embeddings",
    OUTPUT: "the unembedding, or classifier head",
    NORM_AND_BIAS: "gains, biases and every other tensor with one dimension",
}


class Multipliers(NamedTuple):
    """Factors on the base values of one group; `forward` multiplies what its weights compute."""

    peak_lr: float = 1.0
    weight_decay: float = 1.0
    eps: float = 1.0
    init_variance: float = 1.0
    forward: float = 1.0


class Parametrization(NamedTuple):
    """A parametrization: width and depth ratio in, multipliers per group out.

    `needs` are the ratios that it cannot do without, "width" and "depth"; `residual` is the multiplier on each
    residual branch's output, as a function of the depth ratio.
    """

    summary: str
    source: str
    multipliers: Callable[[float, float], dict[str, Multipliers]]
    needs: tuple[str, ...] = ("width",)
    residual: Callable[[float], float] = lambda depth_ratio: 1.0

    def timescale_drift(self, width_ratio: float, depth_ratio: float) -> float:
        """Timescale of the hidden matrices over that of the base width: 1 / (lr multiplier * λ multiplier)."""
        hidden = self.multipliers(width_ratio, depth_ratio)[HIDDEN]
        return 1.0 / (hidden.peak_lr * hidden.weight_decay)


def _standard(m: float, d: float) -> dict[str, Multipliers]:
    """Base values everywhere, no decay on gains and biases."""
    return {
        HIDDEN: Multipliers(),
        EMBEDDING: Multipliers(),
        OUTPUT: Multipliers(),
        NORM_AND_BIAS: Multipliers(weight_decay=0.0),
    }


def _mup(decay_exponent: float) -> Callable[[float, float], dict[str, Multipliers]]:
    """Hidden lr / m, λ * m**decay_exponent, eps / m, init variance / m; output times 1 / m (2505.01618, table 1)."""

    def multipliers(m: float, d: float) -> dict[str, Multipliers]:
        return {
            **_standard(m, d),
            HIDDEN: Multipliers(1 / m, m**decay_exponent, eps=1 / m, init_variance=1 / m),
            OUTPUT: Multipliers(forward=1 / m),
        }

    return multipliers


def _completep(m: float, d: float) -> dict[str, Multipliers]:
    """MuP, and eps / d in residual branches, which are multiplied by 1 / d; lr and λ do not depend on depth.

    This is alpha = 1 of arXiv:2505.01618, table 1, where hidden lr ~ d^(alpha - 1) and eps ~ d^-alpha.
    """
    groups = _mup(1.0)(m, d)
    return {**groups, HIDDEN: groups[HIDDEN]._replace(eps=1 / (m * d))}


def _completed_p(m: float, d: float) -> dict[str, Multipliers]:
    """CompleteP, with output lr / m, λ * m and init variance / m², and embedding eps / m (2512.22382, table 1)."""
    return {
        **_completep(m, d),
        EMBEDDING: Multipliers(eps=1 / m),
        OUTPUT: Multipliers(1 / m, m, init_variance=1 / (m * m)),
    }


PARAMETRIZATIONS: dict[str, Parametrization] = {
    "standard": Parametrization("the same lr and λ everywhere", "practice", _standard, needs=()),
    "mup": Parametrization("hidden lr / m, λ * m: timescale kept", "arXiv:2405.13698, arXiv:2505.01618", _mup(1.0)),
    "mup-as-shipped": Parametrization(
        "hidden lr / m, λ left alone: timescale m times as long",
        "code of nanoGPT-mup, Megatron-LM, Cerebras",
        _mup(0.0),
    ),
    "mup-sqrt-width": Parametrization("hidden lr / m, λ * sqrt(m)", "Fan et al. 2025, arXiv:2510.15262", _mup(0.5)),
    "mup-constant-decay": Parametrization(
        "hidden lr / m, λ constant, on purpose", "Qiu et al. 2025, arXiv:2512.05620", _mup(0.0)
    ),
    "completep": Parametrization(
        "muP in width, and in depth residual branches / d",
        "Dey et al. 2025, arXiv:2505.01618",
        _completep,
        needs=("width", "depth"),
        residual=lambda depth_ratio: 1 / depth_ratio,
    ),
    "complete-d-p": Parametrization(
        "CompleteP with output lr / m, λ * m",
        "arXiv:2512.22382",
        _completed_p,
        needs=("width", "depth"),
        residual=lambda depth_ratio: 1 / depth_ratio,
    ),
}


def published_decay_factors(width_ratio: float) -> dict[str, float]:
    """What published answers multiply the hidden λ by at a width ratio, where the hidden lr is divided by it."""
    return {
        "λ * m (2405.13698, 2505.01618, 2510.19093)": width_ratio,
        "λ * sqrt(m) (2510.15262)": math.sqrt(width_ratio),
        "λ unchanged (2512.05620)": 1.0,
    }
