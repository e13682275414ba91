"""How betas, eps and learning rate move when batch size or duration do.

B is the tokens of one optimizer step and k = new batch / old batch. Three answers stand side by side:

    second moment remembers as many tokens    beta2^k                                            2507.07101
    same stochastic differential equation     1 - k * (1 - beta), lr * sqrt(k), eps / sqrt(k)    2205.10287
    the same, and for longer runs             `completed_p`                                      2512.22382

The first two agree on beta2 while k * (1 - beta2) is small. None touches the weight decay except `completed_p`.
"""

import math
from typing import NamedTuple

from adamw_scale.errors import SpecError
from adamw_scale.units import format_significant

BETA2_HALF_LIFE_TOKENS = 1e7
"""Tokens in which the second moment forgets half; best kept from 1 to 4096 sequences per batch (2507.07101)."""

BETA2_RANGE = (0.9, 0.9999)
"""Judgement: public recipes stay inside; above about 1.5M tokens per batch the half-life alone would not."""


def beta_for_half_life(batch_tokens: float, half_life_tokens: float) -> float:
    """Beta with which a moment forgets half within so many tokens: 0.5 ^ (B / t), for B and t > 0.

    Example:
        >>> round(beta_for_half_life(2_097_152, 1e7), 6)
        0.864708

    Source: Marek et al. 2025, arXiv:2507.07101. Fails when: the batch is not far below the half-life; the moment is
    then little more than the last gradient.
    """
    return float(0.5 ** (batch_tokens / half_life_tokens))


def beta2_for_batch(batch_tokens: float, half_life_tokens: float = BETA2_HALF_LIFE_TOKENS) -> float:
    """Second-moment decay that remembers as many tokens at every batch size: 0.5 ^ (B / t2), within `BETA2_RANGE`.

    Example:
        >>> round(beta2_for_batch(32_768), 6), round(beta2_for_batch(1_048_576), 6), beta2_for_batch(4_194_304)
        (0.997731, 0.929897, 0.9)

    Source: Marek et al. 2025, arXiv:2507.07101, batches of 1 to 4096 sequences; the clamp is judgement. Fails when:
    used for beta1, whose best half-life moved from 40 thousand to 6 million tokens there: leave beta1 alone.
    """
    lowest, highest = BETA2_RANGE
    return min(highest, max(lowest, beta_for_half_life(batch_tokens, half_life_tokens)))


def beta_power(beta: float, k: float) -> float:
    """Beta at k times the batch, with the half-life in tokens kept: beta ^ k, for beta in (0, 1).

    Example:
        >>> round(beta_power(0.95, 2), 6), round(beta_power(0.95, 0.5), 6)
        (0.9025, 0.974679)

    Source: Marek et al. 2025, arXiv:2507.07101, for beta2. Fails when: the new beta2 leaves about 0.9 to 0.9999, where
    nothing was tuned; and for beta1, as in `beta2_for_batch`.
    """
    return float(beta**k)


def beta_sde(beta: float, k: float) -> float:
    """Beta at k times the batch, by the stochastic differential equation of Adam: 1 - k * (1 - beta), for both betas.

    Raises:
        SpecError: k >= 1 / (1 - beta), so that nothing of beta is left.

    Example:
        >>> round(beta_sde(0.9, 4), 6), round(beta_sde(0.95, 4), 6), round(beta_sde(0.999, 4), 6)
        (0.6, 0.8, 0.996)

    Source: Malladi et al. 2022, arXiv:2205.10287 (read in secondary sources). Fails when: gradients are not dominated
    by noise, or k * (1 - beta) is not small: beta1 0.9 is down to 0.2 at k = 8, so practice moves beta2 only.
    """
    scaled = 1.0 - k * (1.0 - beta)
    if scaled < 1e-9:  # zero but for rounding
        raise SpecError(
            f"beta {beta:g} has no SDE scaling to {format_significant(k, 4)} times the batch: 1 - k * (1 - beta) is "
            f"not positive; stay below {format_significant(1 / (1 - beta), 4)} times, or use beta ** k"
        )
    return scaled


def lr_sde(lr: float, k: float) -> float:
    """Learning rate at k times the batch, by the stochastic differential equation of Adam: lr * sqrt(k).

    Example:
        >>> lr_sde(3e-4, 4)
        0.0006

    Source: Malladi et al. 2022, arXiv:2205.10287 (read in secondary sources). Fails when: gradients are not dominated
    by noise: near and above the critical batch, where lr falls again (arXiv:2405.14578); and at very small batches,
    where the best lr moves far less (arXiv:2507.07101).
    """
    return lr * math.sqrt(k)


def eps_sde(eps: float, k: float) -> float:
    """Adam's eps at k times the batch: eps / sqrt(k), since gradients average to a size that falls as 1 / sqrt(B).

    Example:
        >>> eps_sde(1e-8, 4)
        5e-09

    Source: Malladi et al. 2022, arXiv:2205.10287 (read in secondary sources). Fails when: as for `lr_sde`; of no
    consequence while eps is far below the root of the second moment.
    """
    return eps / math.sqrt(k)


class CompletedP(NamedTuple):
    """Factors on a run's settings; `one_minus_beta` is for 1 - beta1 and 1 - beta2, `weight_decay` for PyTorch's λ."""

    lr: float
    weight_decay: float
    eps: float
    one_minus_beta: float
    steps: float


def completed_p(batch_ratio: float, duration_ratio: float) -> CompletedP:
    """Factors from one run to another with a larger batch, more tokens or both, by Complete(d)P.

    With r = m_B / m_D: lr * sqrt(r), λ * sqrt(r), eps / sqrt(r), (1 - beta) * r, steps / r, for every parameter group,
    on top of what width and depth ask for. lr * λ * steps stays, and so tau_run. m_B is the new batch over the old
    one, m_D the new tokens over the old ones, both > 0.

    Example:
        >>> [round(factor, 6) for factor in completed_p(batch_ratio=4, duration_ratio=10)]
        [0.632456, 0.632456, 1.581139, 0.4, 2.5]

    Source: arXiv:2512.22382, table 1; tried there from 50M parameters on 1.6B tokens up to 7.2B parameters. Fails when:
    the batch moves outside 1/8 to 4 times (its text, read in secondary sources); or the best timescale shortens as
    tokens per parameter grow, as arXiv:2505.13738 found.
    """
    ratio = batch_ratio / duration_ratio
    root = math.sqrt(ratio)
    return CompletedP(lr=root, weight_decay=root, eps=1 / root, one_minus_beta=ratio, steps=1 / ratio)
