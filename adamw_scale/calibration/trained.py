"""Did the user's command train as long, and at the learning rate, as its run says? Else a timescale is another."""

from collections.abc import Sequence

from adamw_scale.errors import SpecError
from adamw_scale.noun import flag
from adamw_scale.spec.measurement import OPTIMIZER_STEPS, Optimum, ProbeResult, StepsSeen
from adamw_scale.spec.run import TrainingRun
from adamw_scale.units import format_count, format_percent, format_significant

LR_TOLERANCE = 0.05  # a schedule of few steps does not quite reach its peak
TOLERANCE = 0.02  # of the steps or epochs; what differs by less is not spoken of
MICROBATCHES = 1.5  # so many times the steps, or the inverse, and what was counted may be batches, or steps of an epoch
EXAMPLE = 0.37  # a share of the run, to say what another length means


def difference(result: ProbeResult) -> str | None:
    """One line where a command trained another length than its run has; None where it does not."""
    seen, run = result.seen, result.config.run
    if seen is None or _agrees(seen, assumed := _assumed(seen, run)):
        return None
    counted = trained_steps(result) or (seen.least if assumed < seen.least else seen.most or seen.least)
    wanted = f"{format_count(assumed)} {seen.unit} of {flag(TrainingRun, 'dataset_size')}, --batch-size and --epochs"
    line = f"the command trained {format_count(counted)} {seen.unit} (by its {seen.source}), not the {wanted}: "
    share = f"{format_percent(EXAMPLE)} of the run as described is {format_percent(EXAMPLE * assumed / counted)}"
    if trained_steps(result) is None:
        return f"{line}if they are the optimizer's, {share} of what was trained; describe the run as it is trained"
    epochs = f"--epochs {format_significant(run.epochs * counted / assumed)}"
    return f"{line}{share} of what was trained, and timescales are given as shares of that; {epochs} describes it"


def other_lr(result: ProbeResult) -> str | None:
    """One line where a command trained at another learning rate than its run has; None where that is not seen."""
    seen, run = result.seen, result.config.run
    if seen is None or seen.peak_lr is None or abs(seen.peak_lr / run.hidden_lr - 1) <= LR_TOLERANCE:
        return None
    return (
        f"the highest learning rate of the command's hidden matrices is {format_significant(seen.peak_lr)}, not "
        f"{format_significant(run.hidden_lr)}: pass its own as --lr, or every timescale is wrong by the ratio"
    )


def trained_steps(result: ProbeResult) -> float | None:
    """The optimizer steps that a command trained, where there is no doubt of them."""
    seen = result.seen
    if seen is None or seen.unit != "steps" or seen.most is None or seen.most > seen.least * (1 + TOLERANCE):
        return None
    certain = "global_step" in seen.source or seen.source == OPTIMIZER_STEPS
    ratio = seen.least / result.config.run.total_steps
    return seen.least if certain or 1 / MICROBATCHES < ratio < MICROBATCHES else None


def as_trained(optimum: Optimum, results: Sequence[ProbeResult]) -> Optimum:
    """An optimum of a run as long as its command trained it, where its probes agree on that; λ stays what it was.

    Epochs are passes over the data: where steps were fewer, so were they.
    """
    counts = [trained_steps(result) for result in results if result.status == "done"]
    known = [count for count in counts if count is not None]
    if not known or len(known) < len(counts) or max(known) > min(known) * (1 + TOLERANCE):
        return optimum
    asked, steps = optimum.run, min(known)
    if abs(steps / asked.total_steps - 1) <= TOLERANCE:
        return optimum
    try:
        run = TrainingRun.model_validate({**asked.model_dump(), "epochs": asked.epochs * steps / asked.total_steps})
    except SpecError:
        return optimum  # such as a warmup that is longer than what was trained
    moved = optimum.model_copy(update={"run": run, "asked": asked})
    ends = {
        name: tuple(x + moved.shift for x in interval)
        for name in ("log2_interval", "log2_interval_95", "log2_band", "log2_probed", "log2_diverged")
        if (interval := getattr(optimum, name)) is not None
    }
    return moved.model_copy(update={"timescale_run": optimum.timescale_run * 2.0**moved.shift, **ends})


def _assumed(seen: StepsSeen, run: TrainingRun) -> float:
    return run.total_steps if seen.unit == "steps" else run.epochs


def _agrees(seen: StepsSeen, assumed: float) -> bool:
    """Whether what was counted may be what was assumed."""
    above = seen.most is None or assumed <= seen.most * (1 + TOLERANCE)
    return above and assumed >= seen.least * (1 - TOLERANCE)
