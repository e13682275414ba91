"""The EMA's coefficients step by step, exact: for plots of single steps, for tests, and where lr * λ is large.

After steps that shrink the weights by 1 - a_t and add a_t * q_t (q_t = -u_t / λ), the final weights are
c_0 * w_initial + sum of c_t * q_t, with c_t = a_t * prod over later steps of (1 - a_j) and c_0 the product over
all. They sum to 1. Source: Wang & Aitchison 2024, arXiv:2405.13698; arXiv:2502.15938 under schedules.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adamw_scale.errors import SpecError
from adamw_scale.theory.weight_decay_schedules import Decay


def decay_per_step(decay: Decay, tau_run: float, total_steps: int) -> NDArray[np.float64]:
    """a_t = peak lr * λ * multiplier at the middle of each step; shape (total_steps,)."""
    peak = 1.0 / (tau_run * total_steps)
    return np.array([peak * decay.multiplier((step + 0.5) / total_steps) for step in range(total_steps)])


def ema_coefficients(decays: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """c_0 and c_t for given a_t, by one product from the end; stable up to and including a_t = 1.

    Products of numbers in [0, 1] lose no accuracy and end in 0 where nothing is left, which logarithms would
    turn into infinity.

    Args:
        decays: a_t in [0, 1], shape (steps,).

    Returns:
        c_0, and the coefficients of the updates, shape (steps,).

    Raises:
        SpecError: an a_t is outside [0, 1]; the weights are no average then.

    Example:
        >>> initial, updates = ema_coefficients(np.array([0.5, 0.5, 1.0]))
        >>> initial, updates.tolist()
        (0.0, [0.0, 0.0, 1.0])
    """
    a = np.asarray(decays, dtype=np.float64)
    if a.ndim != 1 or not (np.all(a >= 0) and np.all(a <= 1)):
        raise SpecError("every lr * λ of a step must lie in [0, 1]: lower the learning rate or the weight decay")
    kept = np.empty(len(a) + 1)
    np.subtract(1.0, a[::-1], out=kept[1:])
    kept[0] = 1.0
    np.cumprod(kept, out=kept)
    initial = float(kept[-1])
    coefficients = np.ascontiguousarray(kept[-2::-1])
    coefficients *= a
    return initial, coefficients


class Remembered(NamedTuple):
    """What a stream of steps leaves: the initial weights' share, and the mean age of the updates' share in steps."""

    retention: float
    mean_age: float


def remembered(decays: Iterable[float]) -> Remembered:
    """Retention and mean age of any number of steps, one at a time, in constant memory.

    Each step multiplies all that is remembered by 1 - a, makes it one step older, and adds a at age 0.
    """
    initial, age = 1.0, 0.0  # age: sum of coefficient times age
    for a in decays:
        age = (1.0 - a) * (age + (1.0 - initial))
        initial *= 1.0 - a
    return Remembered(initial, age / (1.0 - initial) if initial < 1 else 0.0)
