"""adamw-scale recommend: the advice."""

from typing import TYPE_CHECKING, Annotated

import typer

from adamw_scale.cli.run_options import Given, run_from, run_options
from adamw_scale.cli.text import columns, labelled, styled
from adamw_scale.units import format_count, format_percent, format_share, format_significant

if TYPE_CHECKING:
    from adamw_scale.spec import Calibration, Current, Recommendation, TrainingRun

UNUSABLE = ("decay-per-step", "weight-decay")  # cautions that say the number must not be used as it is
SETTLED_RETENTION = 0.15  # above it, the run ends before weights reach their equilibrium


@run_options
def recommend(
    given: Given,
    rule: Annotated[
        str | None,
        typer.Option("--rule", help="Use this rule instead of the default of the run's regime.", metavar="NAME"),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            "--calibration",
            help="Use constants measured by calibrate; without run options, advise the calibrated run.",
            metavar="FILE",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, numbers unrounded.")] = False,
) -> None:
    """Which weight decay to use for a run: the value, its range, its source, its competitors, its limits.

    adamw-scale recommend --params 1.3B --tokens 26B --batch-size 0.5M --lr 3e-4 --schedule linear

    The weight decay is in PyTorch's convention: each step multiplies weights by 1 - lr·λ.
    """
    recommendation = recommendation_from(given, rule, calibration)
    if json:
        print(recommendation.to_json())
    else:
        print(render(recommendation))


def recommendation_from(given: Given, rule: str | None = None, calibration: str | None = None) -> "Recommendation":
    """The advice that options ask for; shared by every command that starts from a run."""
    from adamw_scale.advisor import recommend as advise

    measured = None
    if calibration is not None:
        from adamw_scale.calibration import load_calibration

        measured = load_calibration(calibration)
    run = _calibrated_run(measured) if measured and not given else run_from(given)
    return advise(run, rule=rule, calibration=measured)


def _calibrated_run(calibration: "Calibration") -> "TrainingRun":
    """The run that was probed, as a run to advise."""
    return calibration.optima[0].run


def render(recommendation: "Recommendation") -> str:
    """The advice for a person: the number first, then why, then against what, then how far to trust it."""
    parts = [_answer(recommendation), _alternatives(recommendation), _groups(recommendation)]
    parts += [
        labelled("caution", f"{caution.code}: {caution.message}", color="yellow")
        + "\n"
        + labelled("  fix", caution.fix)
        for caution in recommendation.cautions
    ]
    return "\n\n".join(parts)


def _answer(recommendation: "Recommendation") -> str:
    tau, about = recommendation.timescale, recommendation.companions
    settles = about.retention < SETTLED_RETENTION
    domain = "inside" if about.in_domain else "OUTSIDE"
    rows = {
        "run": _describe_run(recommendation.run),
        "rule": f"{recommendation.rule}: {about.certainty}; this run is {domain} its domain",
        "source": about.source,
        "why": about.derivation,
        "timescale": f"{format_count(round(tau.iters))} steps = {format_count(tau.epochs)} epochs = {format_share(tau.run, 'the run')}",
        "effect": f"{format_percent(about.retention)} of the initial weights survive"
        + (f"; hidden weights settle near RMS {format_significant(about.equilibrium_rms)}" if settles else ""),
    }
    if about.current is not None:
        rows["today"] = _describe_current(about.current, recommendation)
    return _headline(recommendation) + "\n\n" + "\n".join(labelled(label, text) for label, text in rows.items())


def _headline(recommendation: "Recommendation") -> str:
    """The value and its range on the hidden matrices, which are nearly all weights."""
    hidden = recommendation.param_groups[0]
    low, high = (format_significant(end) for end in _hidden_range(recommendation))
    where = "at peak lr" if recommendation.one_for_all else "on hidden matrices, at their peak lr"
    text = styled(f"weight decay {format_significant(hidden.weight_decay)}", bold=True)
    doubt = next((caution.code for caution in recommendation.cautions if caution.code in UNUSABLE), "")
    warning = styled(f"   NOT USABLE AS IT IS, see {doubt}", color="red") if doubt else ""
    return f"{text}   range {low} to {high}   {where} {hidden.peak_lr:.4g}{warning}"


def _hidden_range(recommendation: "Recommendation") -> tuple[float, float]:
    factor = recommendation.param_groups[0].weight_decay / recommendation.weight_decay
    low, high = recommendation.weight_decay_range
    return low * factor, high * factor


def _describe_run(run: "TrainingRun") -> str:
    """What was assumed where nothing was said: schedule, warm-up, betas."""
    schedule = run.lr_schedule
    shape = run.schedule
    if schedule.shape.has_stable_phase:
        shape += f" with the last {format_percent(schedule.falling_fraction)} falling"
    if schedule.shape.falls:
        shape += f" to {format_percent(schedule.final) if schedule.final else 'zero'}"
    warmup = f"{format_percent(schedule.warmup_fraction)} warm-up" if schedule.warmup_fraction else "no warm-up"
    return f"{run.task}, {format_count(run.total_steps)} steps, {shape}, {warmup}, betas {run.betas[0]:g} and {run.betas[1]:g}"


def _describe_current(current: "Current", recommendation: "Recommendation") -> str:
    """The verdict on the decay in use."""
    low, high = _hidden_range(recommendation)
    value = current.weight_decay
    if low * (1 - 1e-9) <= value <= high * (1 + 1e-9):
        verdict = "inside the range, no reason to change it"
    else:
        factor = recommendation.param_groups[0].weight_decay / value if value else 0.0
        side = "below" if value < low else "above"
        verdict = f"{side} the range" + (
            f", the recommendation is {format_significant(factor)} times that" if value else ""
        )
    return f"λ {format_significant(value)} keeps {format_percent(current.retention)} of the initial weights: {verdict}"


def _alternatives(recommendation: "Recommendation") -> str:
    rows = [
        (
            f"{other.rule} (published)" if other.rule == recommendation.rule else other.rule,
            format_significant(other.weight_decay),
            format_share(other.timescale.run, "run"),
            "inside" if other.in_domain else "outside",
            other.source,
        )
        for other in recommendation.alternatives
    ]
    value = "λ" if recommendation.one_for_all else "λ at base lr"
    return columns(("other rules", value, "timescale", "domain", "source"), rows)


def _groups(recommendation: "Recommendation") -> str:
    groups = recommendation.param_groups
    decayed = [group for group in groups if group.weight_decay]
    if recommendation.one_for_all:
        spared = ", ".join(group.group for group in groups if not group.weight_decay)
        return labelled("decays", f"{', '.join(group.group for group in decayed)}; not {spared}")
    rows = [(group.group, format_significant(group.weight_decay), f"{group.peak_lr:.4g}") for group in groups]
    return columns((f"{recommendation.run.parametrization} groups", "λ", "peak lr"), rows)
