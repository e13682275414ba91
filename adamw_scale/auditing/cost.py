"""What a timescale away from the best one costs."""

import math

# Loss over loss at the best timescale grows as k * ln(tau / tau_best)^2: median and range over model sizes of a refit
# of the 3,700 runs released with arXiv:2503.04715 (learning rate and batch moved at a fixed λ; tokens per
# parameter 1 to 100). Moving λ alone may cost less. Measured up to a factor 4.
CURVATURE, CURVATURE_RANGE = 0.0044, (0.0034, 0.0070)
MEASURED_UP_TO = 4.0


def relative_loss(ratio: float, curvature: float = CURVATURE) -> float:
    """Expected increase of the loss, as a share of it, at `ratio` times the best timescale; > 0.

    Domain: single-pass language models, factors up to 4. Unverified elsewhere.

    Example:
        >>> f"{relative_loss(2.0):.2%}"
        '0.21%'
    """
    return curvature * math.log(ratio) ** 2
