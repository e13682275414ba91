"""The EMA view of AdamW: weights are an exponential moving average of updates.

With decoupled weight decay, w <- (1 - lr*λ)*w - lr*u is the same as w <- (1 - a)*w + a*(-u/λ)
with a = lr*λ: an average of past updates -u/λ whose memory is 1/a steps (Wang & Aitchison 2024,
arXiv:2405.13698). Everything here is floats in, floats out, in the PyTorch convention, where the
decay λ is multiplied by the learning rate of the step.
"""

import math

from adamw_scale.errors import SpecError

SMALLEST_DECAY_PER_STEP = 1e-100  # of lr * λ; below it, and far below anything that acts, numbers lose their digits


def tau_iter(peak_lr: float, weight_decay: float) -> float:
    """Number of recent optimizer steps AdamW's weights average over, at peak learning rate.

    tau_iter = 1 / (peak_lr * weight_decay)

    Args:
        peak_lr: Highest scheduled learning rate; > 0.
        weight_decay: Decoupled decay, multiplied by the learning rate each step (PyTorch); > 0.

    Returns:
        Timescale in optimizer steps.

    Raises:
        SpecError: the product is zero for every purpose, so that there is no timescale.

    Example:
        >>> round(tau_iter(1e-3, 0.1), 6)
        10000.0

    Source: Wang & Aitchison 2024, arXiv:2405.13698. Fails when: lr*λ is not far below 1; then the
    weights are not an average but the last update.
    """
    if not peak_lr * weight_decay >= SMALLEST_DECAY_PER_STEP:
        raise SpecError(
            f"weight decay {weight_decay:g} at learning rate {peak_lr:g} is zero for every purpose, so it has no "
            "timescale: raise one of the two, or write a weight decay of 0"
        )
    return 1.0 / (peak_lr * weight_decay)


def weight_decay(peak_lr: float, tau_iter: float) -> float:
    """Decoupled weight decay that gives a timescale of `tau_iter` steps at peak learning rate.

    weight_decay = 1 / (peak_lr * tau_iter), the inverse of `tau_iter`.

    Source: Wang & Aitchison 2024, arXiv:2405.13698.
    """
    return 1.0 / (peak_lr * tau_iter)


def decay_mass(schedule_mean: float, tau_run: float) -> float:
    """Decay summed over the run: sum of lr_t*λ = (mean schedule multiplier) / tau_run.

    Args:
        schedule_mean: Mean over the run of lr_t / peak_lr, in (0, 1].
        tau_run: Timescale as a fraction of the run, at peak learning rate; > 0.

    Source: follows from the EMA form of arXiv:2405.13698; arXiv:2502.15938 uses it under schedules.
    """
    return schedule_mean / tau_run


def retention(schedule_mean: float, tau_run: float) -> float:
    """Share of the initial weights that is still in the final weights, in (0, 1].

    retention = prod(1 - lr_t*λ) ≈ exp(-decay_mass); exact to first order in lr*λ.

    Example:
        >>> round(retention(0.5, 0.2), 5), round(retention(1.0, 0.2), 5)
        (0.08208, 0.00674)

    Source: first coefficient of the EMA, arXiv:2405.13698 and arXiv:2502.15938.
    """
    return math.exp(-decay_mass(schedule_mean, tau_run))


def tau_run_for_retention(schedule_mean: float, retention: float) -> float:
    """Timescale, as a fraction of the run, after which `retention` of the initial weights is left.

    tau_run = schedule_mean / -ln(retention), the inverse of `retention`; 0 < retention < 1.
    """
    return schedule_mean / -math.log(retention)


def equilibrium_rms(peak_lr: float, weight_decay: float) -> float:
    """Root mean square that weights settle at, where gradient noise dominates.

    RMS(w) = sqrt(peak_lr / (2 * weight_decay)), whatever beta1; reached after one to two timescales.

    Example:
        >>> round(equilibrium_rms(1e-3, 0.1), 7)
        0.0707107

    Source: Kosson et al. 2024, arXiv:2305.17212. Fails when: gradients are not noise-dominated, or
    the run is shorter than the timescale.
    """
    return math.sqrt(peak_lr / (2.0 * weight_decay))


def equilibrium_relative_update(peak_lr: float, weight_decay: float, beta1: float) -> float:
    """Size of one update over the size of the weights, once they have settled.

    relative update = lr * RMS(u) / RMS(w) = sqrt(2 * lr * λ * (1 - beta1) / (1 + beta1)), with the RMS of
    Adam's update sqrt((1 - beta1) / (1 + beta1)) under pure gradient noise.

    Example:
        >>> round(equilibrium_relative_update(1e-3, 0.1, 0.9), 8)
        0.00324443

    Source: Kosson et al. 2024, arXiv:2305.17212. Fails when: gradients are not noise-dominated.
    """
    return math.sqrt(2.0 * peak_lr * weight_decay * (1.0 - beta1) / (1.0 + beta1))


def weight_bound(weight_decay: float) -> float:
    """No coordinate of the weights settles above 1/λ, since Adam's update is at most about 1 in size.

    Source: Xie & Li 2024, arXiv:2404.04454 (statement unverified here: full batch, non-increasing
    learning rates whose sum diverges). Fails when: the run is shorter than the timescale.
    """
    return 1.0 / weight_decay


def implicit_warmup(width_ratio: float, tau_iter: float, step: float) -> float:
    """How far muP with λ * m slows the first steps: relative update over that of λ alone.

    s_t = (1 + (m² - 1) * a^(2t)) ** -0.5 with a = 1 - 1 / tau_iter: from 1/m to 1 within a few timescales.

    Example:
        >>> round(implicit_warmup(4, 10_000, 5000), 4)
        0.3917

    Source: Kosson et al. 2025, arXiv:2510.19093, which replaces it by an explicit exponential warm-up.
    """
    kept = (1.0 - 1.0 / tau_iter) ** (2.0 * step)
    return float((1.0 + (width_ratio**2 - 1.0) * kept) ** -0.5)
