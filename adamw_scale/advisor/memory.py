"""timescale_of(): what the final weights of a run remember, at its own weight decay or at the recommended one."""

from adamw_scale.advisor.advice import recommend
from adamw_scale.advisor.plausibility import input_cautions
from adamw_scale.errors import MissingInputError
from adamw_scale.spec.advice import Memory
from adamw_scale.spec.run import TrainingRun
from adamw_scale.theory.window import EmaWindow

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
CURVE_POINTS = 121


def own_or_recommended(run: TrainingRun, rule: str | None = None) -> tuple[float, str | None]:
    """The run's own weight decay (PyTorch convention) and None, else the recommended one and the rule that gave it.

    Both are of the hidden matrices.
    """
    if run.weight_decay is not None:
        return run.hidden_weight_decay, None
    advice = recommend(run, rule)
    return advice.weight_decay, advice.rule


def timescale_of(run: TrainingRun, rule: str | None = None) -> Memory:
    """The timescale in three views, and its window under the schedule.

    Args:
        run: With the weight decay to look at; without one, the recommended one is.
        rule: That recommends it; None for the default.

    Raises:
        MissingInputError: the weight decay is zero, or the learning rate is not known.

    Example:
        >>> import adamw_scale
        >>> run = adamw_scale.TrainingRun(dataset_size=1e5, batch_size=1, peak_lr=3e-4, weight_decay=0.1)
        >>> memory = adamw_scale.timescale_of(run)
        >>> round(memory.timescale.iters), round(memory.retention, 2)
        (33333, 0.22)
    """
    decay, rule = own_or_recommended(run, rule)
    if not decay:
        raise MissingInputError("--weight-decay = 0 has no timescale, since nothing is forgotten: pass one above 0")
    tau = run.hidden_timescale_of(decay)
    window = EmaWindow(run.decay_schedule, tau.run, run.total_steps)
    points = [number / (CURVE_POINTS - 1) for number in range(CURVE_POINTS)]
    return Memory(
        weight_decay=decay,
        rule=rule,
        peak_lr=run.hidden_lr,
        timescale=tau,
        retention=window.retention(),
        effective_window=run.timescale(run=window.effective_window()),
        age_quantiles={f"{share:g}": window.age_quantile(share) * run.total_steps for share in QUANTILES},
        progress=tuple(points),
        density=tuple(window.density(point) for point in points),
        lr_multiplier=tuple(run.lr_schedule.multiplier(point) for point in points),
        cautions=tuple(input_cautions(run)),
        run=run,
    )
