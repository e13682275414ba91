"""How learning rate and weight decay of each parameter group depend on width.

m = width / base_width. A run's `peak_lr` and the recommended `weight_decay` are the base values;
each parametrization multiplies them per group. What must stay put across width is the timescale of
the hidden matrices, 1/(lr*λ): muP divides their learning rate by m, so their λ is multiplied by m.

Known: λ*m with lr/m (Wang & Aitchison 2024, arXiv:2405.13698; CompleteP, arXiv:2505.01618, table 1;
Kosson et al. 2025, arXiv:2510.19093). Disputed: λ*sqrt(m) (Fan et al., arXiv:2510.15262) and λ
unchanged (Qiu et al., arXiv:2512.05620); the three differ by a factor m.
"""

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
    """Factors on the base values of one group."""

    peak_lr: float
    weight_decay: float


class Parametrization(NamedTuple):
    """A parametrization: width ratio m in, multipliers per group out."""

    needs_base_width: bool
    multipliers: Callable[[float], dict[str, Multipliers]]


def _standard(m: float) -> dict[str, Multipliers]:
    """Base values everywhere, no decay on gains and biases."""
    base = Multipliers(1.0, 1.0)
    return {HIDDEN: base, EMBEDDING: base, OUTPUT: base, NORM_AND_BIAS: Multipliers(1.0, 0.0)}


def _mup(m: float) -> dict[str, Multipliers]:
    """Hidden matrices: lr / m and λ * m, so that lr*λ does not depend on width (2505.01618, table 1)."""
    return {**_standard(m), HIDDEN: Multipliers(1.0 / m, m)}


PARAMETRIZATIONS: dict[str, Parametrization] = {
    "standard": Parametrization(False, _standard),
    "mup": Parametrization(True, _mup),
}
